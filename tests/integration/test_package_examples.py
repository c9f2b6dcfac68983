"""The example packages, built from source in sandboxes, tested, and run as an image."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

import debian
import package_sources
from build_tools import build_packages, build_tools
from debian_apk.apt import AptError
from plimsoll.apk.index import read_index
from plimsoll.apk.keys import Keyring
from plimsoll.apk.package import verify_package

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap"),
    pytest.mark.skipif(shutil.which("git") is None, reason="needs git"),
]

#: In the order in which they need each other.
NAMES = ["tonnage", "loadline", "manifest", "ships", "boarding"]
#: The second: an interpreter that may read everything hands on that right to no other program
#: (PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL).
CLI = "from plimsoll.cli.main import cli; cli()"
UNPRIVILEGED = f"import ctypes; ctypes.CDLL(None).prctl(47, 4, 0, 0, 0); {CLI}"


@pytest.fixture(scope="module")
def tools():
    try:
        return build_tools()
    except AptError as error:
        pytest.skip(f"no Debian packages can be had here: {error}")


@pytest.fixture(scope="module")
def world(tools):
    # Folders of pytest are closed to other users.
    with tempfile.TemporaryDirectory(prefix="plimsoll-examples-") as name:
        work = Path(name)
        work.chmod(0o755)
        package_sources.make(work / "sources")
        with package_sources.serve(work / "sources") as address:
            package_sources.configurations(work / "configurations", address)
            yield World(work, tools)


class World:
    def __init__(self, work, tools):
        self.work = work
        self.configurations = work / "configurations"
        self.key = work / "me.rsa"
        self.base = ["-r", tools, "-k", *tools.glob("*.rsa.pub")]
        self.run("package", "keygen", self.key)
        self.key.chmod(0o644)

    def own(self, out):
        return [*self.base, "-r", out, "-k", f"{self.key}.pub"]

    def run(self, *words, prefix=(), program=CLI, **settings):
        environment = {"PATH": os.environ["PATH"], "PLIMSOLL_CACHE_DIR": str(self.work / "cache")}
        environment |= settings.pop("environment", {})
        command = [*prefix, sys.executable, "-c", program, *words]
        done = subprocess.run(
            [str(word) for word in command],
            env=environment, text=True, capture_output=True, check=False, cwd=self.work, **settings,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def build(self, name, out, *words, **settings):
        sources = self.own(out) if (out / "x86_64").exists() else self.base
        config = settings.pop("config", self.configurations / f"{name}.yaml")
        return self.run(
            *("package", "build", config, "--arch", "amd64", "--signing-key", self.key),
            *("--namespace", "examples", "--out-dir", out, *sources, *words),
            **settings,
        )


@pytest.fixture(scope="module")
def built(world):
    out = world.work / "out"
    for name in NAMES:
        world.build(name, out)
    return out


def test_configurations_name_the_sources_that_are_here(tmp_path):
    for name, digest in package_sources.make(tmp_path).items():
        text = (package_sources.EXAMPLES / f"{name}.yaml").read_text()
        assert re.findall(r"expected-\w+: (\w+)", text) == [digest]


def test_packages_are_signed_and_say_what_they_need(world, built):
    keyring = Keyring.from_files([world.work / "me.rsa.pub"])
    index = read_index((built / "x86_64/APKINDEX.tar.gz").read_bytes(), keyring, source="index")
    assert sorted(index.names()) == sorted([*NAMES, "tonnage-dev"])
    info = {
        name: verify_package(
            built / "x86_64" / index.named(name)[0].file_name,
            checksum=index.named(name)[0].checksum,
            keyring=keyring,
        ).info
        for name in index.names()
    }
    assert {"so:libtonnage.so.1=1", "so-ver:libtonnage.so.1=1.2.0-r0"} <= set(
        info["tonnage"].provides
    )
    assert info["tonnage-dev"].provides == ("pc:tonnage=1.2.0-r0",)
    assert {"so:libtonnage.so.1", "so-ver:libtonnage.so.1>=1.2.0-r0", "so:libc.so.6"} <= set(
        info["loadline"].depends
    )
    assert "cmd:loadline=2.1.0-r0" in info["loadline"].provides
    assert info["boarding"].depends == ("busybox", "loadline", "ships")


def test_tests_pass(world, built):
    for name in NAMES:
        config = world.configurations / f"{name}.yaml"
        said = world.run("package", "test", config, "--arch", "amd64", *world.own(built))
        assert said.startswith(f"{name}-"), said


def _names(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_another_place_gives_the_same_bytes(world, built):
    """Another path, account mask, language, time zone, machine load; and with --workspace-dir."""
    elsewhere = world.work / "else/where"
    package_config = elsewhere / "configurations"
    shutil.copytree(world.configurations, package_config)
    environment = {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "USER": "somebody"}
    for name in NAMES[:3]:
        work = ["--workspace-dir", elsewhere / name] if name == NAMES[0] else []
        config = package_config / f"{name}.yaml"
        world.build(
            name, elsewhere / "out", *work, config=config, umask=0o077, environment=environment
        )
    found = _names(elsewhere / "out/x86_64")
    del found["APKINDEX.tar.gz"]
    assert len(found) == 4
    assert found.items() <= _names(built / "x86_64").items()


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are without privileges already")
def test_without_privileges_gives_the_same_bytes(world, built):
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux)")
    home = world.work / "nobody"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    environment = {"HOME": str(home), "TMPDIR": str(home), "PLIMSOLL_CACHE_DIR": str(home / "c")}
    for name in NAMES[:2]:
        world.build(
            name, home / "out", prefix=prefix, program=UNPRIVILEGED, environment=environment
        )
    found = _names(home / "out/x86_64")
    del found["APKINDEX.tar.gz"]
    assert len(found) == 3
    assert found.items() <= _names(built / "x86_64").items()


def test_an_image_of_them_runs(world, built):
    target = world.work / "layout"
    target.mkdir()
    image = world.configurations / "image.yaml"
    world.run("build", image, "boarding:1", target, "--arch", "amd64", *world.own(built))
    root = world.work / "root"
    _unpack(target, root)
    sandbox = ["bwrap", "--unshare-all", "--uid", "65532", "--gid", "65532", "--clearenv"]
    sandbox += ["--setenv", "PATH", "/usr/bin", "--ro-bind", str(root), "/", "--proc", "/proc"]

    def run(*command, **settings):
        return subprocess.run(
            [*sandbox, *command], text=True, capture_output=True, check=True, **settings
        ).stdout

    assert run("/usr/bin/boarding") == "Cutty Sark: 741\nGreat Eastern: 15759\nVasa: 1032\n"
    assert run("/usr/bin/manifest", input="tea,2\n") == '{"items": {"tea": 2.0}, "total": 2.0}\n'


def _unpack(layout, root):
    """The only image of a layout, with every layer in its place."""

    def blob(descriptor):
        return layout / "blobs" / descriptor["digest"].replace(":", "/")

    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]
    while "layers" not in (document := json.loads(blob(manifest).read_text())):
        manifest = document["manifests"][0]
    for layer in document["layers"]:
        with tarfile.open(blob(layer)) as archive:
            archive.extractall(root, filter="tar")


@pytest.fixture
def arm64():
    """A kernel that runs arm64 programs, at least for one test."""
    entry = Path("/proc/sys/fs/binfmt_misc/plimsoll-aarch64")
    ours = not any(entry.parent.glob("*aarch64*"))
    try:
        debian.enable_arm64()
        yield build_packages(["busybox", "coreutils", "wget"], "arm64")
    except (AptError, debian.MissingProgramError) as error:
        pytest.skip(str(error))
    finally:
        if ours and entry.exists():
            entry.write_text("-1")


@pytest.mark.skipif(os.geteuid() != 0, reason="registering an emulator needs root")
def test_data_for_another_architecture(world, built, arm64, tmp_path):
    out = tmp_path / "out"
    config = world.configurations / "ships.yaml"
    words = [config, "--arch", "arm64", "-r", arm64, "-k", *arm64.glob("*.rsa.pub")]
    world.run("package", "build", *words, "--out-dir", out)
    foreign = verify_package(out / "aarch64/ships-1869-r0.apk", checksum=None)
    own = verify_package(built / "x86_64/ships-1869-r0.apk", checksum=None)
    assert (foreign.info.arch, own.info.arch) == ("aarch64", "x86_64")
    assert foreign.info.version == own.info.version
    tested = world.run("package", "test", *words, "-r", out, "--ignore-signatures")
    assert tested == "ships-1869-r0\n"
