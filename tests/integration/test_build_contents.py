"""What a configuration asks for is in the image, however it is layered and compressed."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from apk_repository import Repository
from command import plimsoll
from gotools import tool
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile
from plimsoll.arch import Arch
from plimsoll.builder.layerfiles import inflated_stream
from plimsoll.oci.digest import digest_of
from plimsoll.oci.layout import Layout
from plimsoll.oci.model import OCI_LAYER_GZIP, OCI_LAYER_ZSTD
from trusted_files import certificate, empty_store, pem

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.oci.model import Manifest

pytestmark = pytest.mark.integration

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
FILES = {
    "usr/bin/app": PackageFile(
        "usr/bin/app",
        mode=0o6755,
        uid=7,
        gid=8,
        content=b"app",
        xattrs={"security.capability": CAPABILITY, "user.odd": b"\x00\xff=\n"},
    ),
    "var/mail": PackageFile("var/mail", Type.DIRECTORY, mode=0o2775, gid=50),
    "opt/tmp": PackageFile("opt/tmp", Type.DIRECTORY, mode=0o1777),
    "opt/tree/a/b": "b",
    "opt/tree/c": "c",
    "opt/tree/link": "-> c",
    "opt/same": PackageFile("opt/same", Type.HARDLINK, linkname="opt/tree/a/b"),
}
CONFIG = """
entrypoint:
  type: service-bundle
  services: {web: /usr/bin/app --port 80, none: }
accounts:
  run-as: declared
  users: [{username: me, uid: 1000, gid: 0}]
  groups: [{groupname: team, gid: 77, members: [me]}]
certificates:
  additional: [{name: own, content: CERTIFICATE}]
paths:
  - {path: /opt/tree, type: permissions, uid: 9, permissions: 0o2750, recursive: true}
  - {path: /opt/copy, type: hardlink, source: /usr/bin/app, permissions: 0o600, gid: 5}
  - {path: /etc/inline, type: file, content: "hello\\n", permissions: 0644, uid: 3, gid: 4}
  - {path: /etc/empty, type: empty-file, permissions: 0o600}
  - {path: /etc/away, type: symlink, source: ../opt/tree}
  - {path: /etc/away/new, type: directory, permissions: 0o1777}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    made = Repository(tmp_path_factory.mktemp("repository"))
    made.add("app", FILES, origin="one")
    made.add("s6", {"usr/bin/s6-svscan": "s"}, origin="one")
    made.add(
        "busybox",
        {
            "usr/bin/busybox": "b",
            "usr/bin/vi": "a real one",
            "bin": "-> usr/bin",
            "etc/busybox-paths.d/busybox": "/bin/sh\n/bin/vi\n/usr/bin/[\n",
        },
    )
    made.add("accounts", {"usr/lib/sysusers.d/a.conf": 'u declared 321 "D" /srv\nm me declared\n'})
    made.add(
        "linked",
        {
            "bin/one": PackageFile("bin/one", content=b"1", xattrs={"user.x": b"y"}),
            "bin/two": PackageFile("bin/two", Type.HARDLINK, linkname="bin/one"),
        },
    )
    made.add("java", {"etc/ssl/certs/java/cacerts": empty_store()})
    made.add("everywhere", {"usr/bin/x": "x"}, archs=tuple(arch.apk for arch in Arch))
    made.write()
    return made


def write(repository: Repository, folder: Path, packages: str, more: str) -> Path:
    path = folder / "image.yaml"
    path.write_text(
        f"contents: {{keyring: [{repository.key_file}], repositories: [{repository.root}], "
        f"packages: [{packages}]}}\n{more}"
    )
    return path


def flat(layout: Layout, manifest: Manifest) -> dict[str, tuple]:
    """Path → what is there, when all layers lie on each other."""
    found: dict[str, tuple] = {}
    expected = json.loads(layout.read_blob(manifest.config.digest))["rootfs"]["diff_ids"]
    for layer, diff_id in zip(manifest.layers, expected, strict=True):
        with layout.blob_path(layer.digest).open("rb") as file:
            data = inflated_stream(file).read()
        assert digest_of(data) == diff_id
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for item in tar:
                content = tar.extractfile(item).read() if item.isreg() else item.linkname
                if item.islnk():
                    content = found[item.linkname][4]
                kind = tarfile.REGTYPE if item.islnk() else item.type
                xattrs = {k: v for k, v in item.pax_headers.items() if k.startswith("SCHILY")}
                new = (kind, item.mode, item.uid, item.gid, content, xattrs)
                if item.isdir() and item.name in found:
                    assert found[item.name] == new, "a directory changes between layers"
                found[item.name] = new
    return found


def test_everything_is_there_however_it_is_layered(repository, tmp_path):
    own = certificate("own")
    wanted = CONFIG.replace("CERTIFICATE", json.dumps(pem(own)))
    seen = []
    for strategy, compression, count, media_type in (
        ("", "gzip", 1, OCI_LAYER_GZIP),
        ("origin", "zstd", 6, OCI_LAYER_ZSTD),
        ("package", "gzip", 7, OCI_LAYER_GZIP),
        ("package", "zstd", 3, OCI_LAYER_ZSTD),
    ):
        budget = 2 if count == 3 else 9
        more = f"layering: {{strategy: {strategy}, budget: {budget}}}\n" if strategy else ""
        config = write(
            repository,
            tmp_path,
            "app, busybox, accounts, java, linked",
            f"archs: [amd64]\ncompression: {compression}\n{more}{wanted}",
        )
        out = tmp_path / f"{strategy}{compression}"
        out.mkdir()
        plimsoll(tmp_path / "cache", "build", config, "x:1", out)
        layout = Layout.open(out)
        manifest = layout.read_manifest(layout.read_manifest(layout.resolve()).manifests[0])
        assert [layer.media_type for layer in manifest.layers] == [media_type] * count
        files = flat(layout, manifest)
        if compression == "gzip":
            validate(tmp_path / "cache", config, out.with_suffix(".tar"))
        # The record of the configuration says how it is layered.
        record = json.loads(files.pop("etc/plimsoll.json")[4])
        assert record.get("compression", "gzip") == compression
        seen.append(files)
        runtime = json.loads(layout.read_blob(manifest.config.digest))["config"]
        assert runtime["Entrypoint"] == ["/bin/s6-svscan", "/sv"]
        assert runtime["User"] == "321"
    assert all(files == seen[0] for files in seen)
    check(seen[0], pem(own), own.public_bytes(Encoding.DER))


def validate(cache: Path, config: Path, image: Path) -> None:
    """Let ``crane`` compare all digests; it reads no zstd."""
    plimsoll(cache, "build", config, "x:1", image)
    crane = [tool("crane"), "validate", "--tarball", image]
    done = subprocess.run(crane, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check(files: dict[str, tuple], certificate_text: str, der: bytes) -> None:
    """Compare a tree with what ``CONFIG`` and the packages say."""
    kind, mode, uid, gid, content, xattrs = files["usr/bin/app"]
    assert (kind, mode, uid, gid, content) == (tarfile.REGTYPE, 0o6755, 7, 8, b"app")
    values = {k.rpartition("SCHILY.xattr.")[2]: v for k, v in xattrs.items()}
    assert {k: v.encode("utf-8", "surrogateescape") for k, v in values.items()} == {
        "security.capability": CAPABILITY,
        "user.odd": b"\x00\xff=\n",
    }
    own = {path: found[1:4] for path, found in files.items()}
    assert own["var/mail"] == (0o2775, 0, 50)
    assert own["opt/tmp"] == (0o1777, 0, 0)
    for path in ("opt/tree", "opt/tree/a", "opt/tree/a/b", "opt/tree/c"):
        assert own[path] == (0o2750, 9, 0), path
    assert own["opt/tree/link"] == (0o777, 0, 0)
    assert own["opt/tree/new"] == (0o1777, 0, 0)
    assert (files["opt/same"][1], files["opt/same"][4]) == (0o644, b"b")
    assert files["opt/copy"] == (tarfile.REGTYPE, 0o600, 0, 5, b"app", xattrs)
    # Where /bin is a link, both names are behind it, and still one file.
    assert files["usr/bin/two"][4] == b"1"
    assert not {"bin/one", "bin/two"} & files.keys()
    assert files["etc/inline"][:5] == (tarfile.REGTYPE, 0o644, 3, 4, b"hello\n")
    assert files["etc/empty"][:5] == (tarfile.REGTYPE, 0o600, 0, 0, b"")
    assert files["etc/away"][4] == "../opt/tree"
    assert files["usr/bin/sh"][4] == files["usr/bin/["][4] == "/bin/busybox"
    assert files["usr/bin/vi"][4] == b"a real one"
    assert files["sv/web/run"][1] == 0o755
    assert files["sv/web/run"][4] == b"#!/bin/execlineb\n/usr/bin/app --port 80\n"
    assert files["etc/passwd"][4].decode().splitlines() == [
        "root:x:0:0:root:/root:/bin/sh",
        "me:x:1000:0:me:/home/me:/bin/sh",
        "declared:x:321:321:D:/srv:/usr/sbin/nologin",
    ]
    assert files["etc/group"][4].decode().splitlines() == [
        "root:x:0:",
        "team:x:77:me",
        "declared:x:321:me",
    ]
    assert own["home/me"] == (0o700, 1000, 0)
    assert files["etc/ssl/certs/ca-certificates.crt"][4].decode() == certificate_text
    assert der in files["etc/ssl/certs/java/cacerts"][4]


def test_all_nine_architectures(repository, tmp_path):
    """They are what is built where nothing is said; each is told from the others by everybody."""
    out = tmp_path / "out"
    out.mkdir()
    plimsoll(tmp_path / "cache", "build", write(repository, tmp_path, "everywhere", ""), "x", out)
    layout = Layout.open(out)
    index = layout.read_manifest(layout.resolve())
    assert [(m.platform.architecture, m.platform.variant or "") for m in index.manifests] == [
        (arch.architecture, arch.variant) for arch in sorted(Arch, key=lambda a: a.platform)
    ]
    for descriptor, arch in zip(
        index.manifests, sorted(Arch, key=lambda a: a.platform), strict=True
    ):
        manifest = layout.read_manifest(descriptor)
        config = json.loads(layout.read_blob(manifest.config.digest))
        assert (config["architecture"], config.get("variant", "")) == (
            arch.architecture,
            arch.variant,
        )
        assert flat(layout, manifest)["etc/apk/arch"][4] == f"{arch.apk}\n".encode()
        assert (out / f"sbom-{arch.apk}.spdx.json").exists()
