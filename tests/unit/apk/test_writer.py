import errno
import hashlib
import resource
import signal
import tarfile

import pytest

from plimsoll.apk.index import IndexFormatError
from plimsoll.apk.keys import Keyring, SigningKey
from plimsoll.apk.package import PackageFormatError, verify_package
from plimsoll.apk.packageinfo import PackageInfo, PackageInfoError
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile, write_index, write_package

INFO = PackageInfo("foo", "1.0-r0", "x86_64", description="d", licenses=("MIT",))


@pytest.fixture(scope="module")
def key():
    return SigningKey.generate("k", 2048)


def entries(path):
    with path.open("rb") as file:
        package = verify_package(path, checksum=None)
        return [(e.header, b"".join(e.chunks())) for e in package.data(file)]


def test_a_package(tmp_path, key):
    source = tmp_path / "source"
    source.write_bytes(b"binary" * 100_000)
    files = [
        PackageFile("usr/bin/foo", mode=0o4755, uid=0, gid=42, content=source, mtime=5),
        PackageFile("etc/foo.conf", content=b"x", mtime=2000, uid=65532, gid=65532),
        PackageFile("usr/bin/bar", Type.SYMLINK, linkname="foo"),
        PackageFile("var/lib/foo", Type.DIRECTORY, 0o1777),
        PackageFile("usr/lib/x", content=b"y", xattrs={"security.capability": b"\1\0\0\2"}),
    ]
    path = tmp_path / "foo.apk"
    entry = write_package(
        path,
        INFO,
        files,
        scripts={".post-install": b"#!/bin/sh\n", ".pre-install": b"#!/bin/sh\n"},
        control_files={".melange.yaml": b"package: {}\n"},
        key=key,
        source_date_epoch=1000,
    )
    ring = Keyring({"k": key.public_pem()})
    package = verify_package(path, checksum=entry.checksum, keyring=ring)
    assert package.control_files == (
        ".PKGINFO",
        ".melange.yaml",
        ".pre-install",
        ".post-install",
    )
    assert package.info.installed_size == 600_002
    assert package.info.build_time == 1000
    assert entry == package.info.index_entry(package.control.sha1, path.stat().st_size)
    found = entries(path)
    assert [h.name for h, _ in found] == [
        "etc",
        "etc/foo.conf",
        "usr",
        "usr/bin",
        "usr/bin/bar",
        "usr/bin/foo",
        "usr/lib",
        "usr/lib/x",
        "var",
        "var/lib",
        "var/lib/foo",
    ]
    by_name = {h.name: h for h, _ in found}
    foo = by_name["usr/bin/foo"]
    assert (foo.mode, foo.uid, foo.gid, foo.mtime) == (0o4755, 0, 42, 5)
    assert (
        foo.pax["APK-TOOLS.checksum.SHA1"].decode() == hashlib.sha1(source.read_bytes()).hexdigest()
    )
    assert by_name["etc/foo.conf"].mtime == 1000
    assert by_name["var/lib/foo"].mode == 0o1777
    assert by_name["usr/lib/x"].xattrs == {"security.capability": b"\1\0\0\2"}
    with tarfile.open(path) as archive:
        assert "usr/bin/foo" in archive.getnames()


def test_same_input_same_bytes(tmp_path, key):
    files = [PackageFile(f"usr/share/{n}", content=bytes(n)) for n in range(50)]
    for name, order in (("a", files), ("b", files[::-1])):
        write_package(tmp_path / name, INFO, order, key=key, source_date_epoch=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_hard_links_follow_their_file_wherever_the_walk_meets_it_first(tmp_path):
    files = [
        PackageFile("z", content=b"shared", mode=0o755),
        PackageFile("a", Type.HARDLINK, linkname="z"),
        PackageFile("m", Type.HARDLINK, linkname="z"),
    ]
    write_package(tmp_path / "p", INFO, files)
    found = entries(tmp_path / "p")
    assert [(h.name, h.type, h.linkname, c) for h, c in found] == [
        ("a", Type.FILE, "", b"shared"),
        ("m", Type.HARDLINK, "a", b""),
        ("z", Type.HARDLINK, "a", b""),
    ]
    assert {h.mode for h, _ in found} == {0o755}
    with pytest.raises(PackageFormatError, match="which is no file of it"):
        write_package(tmp_path / "p", INFO, [PackageFile("a", Type.HARDLINK, linkname="gone")])


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a//b", "a/./b", "", "a/", "."])
def test_bad_paths(tmp_path, path):
    with pytest.raises(PackageFormatError, match="not relative and in shortest form"):
        write_package(tmp_path / "p", INFO, [PackageFile(path)])


def test_conflicting_paths(tmp_path):
    with pytest.raises(PackageFormatError, match="'a' twice"):
        write_package(tmp_path / "p", INFO, [PackageFile("a"), PackageFile("a")])
    link = PackageFile("a", Type.SYMLINK, linkname="b")
    with pytest.raises(PackageFormatError, match="below 'a', which is no directory"):
        write_package(tmp_path / "p", INFO, [link, PackageFile("a/x")])
    with pytest.raises(PackageFormatError, match=r"the script \.evil"):
        write_package(tmp_path / "p", INFO, [], scripts={".evil": b""})
    with pytest.raises(PackageInfoError, match="line break"):
        write_package(tmp_path / "p", PackageInfo("a", "1", description="x\ny"), [])
    with pytest.raises(IndexFormatError, match="line break"):
        write_index([PackageInfo("a", "1-r0", url="x\ny").index_entry(bytes(20), 1)])
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_package(tmp_path):
    path = tmp_path / "p.apk"
    write_package(path, INFO, [PackageFile("a", content=b"old")])
    before = path.read_bytes()
    with pytest.raises(FileNotFoundError):
        write_package(path, INFO, [PackageFile("a", content=tmp_path / "gone")])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.apk"]


def test_a_full_disk_leaves_the_old_package(tmp_path):
    path = tmp_path / "p.apk"
    write_package(path, INFO, [PackageFile("a", content=b"old")])
    before = path.read_bytes()
    source = tmp_path / "random"
    source.write_bytes(b"".join(hashlib.sha512(bytes([i])).digest() for i in range(256)) * 100)
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        with pytest.raises(OSError, match=r".") as error:
            write_package(path, INFO, [PackageFile("a", content=source)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.apk", "random"]
