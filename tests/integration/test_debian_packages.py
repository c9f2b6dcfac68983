"""A repository made of real Debian packages verifies, and is the same when it is made again."""

import json
import shutil

import pytest

from debian_apk.apt import Apt, AptError
from debian_apk.packages import UnknownPackageError
from debian_apk.repository import build
from plimsoll.apk.index import read_index
from plimsoll.apk.keys import Keyring
from plimsoll.apk.package import open_package
from plimsoll.apk.tarfmt import Type

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("debian")
    try:
        Apt("amd64", folder).packages()
    except AptError as error:
        pytest.skip(f"no Debian packages can be had here: {error}")
    return folder


def read(root, arch):
    keyring = Keyring.from_directory(root)
    data = (root / arch / "APKINDEX.tar.gz").read_bytes()
    index = read_index(data, keyring, source=arch)
    files = {}
    for entry in index.entries():
        path = root / arch / entry.file_name
        with path.open("rb") as file:
            package = open_package(file, source=path.name, checksum=entry.checksum, keyring=keyring)
            for item in package.data(file):
                content = b"".join(item.chunks())
                header = item.header
                known = files.setdefault(header.name, (header, content))
                if header.type is not Type.DIRECTORY:
                    assert known == (header, content), f"{header.name} is in two packages"
    return index, files


def test_repository(tmp_path, cache):
    out = tmp_path / "repo"
    report = build(out, ["dash", "ca-certificates"], ["amd64"], cache)
    assert report.converted == report.packages["x86_64"] - 1
    index, files = read(out, "x86_64")
    assert {"dash", "libc6", "ca-certificates", "usrmerge-links"} <= set(index.names())
    for entry in index.entries():
        for dependency in entry.depends:
            assert index.named(dependency) or index.providers(dependency), dependency
        sbom = files[f"var/lib/db/sbom/{entry.name}-{entry.version}.spdx.json"][1]
        (package,) = json.loads(sbom)["packages"]
        assert (package["name"], package["versionInfo"]) == (entry.name, entry.version)
        assert package["externalRefs"][0]["referenceLocator"].startswith("pkg:deb/debian/")
    assert not [name for name in files if name.startswith("usr/share/man/")]
    assert files["bin"][0].linkname == "usr/bin"
    assert files["lib64"][0].linkname == "usr/lib64"
    assert "usr/bin/sh" in files
    assert not [n for n in files if n.startswith(("bin/", "sbin/", "lib/", "lib64/"))]
    assert files["etc/ssl/certs/ca-certificates.crt"][1].count(b"BEGIN CERTIFICATE") > 50
    before = {p.name: p.read_bytes() for p in (out / "x86_64").iterdir()}
    assert build(out, ["dash", "ca-certificates"], ["amd64"], cache).converted == 0
    assert {p.name: p.read_bytes() for p in (out / "x86_64").iterdir()} == before
    shutil.rmtree(cache / "apk")
    build(out, ["dash", "ca-certificates"], ["amd64"], cache)
    assert {p.name: p.read_bytes() for p in (out / "x86_64").iterdir()} == before
    private = tmp_path / "repo-key" / "plimsoll-demo.rsa"
    assert private.stat().st_mode & 0o777 == 0o600


def test_unknown_package(tmp_path, cache):
    with pytest.raises(UnknownPackageError, match="no-such-package"):
        build(tmp_path / "repo", ["no-such-package"], ["amd64"], cache)
