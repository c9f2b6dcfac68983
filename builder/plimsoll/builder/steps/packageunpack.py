"""Unpacking what untrusted steps left: nothing of it is believed.

Every path is relative, new, and below directories that this very archive made; so no entry can be
written through a link, and none twice. Everything belongs to who unpacks it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import TarReader, Type
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from plimsoll.apk.tarfmt import Entry, Header

_CHUNK = 1 << 20
_MAX_LINK = 4096
_MAX_XATTRS = 64 << 10


class OutputError(Error):
    """Output of a build that is not taken."""

    reason = "InvalidOutput"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a build may leave."""

    size: int = 16 << 30
    """Bytes of all files, and of the archive."""

    entries: int = 500_000
    depth: int = 128


def unpack(archive: Path, target: Path, limits: Limits | None = None) -> None:
    """Unpack an archive into a new directory.

    Raises:
        OutputError: an entry that no build has a reason for.
        TarError: it is no sound archive.
        StorageError: it cannot be written.
    """
    with storage_errors(f"unpacking the output into {target}"):
        target.mkdir()
        with archive.open("rb", buffering=0) as file:
            _Unpacker(target, limits or Limits()).all(TarReader(_pieces(file), "the output"))


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_CHUNK):
        yield piece


class _Unpacker:
    def __init__(self, target: Path, limits: Limits) -> None:
        self._target = target
        self._limits = limits
        self._folders: dict[str, int] = {"": 0o755}
        self._files: set[str] = set()
        self._others: set[str] = set()
        self._size = 0

    def all(self, reader: TarReader) -> None:
        for number, entry in enumerate(reader):
            if number >= self._limits.entries:
                raise OutputError(
                    f"the output has more than {self._limits.entries} files",
                    hint="split the package",
                )
            self._one(entry)
        # Last, as a directory that its owner may not write to takes no more files.
        for path, mode in sorted(self._folders.items(), reverse=True):
            if path:
                (self._target / path).chmod(mode)

    def _one(self, entry: Entry) -> None:
        header = entry.header
        path = self._checked(header)
        place = self._target / path
        if header.type is Type.DIRECTORY:
            place.mkdir(mode=0o700)
            self._folders[path] = header.mode
        elif header.type is Type.FILE:
            self._file(entry, place, path)
        elif header.type is Type.SYMLINK:
            if not header.linkname or len(header.linkname.encode()) >= _MAX_LINK:
                raise self._refused(path, "is a link without a proper target")
            place.symlink_to(header.linkname)
            self._others.add(path)
        elif header.type is Type.HARDLINK:
            if header.linkname not in self._files:
                raise self._refused(path, "is a hard link to what is no file before it")
            os.link(self._target / header.linkname, place, follow_symlinks=False)
            self._files.add(path)
        else:
            raise self._refused(path, "is a device or a pipe")
        if header.type in {Type.FILE, Type.DIRECTORY}:
            self._attributes(header, place)

    def _file(self, entry: Entry, place: Path, path: str) -> None:
        header = entry.header
        self._size += header.size
        if self._size > self._limits.size:
            raise OutputError(
                f"the output has more than {self._limits.size} bytes", hint="split the package"
            )
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(place, flags, 0o600), "wb", buffering=0) as file:
            for chunk in entry.chunks():
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
            os.fchmod(file.fileno(), header.mode)
        self._files.add(path)

    def _attributes(self, header: Header, place: Path) -> None:
        if sum(map(len, header.xattrs.values())) > _MAX_XATTRS:
            raise self._refused(header.name, "has too many extended attributes")
        for name, value in header.xattrs.items():
            if not name.startswith("user."):
                raise self._refused(header.name, f"has the extended attribute {name[:80]!r}")
            try:
                os.setxattr(place, name, value, follow_symlinks=False)
            except PermissionError:
                mode = place.stat().st_mode
                place.chmod(mode | 0o200)
                os.setxattr(place, name, value, follow_symlinks=False)
                place.chmod(mode & 0o7777)

    def _checked(self, header: Header) -> str:
        """The path of an entry that may be made."""
        path = header.name
        parts = path.split("/")
        if {"", ".", ".."} & set(parts) or "\0" in path or len(parts) > self._limits.depth:
            raise self._refused(path, "is no plain path below the output")
        if any(len(part.encode()) > 255 for part in parts):
            raise self._refused(path, "has a name that is too long")
        if path in self._folders or path in self._files or path in self._others:
            raise self._refused(path, "is there twice")
        if path.rpartition("/")[0] not in self._folders:
            raise self._refused(path, "is not below a directory of the output")
        return path

    def _refused(self, path: str, why: str) -> OutputError:
        return OutputError(
            f"the output is not taken: {path[:200]!r} {why}",
            hint="a step made something that no package may hold, or tampered with the output",
        )
