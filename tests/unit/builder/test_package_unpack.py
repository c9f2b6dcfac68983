"""Output of untrusted steps, and the archive that it comes in."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.apk.tarfmt import Header, TarError, Type
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.builder.steps.packagetar import ArchiveError, scan, stream
from plimsoll.builder.steps.packageunpack import Limits, OutputError, unpack
from plimsoll.errors import Error


def entry(name, kind=Type.FILE, content=b"", **more):
    header = Header(name, kind, size=len(content), **more)
    return encode_header(header) + content + padding(len(content))


def directory(name, mode=0o755):
    return entry(name, Type.DIRECTORY, mode=mode)


@pytest.fixture
def take(tmp_path):
    def run(*parts, limits=None, end=END):
        archive = tmp_path / "output.tar"
        archive.write_bytes(b"".join(parts) + end)
        unpack(archive, tmp_path / "out", limits)
        return tmp_path / "out"

    return run


def test_there_and_back(tmp_path):
    root = tmp_path / "made"
    (root / "hello/usr/bin").mkdir(parents=True)
    program = root / "hello/usr/bin/hello"
    program.write_bytes(b"x" * 3_000_000)
    program.chmod(0o4755)
    os.link(program, root / "hello/usr/bin/hi")
    (root / "hello/usr/bin/link").symlink_to("/etc/passwd")
    (root / "hello/usr/empty").mkdir(mode=0o2711)
    (root / "hello/usr/empty").chmod(0o2711)
    (root / "hello/ü").write_text("ü")
    archive = tmp_path / "output.tar"
    with archive.open("wb") as file:
        for piece in stream(root, scan(root)):
            file.write(piece)
    unpack(archive, tmp_path / "out")
    again = tmp_path / "out/hello"
    assert (again / "usr/bin/hello").read_bytes() == b"x" * 3_000_000
    assert (again / "usr/bin/hello").stat().st_mode & 0o7777 == 0o4755
    assert (again / "usr/bin/hi").stat().st_ino == (again / "usr/bin/hello").stat().st_ino
    assert str((again / "usr/bin/link").readlink()) == "/etc/passwd"
    assert (again / "usr/empty").stat().st_mode & 0o7777 == 0o2711
    assert (again / "ü").read_text() == "ü"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([entry("../x")], "no plain path"),
        ([entry("/etc/x")], "no plain path"),
        ([directory("a"), entry("a/../../x")], "no plain path"),
        ([directory("a"), entry("a//x")], "no plain path"),
        ([entry("a", Type.SYMLINK, linkname="/etc"), entry("a/passwd")], "not below a directory"),
        ([entry("a", Type.SYMLINK, linkname="/etc"), directory("a")], "is there twice"),
        ([directory("a"), entry("a", Type.SYMLINK, linkname="/etc")], "is there twice"),
        ([entry("a", Type.SYMLINK, linkname="/etc/passwd"), entry("a", content=b"x")], "twice"),
        ([entry("a"), entry("a")], "is there twice"),
        ([entry("a/b")], "not below a directory"),
        ([entry("a", Type.HARDLINK, linkname="/etc/passwd")], "no file before it"),
        ([entry("b", Type.SYMLINK, linkname="x"), entry("a", Type.HARDLINK, linkname="b")], "file"),
        ([entry("a", Type.CHARACTER_DEVICE, devmajor=1, devminor=3)], "is a device or a pipe"),
        ([entry("a", Type.BLOCK_DEVICE)], "is a device or a pipe"),
        ([entry("a", Type.FIFO)], "is a device or a pipe"),
        ([entry("a", Type.SYMLINK)], "without a proper target"),
        ([entry("n" * 300)], "too long"),
        ([entry("a", pax={"SCHILY.xattr.security.capability": b"x"})], "extended attribute"),
        ([entry("a", pax={"SCHILY.xattr.user.x": b"x" * 70_000})], "too many extended attributes"),
    ],
)  # fmt: skip
def test_what_is_not_taken(take, tmp_path, parts, said):
    with pytest.raises(OutputError, match=said):
        take(*parts)
    assert {path.name for path in tmp_path.iterdir()} == {"output.tar", "out"}


def test_depth_and_number_and_size_are_bounded(take):
    deep = [directory("/".join("d" * n)) for n in range(1, 200)]
    with pytest.raises(OutputError, match="no plain path"):
        take(*deep)


def test_number_is_bounded(take):
    with pytest.raises(OutputError, match="more than 3 files"):
        take(*(entry(str(n)) for n in range(4)), limits=Limits(entries=3))


def test_size_is_bounded_before_it_is_written(take, tmp_path):
    header = encode_header(Header("a", Type.FILE, size=1 << 50))
    with pytest.raises(OutputError, match="more than 1000 bytes"):
        take(header, b"x" * 512, limits=Limits(size=1000), end=b"")
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "parts",
    [
        [encode_header(Header("a", Type.FILE, size=5000)) + b"short"],
        [b"\xff" * 512],
        [entry("a")[:-100]],
        [entry("a"), END, b"more" * 128],
    ],
)
def test_archives_that_lie(take, parts):
    with pytest.raises(TarError):
        take(*parts, end=b"")


@given(data=st.binary(max_size=2048))
def test_noise_is_never_taken(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("noise")
    (folder / "output.tar").write_bytes(data)
    try:
        unpack(folder / "output.tar", folder / "out")
    except Error:
        return
    assert not any((folder / "out").iterdir())


def test_what_no_archive_can_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("door")
        with pytest.raises(ArchiveError, match="'door' is a socket"):
            scan(tmp_path)
    Path("door").unlink()
    Path(os.fsdecode(b"\xff")).touch()
    with pytest.raises(ArchiveError, match="not UTF-8"):
        scan(tmp_path)


def test_files_that_change_meanwhile(tmp_path):
    (tmp_path / "a").write_text("long enough")
    entries = scan(tmp_path)
    (tmp_path / "a").write_text("short")
    with pytest.raises(ArchiveError, match="became shorter"):
        list(stream(tmp_path, entries))
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveError, match="cannot be read"):
        list(stream(tmp_path, entries))
