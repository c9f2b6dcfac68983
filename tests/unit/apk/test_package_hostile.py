import contextlib
import gzip
import hashlib
import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apk_files import apk, file, member, node, read, tar
from plimsoll.apk.data import DataMismatchError, FileMismatchError, UnsafeEntryError
from plimsoll.apk.gz import GzipError
from plimsoll.apk.keys import Keyring, SigningKey
from plimsoll.apk.package import (
    Limits,
    PackageFormatError,
    PackageSignatureError,
    open_package,
    verify_package,
)
from plimsoll.apk.packageinfo import PackageInfo, PackageInfoError
from plimsoll.apk.tarfmt import TarError, Type
from plimsoll.apk.writer import sign_section
from plimsoll.errors import Error

SUM = "APK-TOOLS.checksum.SHA1"


def test_a_sound_package_is_read():
    content = b"hello"
    digest = hashlib.sha1(content).hexdigest().encode()
    entries = read(
        apk(
            tar(
                node("./usr/", Type.DIRECTORY, mode=0o755),
                file("usr/a", content, pax={SUM: digest}),
                node("usr/b", Type.HARDLINK, linkname="usr/a"),
                node("usr/c", Type.SYMLINK, linkname="../../etc/x", mode=0o777),
                file("usr/d", b"", pax={"SCHILY.xattr.user.x": b"\0\1"}),
            )
        )
    )
    assert [e.header.name for e in entries] == ["usr", "usr/a", "usr/b", "usr/c", "usr/d"]
    assert entries[1].sha1.hex().encode() == digest
    assert entries[4].header.xattrs == {"user.x": b"\0\1"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([file("../etc/passwd")], "leads out of the root"),
        ([file("usr/../../x")], "leads out of the root"),
        ([file("usr/..")], "leads out of the root"),
        ([file("/etc/passwd")], "the absolute path"),
        ([file("usr//x")], "not in its shortest form"),
        ([file("usr/./x")], "not in its shortest form"),
        ([file("x\ny")], "control characters"),
        ([file("x\x1b[2J")], "control characters"),
        ([file("x\x7f")], "control characters"),
        ([node("x", Type.SYMLINK, linkname="a\nb")], "control characters"),
        ([node("x", Type.SYMLINK)], "without a target"),
        ([node("dev/null", Type.CHARACTER_DEVICE, devmajor=1, devminor=3)], "character device"),
        ([node("dev/sda", Type.BLOCK_DEVICE, devmajor=8)], "block device"),
        ([node("run/pipe", Type.FIFO)], "fifo"),
        ([node("x", Type.HARDLINK, linkname="/etc/shadow")], "no file before it"),
        ([node("x", Type.HARDLINK, linkname="../y")], "no file before it"),
        ([node("x", Type.HARDLINK, linkname="x")], "no file before it"),
        (
            [node("d", Type.DIRECTORY), node("x", Type.HARDLINK, linkname="d")],
            "no file before it",
        ),
        ([file("x"), file("x")], "twice"),
        ([file("x"), node("./x", Type.DIRECTORY)], "twice"),
        ([node("x", Type.DIRECTORY), node("x/", Type.DIRECTORY)], "twice"),
        ([node("l", Type.SYMLINK, linkname="/etc"), file("l/passwd")], "which is no directory"),
        ([file("f"), file("f/x")], "which is no directory"),
        ([file("l/passwd"), node("l", Type.SYMLINK, linkname="/etc")], "entries below 'l'"),
        ([file("a/b/c"), file("a/b")], "entries below 'a/b'"),
        ([file(".PKGINFO")], "control file"),
        ([file(".SIGN.RSA.x.rsa.pub")], "control file"),
        ([file("x", uid=2**32 - 1)], "an owner or a time"),
        ([file("x", gid=2**40)], "an owner or a time"),
        ([file("x", mtime=8**11)], "an owner or a time"),
        ([file("x", pax={SUM: b"zz"})], "the checksum"),
        ([file("x", pax={SUM: b"Q1AAAA"})], "the checksum"),
        ([file("x", pax={SUM: b"00" * 19})], "the checksum"),
    ],
)
def test_unsafe_entries(members, message):
    with pytest.raises(UnsafeEntryError) as error:
        read(apk(tar(*members)))
    assert message in error.value.message
    assert error.value.reason == "UnsafePackage"


@pytest.mark.parametrize(
    "entry",
    [
        file("x", b"content", pax={SUM: b"00" * 20}),
        file("x", b"content", pax={SUM: b"Q1" + b"A" * 27 + b"="}),
        node("x", Type.SYMLINK, linkname="y"),
    ],
)
def test_file_hashes(entry):
    entry[0].pax.setdefault(SUM, b"11" * 20)
    with pytest.raises(FileMismatchError, match=r"x in p\.apk has the SHA-1"):
        read(apk(tar(entry)))


def test_a_consumer_that_skips_contents_verifies_them_all_the_same():
    data = apk(tar(file("x", b"y" * 5000, pax={SUM: b"00" * 20}), file("z")))
    source = io.BytesIO(data)
    package = open_package(source, source="p", checksum=None)
    entries = iter(package.data(source))
    next(next(entries).chunks())
    with pytest.raises(FileMismatchError):
        next(entries)


def test_data_that_hashes_otherwise():
    good = apk(tar(file("x")))
    other = member(tar(file("y")))
    split = len(good) - len(member(tar(file("x"))))
    with pytest.raises(DataMismatchError, match=r"as its \.PKGINFO says"):
        read(good[:split] + other)


def test_bytes_behind_the_data():
    good = apk(tar(file("x")))
    for tail in (b"\0", member(b""), good):
        with pytest.raises(GzipError, match="followed by other bytes"):
            read(good + tail)


def test_every_truncation_is_noticed():
    good = apk(tar(file("x", b"content" * 100)))
    assert read(good)
    for size in range(len(good)):
        with pytest.raises(Error):
            read(good[:size])


def test_every_changed_byte_is_noticed():
    good = apk(tar(file("x", bytes(range(256)))))
    control = open_package(io.BytesIO(good), source="p", checksum=None).control
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 0x10
        source = io.BytesIO(changed)
        with pytest.raises(Error):
            list(open_package(source, source="p", checksum=control.sha1).data(source))


@settings(max_examples=200)
@given(st.binary(max_size=2000))
def test_any_tar_is_read_or_refused_with_an_error_of_ours(content):
    with contextlib.suppress(Error):
        read(apk(content))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_mutation_of_a_header_is_read_or_refused(data):
    sound = bytearray(
        tar(
            file("usr/a", b"content", pax={SUM: b"00" * 20, "path": b"usr/long"}),
            node("usr/c", Type.SYMLINK, linkname="x"),
        )
    )
    for _ in range(data.draw(st.integers(1, 6))):
        sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    for block in range(0, len(sound), 512):
        if data.draw(st.booleans()):  # repair the checksum, to get past it
            head = bytearray(sound[block : block + 512])
            head[148:156] = b" " * 8
            sound[block + 148 : block + 156] = b"%06o\0 " % sum(head)
    with contextlib.suppress(Error):
        for entry in read(apk(bytes(sound))):
            name = entry.header.name
            assert ".." not in name.split("/")
            assert not name.startswith("/")


@given(st.binary(max_size=400))
def test_any_file_is_read_or_refused(content):
    with pytest.raises(Error):
        read(content)


def test_bombs():
    zeros = tar(file("x", bytes(30 << 20)))
    data = apk(zeros)
    assert len(data) < 100_000
    with pytest.raises(GzipError, match="inflates to more than 1048576 bytes"):
        read(data, limits=Limits(data=1 << 20))
    control = tar(file(".PKGINFO", b"#" * (20 << 20)), end=b"")
    with pytest.raises(GzipError, match="inflates to more"):
        read(apk(tar(file("x")), control=control))
    many = tar(*(file(f"f{n}") for n in range(200)))
    with pytest.raises(UnsafeEntryError, match="more than 100 entries"):
        read(apk(many), limits=Limits(entries=100))


def test_attributes_that_fill_the_memory():
    attributes = {f"SCHILY.xattr.user.{n}": bytes(60_000) for n in range(16)}
    data = apk(tar(*(file(str(n), pax=attributes) for n in range(36))))
    assert len(data) < 100_000
    with pytest.raises(UnsafeEntryError, match="names and attributes of more than 33554432 bytes"):
        read(data)
    folder = "/".join(["d" * 250] * 15)
    names = tar(*(file(f"{folder}/{n}") for n in range(9_000)))
    with pytest.raises(UnsafeEntryError, match="names and attributes of more than 33554432 bytes"):
        read(apk(names))
    # Directories that nothing names are made all the same, and each has a long name, too.
    deep = tar(*(file(f"{n}/" + "a/" * 1500 + "x") for n in range(20)))
    with pytest.raises(UnsafeEntryError, match="names and attributes of more than 33554432 bytes"):
        read(apk(deep))


def test_memory_stays_small(tmp_path):
    path = tmp_path / "big.apk"
    with path.open("wb") as out:
        body = io.BytesIO()
        with gzip.GzipFile(fileobj=body, mode="wb", compresslevel=1, mtime=0) as stream:
            size = 200 << 20
            header, _ = file("big")
            header.size = size
            stream.write(tar((header, b""), end=b""))
            for _ in range(size >> 20):
                stream.write(bytes(1 << 20))
            stream.write(bytes(1024))
        data = body.getvalue()
        text = f"pkgname = p\npkgver = 1-r0\ndatahash = {hashlib.sha256(data).hexdigest()}\n"
        out.write(member(tar(file(".PKGINFO", text.encode()), end=b"")) + data)
    del body, data
    tracemalloc.start()
    verify_package(path, checksum=None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pkgver = 1\n", "the name ''"),
        ("pkgname = ../x\npkgver = 1\n", "the name '../x'"),
        ("pkgname = x\npkgver = 1/../2\n", "the version '1/../2'"),
        ("pkgname = x\npkgver = 1\n", "the datahash ''"),
        ("pkgname = x\npkgver = 1\ndatahash = zz\n", "the datahash 'zz'"),
        ("pkgname = x\npkgname = y\n", "pkgname twice"),
        ("nonsense\n", "the line 'nonsense'"),
        (f"pkgname = x\npkgver = 1\ndatahash = {'0' * 64}\narch = ../x\n", "the arch '../x'"),
        (f"size = {'9' * 5000}\n", "which is no number"),
        ("size = -1\n", "size = '-1', which is no number"),
    ],
)
def test_bad_info(text, message):
    control = tar(file(".PKGINFO", text.encode()), end=b"")
    with pytest.raises(PackageInfoError) as error:
        read(apk(tar(), control=control))
    assert message in error.value.message


def test_info_round_trip():
    info = PackageInfo(
        "n",
        "1-r0",
        "x86_64",
        5,
        licenses=("MIT", "ISC"),
        depends=("a", "b"),
        vendored=("so:x",),
        triggers=("/usr/*",),
        provider_priority=3,
        replaces_priority=4,
        build_time=9,
        maintainer="m",
        datahash="0" * 64,
    )
    assert PackageInfo.parse(info.to_text(), "s") == info
    assert "triggers = /usr/* \n" in info.to_text()
    assert info.license == "MIT AND ISC"


def test_control_sections():
    with pytest.raises(PackageFormatError, match=r"has no \.PKGINFO"):
        read(apk(tar(), control=tar(file(".post-install", b"x"), end=b"")))
    with pytest.raises(PackageFormatError, match="in its control section"):
        read(apk(tar(), control=tar(file("etc/passwd", b"x"), end=b"")))
    twice = tar(file(".PKGINFO", b"a"), file(".PKGINFO", b"b"), end=b"")
    with pytest.raises(PackageFormatError, match="twice"):
        read(apk(tar(), control=twice))
    with pytest.raises(PackageFormatError, match="not UTF-8"):
        read(apk(tar(), control=tar(file(".PKGINFO", b"\xff"), end=b"")))


def test_signatures():
    key = SigningKey.generate("k", 2048)
    ring = Keyring({"k": key.public_pem()})
    plain = apk(tar(file("x")))
    control_end = open_package(io.BytesIO(plain), source="p", checksum=None).control.end
    signed = sign_section(plain[:control_end], key) + plain
    assert read(signed, keyring=ring)
    assert read(signed)
    with pytest.raises(PackageSignatureError, match=r"p\.apk is not signed"):
        read(plain, keyring=ring)
    other = apk(tar(file("evil")))
    with pytest.raises(PackageSignatureError, match=r"signed by k\.rsa\.pub, and no key"):
        read(sign_section(plain[:control_end], key) + other, keyring=ring)
    with pytest.raises(PackageSignatureError, match=r"keyring \(empty\)"):
        read(signed, keyring=Keyring())


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1024), bytes(10240)])
def test_ends_of_archives(end):
    assert len(read(apk(tar(file("x"), end=end)))) == 1
    with pytest.raises(TarError):
        read(apk(tar(file("x"), end=bytes(1024) + b"\1" * 512)))
