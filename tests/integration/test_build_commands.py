"""The commands around a build, run in this process on real repositories."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from apk_repository import Repository
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile
from plimsoll.builder.reproducible import UNLIKE, clock_library, differences
from plimsoll.cli.main import cli
from plimsoll.errors import Error

pytestmark = pytest.mark.integration


class Desk:
    """A repository, a configuration, a cache and the command line."""

    def __init__(self, tmp):
        self.tmp = tmp
        self.repository = Repository(tmp / "repo")
        self.repository.add("base", {"etc/base": "b", "bin/sh": "-> x"}, licenses=("MIT",))
        self.repository.add(
            "app",
            {
                "usr/bin/app": PackageFile("usr/bin/app", mode=0o755, content=b"app"),
                "usr/bin/app2": PackageFile("usr/bin/app2", Type.HARDLINK, linkname="usr/bin/app"),
            },
            depends=("base",),
            licenses=("Apache-2.0",),
        )
        self.repository.write()
        self.config()

    def config(self, packages="app", extra="", name="image.yaml"):
        path = self.tmp / name
        path.write_text(
            f"contents:\n  keyring: [{self.repository.key_file}]\n"
            f"  repositories: [{self.repository.root}]\n"
            f"  packages: [{packages}]\narchs: [amd64]\n{extra}"
        )
        return str(path)

    def run(self, *arguments, status=0, stdin=None):
        result = CliRunner().invoke(cli, arguments, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.stdout


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return Desk(tmp_path)


def test_minirootfs_is_the_tree(desk):
    out = desk.tmp / "root.tar.gz"
    desk.run("build-minirootfs", desk.config(), str(out), "--build-arch", "amd64")
    with tarfile.open(out) as tar:
        names = tar.getnames()
        assert tar.extractfile("usr/bin/app").read() == b"app"
    assert "usr/lib/apk/db/installed" in names
    plain = desk.tmp / "root.tar"
    desk.run("build-minirootfs", desk.config(), str(plain), "--build-arch", "x86_64")
    assert plain.read_bytes() == gzip.decompress(out.read_bytes())
    config = desk.config(extra="compression: zstd\nlayering: {strategy: package, budget: 9}\n")
    desk.run("build-minirootfs", config, str(desk.tmp / "z.tar.gz"), "--build-arch", "amd64")
    assert _names(desk.tmp / "z.tar.gz") == _names(plain)
    assert not list(desk.tmp.glob(".*"))


def test_a_file_tree_has_no_base_image(desk):
    base = desk.tmp / "base.tar"
    desk.run("build", desk.config("base"), "x.example/base:1", str(base))
    config = Path(desk.config("app", name="on.yaml"))
    config.write_text(
        config.read_text().replace("contents:", f"contents:\n  baseimage: {{image: {base}}}")
    )
    with pytest.raises(Error, match="base image"):
        desk.run("build-minirootfs", str(config), str(desk.tmp / "x.tar"), "--arch", "amd64")
    shown = desk.run("show-packages", str(config), "--format", "name=version-source")
    url = f"{desk.repository.root}/x86_64/app-1.0-r0.apk"
    assert shown == f"base=1.0-r0 {base}\napp=1.0-r0 {url}\n"


def _names(path):
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_cpio_is_read_by_cpio(desk):
    out = desk.tmp / "root.cpio"
    desk.run("build-cpio", desk.config(), str(out), "--build-arch", "amd64")
    packed = desk.tmp / "root.cpio.gz"
    desk.run("build-cpio", desk.config(), str(packed), "--build-arch", "amd64")
    assert gzip.decompress(packed.read_bytes()) == out.read_bytes()
    data = out.read_bytes()
    assert data.startswith(b"070701")
    members = dict(_members(data))
    assert members["usr/bin/app"][1] == b"app"
    first, second = members["usr/bin/app"][0], members["usr/bin/app2"][0]
    assert first["ino"] == second["ino"]
    assert first["nlink"] == second["nlink"] == 2
    assert stat.S_IMODE(first["mode"]) == 0o755
    assert members["bin/sh"][1] == b"x"
    assert stat.S_ISLNK(members["bin/sh"][0]["mode"])


def _members(data):
    names = "ino mode uid gid nlink mtime size devmajor devminor rmajor rminor namesize check"
    position = 0
    while True:
        head = data[position : position + 110]
        values = [int(head[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
        fields = dict(zip(names.split(), values, strict=True))
        start = position + 110
        name = data[start : start + fields["namesize"] - 1].decode()
        if name == "TRAILER!!!":
            return
        start = (start + fields["namesize"] + 3) & ~3
        yield name, (fields, data[start : start + fields["size"]])
        position = (start + fields["size"] + 3) & ~3


def test_one_tree_has_one_architecture(desk):
    desk.run("build-cpio", desk.config(), "x", "--build-arch", "amd64,arm64", status=2)


def test_dot(desk):
    text = desk.run("dot", desk.config())
    assert '"app" -> "base"' in text
    assert text.count("{") == text.count("}") == 1
    edges = json.loads(desk.run("dot", "-S", "--json", desk.config()))
    assert {edge["to"] for edge in edges} == {"app", "base"}


def test_cache_is_shown_verified_and_pruned(desk):
    desk.run("build", desk.config(), "x.example/app:1", str(desk.tmp / "a.tar"))
    shown = json.loads(desk.run("cache", "info", "--json"))
    assert shown["kinds"]["packages"]["entries"] == 2
    assert "packages" in desk.run("cache", "info")
    assert json.loads(desk.run("cache", "verify", "--json")) == {"intact": 2, "removed": []}
    segment = next((desk.tmp / "cache").glob("*/packages/*/*/segment.gzip-*[0-9]"))
    segment.write_bytes(b"x" * segment.stat().st_size)
    assert "damaged" in desk.run("cache", "verify", status=1)
    assert json.loads(desk.run("cache", "verify", "--json"))["intact"] == 1
    assert json.loads(desk.run("cache", "prune", "--json"))["removed"] == 0
    assert json.loads(desk.run("cache", "prune", "--older-than", "0", "--json"))["removed"] > 0
    assert json.loads(desk.run("cache", "info", "--json"))["bytes"] == 0
    desk.run("build", desk.config(), "x.example/app:1", str(desk.tmp / "a.tar"))
    desk.run("clean")
    assert list((desk.tmp / "cache").iterdir()) == []


def test_clean_touches_nothing_else(desk):
    (desk.tmp / "cache").mkdir(exist_ok=True)
    (desk.tmp / "cache" / "v1-mine").mkdir()
    desk.run("clean")
    assert (desk.tmp / "cache" / "v1-mine").exists()


def test_version(desk):
    assert json.loads(desk.run("version", "--json"))["version"] in desk.run("version")


def test_login_keeps_the_rest_and_is_private(desk):
    folder = desk.tmp / "docker"
    folder.mkdir()
    (folder / "config.json").write_text('{"auths": {"a.example": {"auth": "eDp5"}}, "x": 1}')
    shown = desk.run("login", "b.example:5000", "-u", "me", "--password-stdin", stdin="s3cret\n")
    assert "s3cret" not in shown
    value = json.loads((folder / "config.json").read_text())
    assert value["x"] == 1
    assert set(value["auths"]) == {"a.example", "b.example:5000"}
    assert stat.S_IMODE((folder / "config.json").stat().st_mode) == 0o600
    assert not list(folder.glob(".config*"))
    desk.run("login", "c.example", "-u", "me", "--password-stdin", stdin="", status=2)
    for wrong in ("", "a b", "x.example/Team", "'c.example'"):
        desk.run("login", wrong, "-u", "me", "--password-stdin", stdin="x", status=2)
    (folder / "config.json").write_text("{")
    with pytest.raises(Error, match="cannot be read"):
        desk.run("login", "c.example", "-u", "me", "--password-stdin", stdin="x")
    assert (folder / "config.json").read_text() == "{"


def test_login_asks_the_credential_store(desk, monkeypatch):
    binary = desk.tmp / "bin" / "docker-credential-box"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\n[ "$1" = store ] && cat > {desk.tmp}/kept\n')
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}:{os.environ['PATH']}")
    (desk.tmp / "docker").mkdir()
    config = desk.tmp / "docker" / "config.json"
    config.write_text('{"credsStore": "box"}')
    desk.run("login", "docker.io", "-u", "me", "--password-stdin", stdin="s3cret")
    kept = json.loads((desk.tmp / "kept").read_text())
    assert kept == {
        "ServerURL": "https://index.docker.io/v1/",
        "Username": "me",
        "Secret": "s3cret",
    }
    assert "s3cret" not in config.read_text()
    binary.write_text("#!/bin/sh\necho no room\nexit 1\n")
    with pytest.raises(Error, match="no room"):
        desk.run("login", "docker.io", "-u", "me", "--password-stdin", stdin="s3cret")


def test_diff_of_images(desk):
    one, two = desk.tmp / "one.tar", desk.tmp / "two"
    two.mkdir()
    desk.run("build", desk.config(extra="cmd: a\n"), "x.example/app:1", str(one))
    files = {"usr/bin/app": "new<b>"}
    desk.repository.add("app", files, "1.1-r0", depends=("base",), licenses=("MIT",))
    desk.repository.write()
    extra = "cmd: b\nenvironment: {A: '<i>'}\nentrypoint: {command: /bin/app -v}\n"
    desk.run("build", desk.config(extra=extra), "x.example/app:1", str(two))
    found = json.loads(desk.run("diff", "--format", "json", str(one), str(two)))
    assert found["packages"]["changed"]["app"]["version"] == ["1.0-r0", "1.1-r0"]
    assert found["licences"] == {"Apache-2.0": [1, 0], "MIT": [1, 2]}
    assert found["configuration"]["added"] == {
        "Entrypoint": {"value": ["/bin/app", "-v"]},
        "Env A": {"value": "<i>"},
    }
    assert found["configuration"]["changed"]["Cmd"]["value"] == [["a"], ["b"]]
    assert "/usr/bin/app2" in found["files"]["removed"]
    assert set(found["files"]["changed"]["/usr/bin/app"]) == {"content", "mode", "size"}
    assert found["size"][0] != found["size"][1]
    text = desk.run("diff", str(one), str(two), "--exit-code", status=1)
    assert "1.0-r0, licence Apache-2.0 → 1.1-r0, licence MIT" in text
    assert "+ Entrypoint  /bin/app -v" in text
    page = desk.run("diff", "--format", "html", str(one), str(two))
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
    assert "no difference" in desk.run("diff", "--exit-code", str(one), str(one))


def test_diff_of_locks(desk):
    desk.run("lock", desk.config(), "--output", str(desk.tmp / "one.json"))
    desk.run("lock", desk.config("base"), "--output", str(desk.tmp / "two.json"))
    found = json.loads(
        desk.run("diff", "--format", "json", str(desk.tmp / "one.json"), str(desk.tmp / "two.json"))
    )
    assert found["packages"]["removed"] == {"app": {"version": "1.0-r0"}}
    assert found["files"] is None
    desk.run("build", desk.config(), "x.example/app:1", str(desk.tmp / "one.tar"))
    told = desk.run("diff", str(desk.tmp / "one.json"), str(desk.tmp / "one.tar"), "--exit-code")
    assert "no difference" in told
    (desk.tmp / "bad.json").write_text("[]")
    with pytest.raises(Error, match="no JSON object"):
        desk.run("diff", str(desk.tmp / "bad.json"), str(desk.tmp / "two.json"))
    for name in ("none.tar", "./none", "out/none.json", str(desk.tmp / "none")):
        with pytest.raises(Error, match="there is no file or folder"):
            desk.run("diff", name, str(desk.tmp / "two.json"))
    with tarfile.open(desk.tmp / "other.tar", "w"):
        pass
    with pytest.raises(Error, match=r"other\.tar is a tar file without an image"):
        desk.run("diff", str(desk.tmp / "other.tar"), str(desk.tmp / "two.json"))


def test_help_names_every_command():
    for name in cli.list_commands(None):
        assert cli.get_command(None, name) is not None


def _spdx_problems(path):
    return validate_full_spdx_document(parse_file(str(path)))


def test_sboms_are_valid_and_say_the_same(desk):
    extra = "paths:\n- {path: /etc/own, type: file, content: x, permissions: 0o644}\n"
    extra += "- {path: /etc/link, type: symlink, source: own}\nvcs-url: https://x.example/y@abc\n"
    folder = desk.tmp / "out"
    folder.mkdir()
    formats = ("--sbom-formats", "spdx,cyclonedx", "--arch", "amd64,arm64")
    desk.run("build", desk.config(extra=extra), "x.example/app:1", str(folder), *formats)
    names = sorted(path.name for path in folder.glob("sbom-*"))
    assert names == [
        f"sbom-{arch}.{kind}.json"
        for arch in ("aarch64", "index", "x86_64")
        for kind in ("cdx", "spdx")
    ]
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    for path in folder.glob("*.cdx.json"):
        assert validator.validate_str(path.read_text()) is None
        spdx = path.with_name(path.name.replace(".cdx.", ".spdx."))
        assert _spdx_problems(spdx) == []
        one, other = json.loads(spdx.read_text()), json.loads(path.read_text())
        assert {f["fileName"] for f in one["files"]} >= {"./etc/own", "./etc/link"}
        files = {c["name"] for c in other["components"] if c["type"] == "file"}
        assert files >= {"/etc/own", "/etc/link"}
        assert "/usr/bin/app" not in files
        purls = {
            PackageURL.from_string(reference["referenceLocator"]).to_string()
            for package in one["packages"]
            for reference in package.get("externalRefs", ())
        }
        found = {c.get("purl") for c in other["components"]} | {
            other["metadata"]["component"].get("purl")
        }
        assert purls == found - {None}
        assert len(one["packages"]) + len(one["files"]) == len(other["components"]) + 1
    before = {path.name: path.read_bytes() for path in folder.glob("sbom*")}
    desk.run("clean")
    desk.run("build", desk.config(extra=extra), "x.example/app:1", str(folder), *formats)
    assert before == {path.name: path.read_bytes() for path in folder.glob("sbom*")}


def test_sbom_command(desk):
    spdx = desk.run("sbom", desk.config(), "--progress", "none")
    cdx = desk.run("sbom", desk.config(), "--format", "cyclonedx", "--progress", "none")
    (desk.tmp / "a.json").write_text(spdx)
    (desk.tmp / "b.json").write_text(cdx)
    same = desk.run("diff", "--exit-code", str(desk.tmp / "a.json"), str(desk.tmp / "b.json"))
    assert "no difference" in same
    desk.run("build", desk.config(), "x/y", "z", "--sbom-formats", "word", status=2)


def test_sbom_of_images_that_exist(desk):
    """What an image's own database says is what the build said; what was changed is listed."""
    out = desk.tmp / "out"
    out.mkdir()
    desk.run("build", desk.config(), "x/demo:1", str(out), "--no-sbom")
    built = json.loads(desk.run("sbom", desk.config(), "--name", "demo"))
    found = json.loads(desk.run("sbom", str(out), "--name", "demo"))

    def packages(document):
        return {
            p["name"]: [p["versionInfo"], p.get("licenseDeclared"), p.get("externalRefs")]
            for p in document["packages"]
            if p.get("primaryPackagePurpose") == "APPLICATION"
        }

    assert packages(found) == packages(built)
    assert {f["fileName"]: f["checksums"] for f in found["files"]} == {
        f["fileName"]: f["checksums"] for f in built["files"]
    }
    assert found["documentDescribes"] == built["documentDescribes"]

    tar = desk.tmp / "out.tar"
    desk.run("build", desk.config(), "x/demo:1", str(tar), "--no-sbom")
    assert json.loads(desk.run("sbom", str(tar), "--name", "demo")) == found
    changed = desk.tmp / "changed.tar"
    _with_a_layer(tar, changed, {"etc/base": b"changed", "opt/new": b"new"})
    value = json.loads(desk.run("sbom", str(changed)))
    comments = {f["fileName"]: f["comment"] for f in value["files"]}
    assert comments["./etc/base"] == "differs from the file of package base"
    assert comments["./opt/new"] == "belongs to no package"
    text = desk.run("sbom", str(changed), "--format", "cyclonedx")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_images_as_others_save_them(desk):
    """Docker's documents alone, and with apko's index beside them; one image of several."""
    whole, docker, apko = (desk.tmp / f"{name}.tar" for name in ("whole", "docker", "apko"))
    desk.run("build", desk.config(), "x/demo:1", str(whole), "--arch", "amd64,arm64", "--no-sbom")
    for target, left_out in ((docker, {"oci-layout", "index.json"}), (apko, {"oci-layout"})):
        with tarfile.open(whole) as tar, tarfile.open(target, "w") as out:
            for member in tar:
                if member.name not in left_out:
                    out.addfile(member, tar.extractfile(member))
        for arch in ("amd64", "arm64"):
            told = desk.run("diff", str(whole), str(target), "--arch", arch, "--exit-code")
            assert "no difference" in told
        with pytest.raises(Error, match="has no image for s390x"):
            desk.run("diff", str(whole), str(target), "--arch", "s390x")
        assert json.loads(desk.run("sbom", str(target), "--arch", "arm64"))["packages"]


def _with_a_layer(image, target, files):
    """The image with one more layer, as a ``docker save`` file without OCI documents."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with tarfile.open(image) as tar, tarfile.open(target, "w") as out:
        (entry,) = json.loads(tar.extractfile("manifest.json").read())
        for name in (entry["Config"], *entry["Layers"]):
            out.addfile(tar.getmember(name), tar.extractfile(name))
        entry["Layers"].append("top.tar")
        for name, data in (
            ("top.tar", layer.getvalue()),
            ("manifest.json", json.dumps([entry]).encode()),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))


def test_two_unlike_builds_are_the_same(desk):
    desk.repository.add("more", {f"usr/share/{n}": f"{n}" * 500 for n in range(40)}, origin="more")
    desk.repository.write()
    extra = "layering: {strategy: origin, budget: 5}\naccounts:\n  users: [{username: a, uid: 7}]\n"
    configuration = desk.config("app, more", extra)
    shown = json.loads(
        desk.run("verify-image-reproducible", configuration, "--json", "--arch", "amd64,arm64")
    )
    assert shown == {"reproducible": True, "different": [], "why": []}


FAULT = """
import os
from plimsoll.builder import rootfs
add = rootfs.add_os_release

def faulty(tree):
    add(tree)
    tree.write("etc/zone", os.environ["TZ"].encode())
    if os.environ["LC_ALL"] == "C":
        tree.symlink("etc/only-one", "zone")

rootfs.add_os_release = faulty
"""


def test_a_build_that_depends_on_where_it_runs_is_found_out(desk, monkeypatch):
    """A fault is put into the processes that build; the report says where it shows."""
    (desk.tmp / "sitecustomize.py").write_text(FAULT)
    monkeypatch.setenv("PYTHONPATH", str(desk.tmp))
    result = CliRunner().invoke(cli, ["verify-image-reproducible", desk.config(), "--json"])
    assert isinstance(result.exception, Error)
    assert result.exception.reason == "NotReproducible"
    why = ["amd64: /etc/only-one is in build 1 only", "amd64: /etc/zone differs in size, content"]
    assert why[1] in str(result.exception)
    assert json.loads(result.stdout)["why"] == why


def test_clocks_differ_where_they_can(desk, tmp_path):
    if clock_library() is None:
        pytest.skip("libfaketime is not installed")
    clock = tmp_path / "clock.py"
    clock.write_text("import time; print(int(time.time()))")
    shifted = {"LD_PRELOAD": str(clock_library()), "FAKETIME": UNLIKE[1].clock}

    def seconds(**more):
        environment = {**os.environ, **more}
        return int(subprocess.check_output([sys.executable, str(clock)], env=environment))

    now, then = seconds(), seconds(**shifted)
    assert then - now > 999 * 86400
    shown = desk.run("verify-image-reproducible", desk.config(), "--json")
    assert json.loads(shown)["reproducible"]


def test_a_build_that_fails_says_why(desk):
    desk.run("lock", desk.config(), "--output", str(desk.tmp / "lock.json"))
    next((desk.tmp / "repo").glob("x86_64/app-*.apk")).write_bytes(b"x" * 100)
    with pytest.raises(Error, match="app"):
        desk.run(
            "verify-image-reproducible", desk.config(), "--lockfile", str(desk.tmp / "lock.json")
        )


def test_a_difference_is_named():
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == ["b", "c"]


@pytest.mark.parametrize("broken", [False, True])
def test_a_terminal_shows_a_bar_and_is_left_in_order(desk, broken):
    """Also where the build fails half-way: the cursor must be visible again."""
    if broken:
        next((desk.tmp / "repo").glob("x86_64/app-*.apk")).write_bytes(b"x" * 100)
    plimsoll = str(Path(sys.executable).with_name("plimsoll"))
    master, slave = os.openpty()
    shown = b""
    try:
        process = subprocess.Popen(
            [plimsoll, "build", desk.config(), "x.example/app:1", str(desk.tmp / "a.tar")],
            stderr=slave,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(slave)
        with contextlib.suppress(OSError):
            while piece := os.read(master, 4096):
                shown += piece
        assert process.wait(60) == int(broken)
    finally:
        os.close(master)
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h")
    assert broken or b"verified" in shown
