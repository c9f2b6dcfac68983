"""Images on base images."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import tarfile

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from apk_repository import Repository
from gotools import tool
from plimsoll import yaml12
from plimsoll.apk.installed import parse_installed, read_scripts
from plimsoll.apk.solver import UnsatisfiableError
from plimsoll.builder.basecache import BaseImageError
from plimsoll.builder.lock import LockError
from plimsoll.builder.node import FileConflictError
from plimsoll.cli.main import cli
from plimsoll.errors import Error
from plimsoll.oci.digest import digest_of
from plimsoll.oci.layout import Layout
from plimsoll.oci.model import (
    DOCKER_LAYER_GZIP,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Index,
    Manifest,
)
from registries import crane_registry

pytestmark = pytest.mark.integration

DOCUMENT = {
    "spdxVersion": "SPDX-2.3",
    "documentDescribes": ["SPDXRef-Package-lib"],
    "packages": [{"SPDXID": "SPDXRef-Package-lib", "name": "lib", "versionInfo": "1.0-r0"}],
}


class World:
    """A repository, a base image made of it, and configurations on that."""

    def __init__(self, tmp):
        self.tmp = tmp
        self.repository = Repository(tmp / "repo")
        self.repository.add(
            "lib",
            {
                "usr/lib/libx.so": "one",
                "etc/lib.conf": "x=1",
                "var/lib/db/sbom/lib-1.0-r0.spdx.json": json.dumps(DOCUMENT),
            },
            licenses=("MIT",),
            provides=("so:libx=1",),
        )
        self.repository.add("lib", {"usr/lib/libx.so": "two"}, version="2.0-r0")
        self.repository.add("app", {"usr/bin/app": "app"}, depends=("lib",), origin="apps")
        self.repository.add("newer", {"usr/bin/newer": "n"}, depends=("lib>1.5",))
        self.repository.add("thief", {"usr/lib/libx.so": "mine"})
        self.repository.add("wide", {"usr/bin/wide": "1"}, depends=("lib",))
        self.repository.add("wide", {"usr/bin/wide": "2"}, version="2.0-r0", depends=("lib>1.5",))
        self.repository.add("user", {"usr/bin/user": "u"}, depends=("wide",))
        self.repository.add("narrow", {"usr/bin/narrow": "1"}, depends=("lib<1.5",))
        self.repository.add("narrow", {"usr/bin/n": "2"}, version="2.0-r0", depends=("lib>1.5",))
        self.repository.write()
        self.folder = tmp / "base"
        self.folder.mkdir()
        self.write(
            "base.yaml",
            "packages: [lib=1.0-r0]",
            "entrypoint: {command: /usr/bin/base}\nenvironment: {A: b}\n"
            "accounts: {run-as: '65532'}\nannotations: {from: base}\n"
            "layering: {strategy: origin, budget: 3}\n",
        )
        self.run("build", "base.yaml", "base:1", str(self.folder))

    def write(self, name, contents, more=""):
        (self.tmp / name).write_text(
            f"contents:\n  keyring: [{self.repository.key_file}]\n"
            f"  repositories: [{self.repository.root}]\n  {contents}\n"
            f"archs: [amd64, arm64]\n{more}"
        )

    def on_base(self, packages="app", image=None):
        self.write(
            "image.yaml",
            f"packages: [{packages}]\n  baseimage: {{image: '{image or self.folder}'}}",
        )

    def run(self, command, config, *arguments):
        result = CliRunner().invoke(cli, [command, str(self.tmp / config), *arguments])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    def build(self, name, *options):
        out = self.tmp / name
        out.mkdir()
        self.run("build", "image.yaml", f"{name}:1", str(out), *options)
        layout = Layout.open(out)
        index = layout.read_manifest(layout.resolve())
        manifest = layout.read_manifest(index.manifests[0])
        return layout, manifest, json.loads(layout.read_blob(manifest.config.digest))


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "cache"))
    return World(tmp_path)


def files_of(layout, layer):
    data = gzip.decompress(layout.read_blob(layer.digest, 1 << 24))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() if m.isreg() else None for m in tar}


def test_packages_come_on_top_of_what_is_there(world):
    base = Layout.open(world.folder)
    below = base.read_manifest(base.read_manifest(base.resolve()).manifests[0])
    world.on_base()
    layout, manifest, config = world.build("out")
    count = len(below.layers)
    assert [x.digest for x in manifest.layers[:count]] == [x.digest for x in below.layers]
    assert len(manifest.layers) == count + 1 == len(config["rootfs"]["diff_ids"])
    assert manifest.annotations["org.opencontainers.image.base.digest"].startswith("sha256:")
    # Where the base lay on this machine means nothing elsewhere.
    whole = b"".join(p.read_bytes() for p in (world.tmp / "out").rglob("*") if p.is_file())
    inside = b"".join(content or b"" for content in files_of(layout, manifest.layers[-1]).values())
    assert str(world.folder).encode() not in whole + inside
    run = config["config"]
    assert run["Entrypoint"] == ["/usr/bin/base"]
    assert run["User"] == "65532"
    assert "A=b" in run["Env"]
    assert run["Labels"]["from"] == "base"
    assert len(config["history"]) == count + 1

    files = files_of(layout, manifest.layers[-1])
    assert files["usr/bin/app"] == b"app"
    assert "usr/lib/libx.so" not in files
    assert "etc/os-release" not in files
    installed = parse_installed(files["usr/lib/apk/db/installed"].decode())
    assert [p.entry.name for p in installed] == ["lib", "app"]
    assert [f.path for f in installed[0].files if not f.directory] == [
        "etc/lib.conf",
        "usr/lib/libx.so",
        "var/lib/db/sbom/lib-1.0-r0.spdx.json",
    ]
    assert installed[0].entry.provides == ("so:libx=1",)
    assert read_scripts(files["usr/lib/apk/db/scripts.tar"]) == {}
    assert files["etc/apk/world"] == b"app=1.0-r0\nlib=1.0-r0\n"
    document = json.loads((world.tmp / "out/sbom-x86_64.spdx.json").read_text())
    names = {p["name"] for p in document["packages"]}
    assert {"lib", "app"} <= names
    assert any(r["relationshipType"] == "DESCENDANT_OF" for r in document["relationships"])
    for path in world.tmp.glob("out/*.spdx.json"):
        assert validate_full_spdx_document(parse_file(str(path))) == []
    cyclonedx = world.run("sbom", "image.yaml", "--format", "cyclonedx")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(cyclonedx) is None
    crane = subprocess.run(
        [tool("crane"), "validate", "--tarball", str(tarball(world))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert crane.returncode == 0, crane.stderr


def tarball(world):
    out = world.tmp / "image.tar"
    world.run("build", "image.yaml", "x:1", str(out), "--arch", "amd64")
    return out


OLD = """C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=
P:lib
V:1.0-r0
A:x86_64
S:100
I:200
T:Something that others made
L:MIT
o:lib
t:1600000000
p:so:libx=1
F:lib
R:libx.so
a:0:0:755
Z:Q1nQYrr/8XuouaEhXExRSFE01QnZE=

"""


def others_image(folder, database=OLD):
    """A small image as others build them: its database in /lib, layers of two kinds, a whiteout."""
    layout = Layout.create(folder)
    below = {
        "lib/apk/db/installed": database.encode(),
        "lib/apk/db/triggers": b"",
        "lib/libx.so": b"lib",
        "etc/apk/repositories": b"https://old.example/main\n",
        "etc/motd": b"gone",
    }
    tars = [tar_of(below), tar_of({"etc/.wh.motd": b"", "srv/own": b"own"})]
    layers = [
        layout.add_bytes(gzip.compress(tars[0], mtime=0), DOCKER_LAYER_GZIP),
        layout.add_bytes(tars[1], OCI_LAYER),
    ]
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
    }
    top = Manifest(
        config=layout.add_bytes(json.dumps(config).encode(), OCI_CONFIG), layers=tuple(layers)
    )
    layout.name(layout.add_bytes(top.to_bytes(), OCI_MANIFEST), "latest")


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_images_of_others_are_bases_too(world):
    shutil.rmtree(world.folder)
    others_image(world.folder)
    world.on_base()
    layout, manifest, config = world.build("out", "--arch", "amd64")
    files = files_of(layout, manifest.layers[-1])
    installed = parse_installed(files["lib/apk/db/installed"].decode())
    assert [p.entry.name for p in installed] == ["lib", "app"]
    assert installed[0].files[-1].path == "lib/libx.so"
    assert "usr/lib/apk/db/installed" not in files
    assert files["etc/apk/repositories"].decode().splitlines() == [
        "https://old.example/main",
    ]
    assert config["config"]["ExposedPorts"] == {"80/tcp": {}}
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 3
    assert [x.media_type.rpartition("tar")[2] for x in manifest.layers] == ["+gzip", "", "+gzip"]
    document = json.loads((world.tmp / "out/sbom-x86_64.spdx.json").read_text())
    assert {"./srv/own"} <= {f["fileName"] for f in document["files"]}
    assert "./etc/motd" not in {f["fileName"] for f in document["files"]}


def test_the_lock_names_the_base_and_holds_it(world):
    world.on_base()
    world.run("lock", "image.yaml")
    path = world.tmp / "image.lock.json"
    contents = json.loads(path.read_text())["contents"]
    assert [p["name"] for p in contents["packages"]] == ["app", "app"]
    base = contents["baseimage"][0]
    assert (base["architecture"], base["packages"][0]["version"]) == ("x86_64", "1.0-r0")
    world.build("one", "--lockfile", str(path))
    # From the cache, with no base image left at its place.
    world.folder.rename(world.tmp / "moved")
    world.build("two", "--lockfile", str(path), "--offline")
    assert (world.tmp / "one/index.json").read_bytes() == (
        world.tmp / "two/index.json"
    ).read_bytes().replace(b"two", b"one")
    world.on_base(image="other")
    with pytest.raises(LockError, match="it has changed since"):
        world.build("three", "--lockfile", str(path))
    value = json.loads(path.read_text())
    del value["config"]
    path.write_text(json.dumps(value))
    with pytest.raises(LockError, match="different base images"):
        world.build("four", "--lockfile", str(path))


def test_a_base_that_changed_is_noticed(world):
    world.on_base()
    world.run("lock", "image.yaml")
    lock = world.tmp / "image.lock.json"
    value = json.loads(lock.read_text())
    for base in value["contents"]["baseimage"]:
        base["digest"] = "sha256:" + "0" * 64
    lock.write_text(json.dumps(value))
    with pytest.raises(LockError, match="the lock names sha256:0000"):
        world.build("out", "--lockfile", str(lock))


def test_a_base_in_the_cache_that_is_damaged_is_made_again(world):
    world.on_base()
    before = world.build("one")[1]
    layers = sorted((world.tmp / "cache").rglob("bases/*/*/0.tar"))
    assert len(layers) == 2
    layers[0].write_bytes(layers[0].read_bytes().replace(b"one", b"two"))
    result = CliRunner().invoke(cli, ["cache", "verify", "--json"])
    assert result.exit_code == 1
    assert [name.partition(":")[0] for name in json.loads(result.stdout)["removed"]] == [
        "base image sha256"
    ]
    assert not layers[0].exists()
    assert world.build("two")[1] == before
    assert CliRunner().invoke(cli, ["cache", "verify"]).exit_code == 0


def test_a_new_base_is_a_new_image(world):
    """However quickly an unchanged build is answered."""
    world.on_base()
    first = world.build("one")[1]
    assert world.build("two")[1] == first
    world.write("base.yaml", "packages: [lib=2.0-r0]", "cmd: --new\n")
    shutil.rmtree(world.folder)
    world.folder.mkdir()
    world.run("build", "base.yaml", "base:1", str(world.folder))
    _, manifest, config = world.build("three")
    assert manifest != first
    assert config["config"]["Cmd"] == ["--new"]


@pytest.mark.parametrize("wanted", ["newer", "lib=2.0-r0"])
def test_versions_of_the_base_stay(world, wanted):
    world.on_base(wanted)
    with pytest.raises(UnsatisfiableError, match=r"there is only lib-1\.0-r0") as caught:
        world.build("out")
    assert "the base image holds lib-1.0-r0, and what it holds stays" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        # No version of APK's, but what is there is there.
        ("V:1.0-r0", "V:1.0p2-r0", ""),
        # A repository has a package of that name and version without this conflict.
        ("p:so", "D:!app\np:so", r"lib-1\.0-r0 refuses app"),
        ("p:so", "D:gone\np:so", "needs gone"),
    ],
)
def test_what_the_base_says_of_its_packages_counts(world, old, new, words):
    shutil.rmtree(world.folder)
    others_image(world.folder, OLD.replace(old, new))
    world.on_base()
    if not words:
        world.build("out", "--arch", "amd64")
        return
    with pytest.raises(UnsatisfiableError, match=words):
        world.build("out", "--arch", "amd64")


def test_files_of_the_base_are_defended(world):
    world.on_base("thief")
    with pytest.raises(FileConflictError, match="lib and thief both own"):
        world.build("out")


@pytest.fixture
def uneven(world):
    """The base image has another library on arm64."""
    shutil.rmtree(world.folder)
    layout = Layout.create(world.folder)
    manifests = []
    for arch, version in (("amd64", "1.0-r0"), ("arm64", "2.0-r0")):
        world.write("base.yaml", f"packages: [lib={version}]")
        one = world.tmp / arch
        one.mkdir()
        world.run("build", "base.yaml", "base:1", str(one), "--arch", arch)
        shutil.copytree(one / "blobs", world.folder / "blobs", dirs_exist_ok=True)
        made = Layout.open(one)
        manifests += made.read_manifest(made.resolve()).manifests
    index = Index(manifests=tuple(manifests)).to_bytes()
    layout.name(layout.add_bytes(index, OCI_INDEX), "latest")
    return world


@pytest.mark.parametrize(("wanted", "version"), [("app", "1.0-r0"), ("user", "1.0-r0")])
def test_base_images_that_differ_between_architectures(uneven, wanted, version):
    """What comes on top is the same on all, also what only follows from what is asked for."""
    uneven.on_base(wanted)
    uneven.run("lock", "image.yaml")
    contents = json.loads((uneven.tmp / "image.lock.json").read_text())["contents"]
    assert {(p["architecture"], p["version"]) for p in contents["packages"]} == {
        ("x86_64", version),
        ("aarch64", version),
    }
    assert [base["packages"][0]["version"] for base in contents["baseimage"]] == [
        "1.0-r0",
        "2.0-r0",
    ]
    layout, manifest, _ = uneven.build("out")
    assert f"usr/bin/{wanted}" in files_of(layout, manifest.layers[-1])
    assert (uneven.tmp / "out/sbom-aarch64.spdx.json").exists()
    lock = str(uneven.tmp / "image.lock.json")
    assert uneven.build("locked", "--lockfile", lock)[1] == manifest


def test_base_images_that_nothing_fits_on_together(uneven):
    uneven.on_base("narrow")
    words = "narrow has no version in common: 1.0-r0 for amd64, 2.0-r0 for arm64"
    with pytest.raises(UnsatisfiableError, match=words):
        uneven.build("out")
    uneven.build("one", "--arch", "arm64")


def test_a_damaged_base_is_refused(world):
    layout = Layout.open(world.folder)
    manifest = layout.read_manifest(layout.read_manifest(layout.resolve()).manifests[0])
    path = layout.blob_path(manifest.layers[0].digest)
    path.write_bytes(gzip.compress(b"\0" * 1024))
    world.on_base()
    with pytest.raises(BaseImageError, match="not sha256:"):
        world.build("out")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("./nowhere", "there is no base image at ./nowhere"),
        ("/nowhere/base.tar", "there is no base image at /nowhere/base.tar"),
        ("Not an image", "is no image reference"),
        ("image.yaml", "is no readable tar file"),
    ],
)
def test_what_is_no_base_image(world, name, words, monkeypatch):
    monkeypatch.chdir(world.tmp)
    world.on_base(image=name)
    with pytest.raises(Error, match=words) as caught:
        world.build("out")
    assert caught.value.hint


def test_a_base_image_in_a_file(world):
    world.run("build", "base.yaml", "base:1", str(world.tmp / "base.tar"))
    world.on_base()
    first = world.build("one")[1]
    world.on_base(image=world.tmp / "base.tar")
    assert world.build("two")[1] == first


def test_a_base_image_of_a_registry(world):
    world.on_base()
    local = world.build("local")[1]
    with crane_registry() as registry:
        name = f"{registry.host}/base:1"
        world.run("publish", "base.yaml", name)
        world.on_base(image=name)
        _, manifest, _ = world.build("out")
        assert manifest.layers[-1].size > 0
        assert [x.digest for x in manifest.layers[:-1]] == [x.digest for x in local.layers[:-1]]
        assert manifest.annotations["org.opencontainers.image.base.name"] == name
        rows = world.run("show-packages", "image.yaml").splitlines()
        shown = yaml12.load(world.run("show-config", "image.yaml"), "shown").value
        assert shown["contents"]["baseimage"] == {"image": name}
        # By digest, of the index and of one architecture's manifest.
        index = world.run("publish", "base.yaml", name).strip().rpartition("@")[2]
        single = manifest.annotations["org.opencontainers.image.base.digest"]
        for number, digest in enumerate((index, single)):
            world.on_base(image=f"{registry.host}/base@{digest}")
            _, other, _ = world.build(f"by{number}", "--arch", "amd64")
            assert other.layers[:-1] == manifest.layers[:-1]
        with pytest.raises(Error, match="is an image for amd64, not for arm64"):
            world.build("neither", "--arch", "arm64")
    assert rows == ["lib 1.0-r0", "app 1.0-r0"]
