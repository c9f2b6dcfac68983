"""Directories as tar streams: of workspaces into layers, of outputs out of a Pod."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Header, Type
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_ENTRIES = 1_000_000
_CHUNK = 1 << 20


class ArchiveError(Error):
    """A directory that no archive can hold."""

    reason = "InvalidOutput"


def scan(root: Path, prefix: str = "") -> list[tuple[str, Header]]:
    """Path and header of everything below a directory, in order; no link is followed.

    Raises:
        ArchiveError: a socket, a name that is not UTF-8, or too many entries.
        OSError: a directory cannot be read.
    """
    found: list[tuple[str, Header]] = []
    names: dict[tuple[int, int], str] = {}
    pending = [""]
    while pending:
        below = pending.pop()
        with os.scandir(root / below) as items:
            for item in sorted(items, key=lambda one: one.name):
                path = f"{below}{item.name}"
                status = item.stat(follow_symlinks=False)
                header = _header(root, path, status, prefix)
                identity = (status.st_dev, status.st_ino)
                if header.type is Type.FILE and status.st_nlink > 1:
                    first = names.setdefault(identity, header.name)
                    if first != header.name:
                        header.type, header.linkname, header.size = Type.HARDLINK, first, 0
                found.append((path, header))
                if len(found) > MAX_ENTRIES:
                    raise ArchiveError(f"there are more than {MAX_ENTRIES} files")
                if header.type is Type.DIRECTORY:
                    pending.append(f"{path}/")
    return found


def _header(root: Path, path: str, status: os.stat_result, prefix: str) -> Header:
    kind = Type.of_mode(status.st_mode)
    shown = os.fsencode(path)[:200]
    if kind is None:
        raise ArchiveError(f"{shown!r} is a socket", hint="remove it at the end of the build")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ArchiveError(
            f"the name {shown!r} is not UTF-8", hint="rename the file in the build"
        ) from None
    full = root / path
    header = Header(
        f"{prefix}{path}",
        kind,
        mode=stat.S_IMODE(status.st_mode),
        size=status.st_size if kind is Type.FILE else 0,
        linkname=os.readlink(full) if kind is Type.SYMLINK else "",  # noqa: PTH115  (as written)
    )
    if kind in {Type.FILE, Type.DIRECTORY}:
        for name in os.listxattr(full, follow_symlinks=False):
            if name.startswith("user."):
                value = os.getxattr(full, name, follow_symlinks=False)
                header.pax[f"SCHILY.xattr.{name}"] = value
    return header


def stream(
    root: Path, entries: list[tuple[str, Header]], *, owner: int = 0, end: bool = True
) -> Iterator[bytes]:
    """The archive of what ``scan`` found.

    Args:
        root: the directory.
        entries: of it.
        owner: user and group of every entry.
        end: whether the archive ends here.

    Raises:
        ArchiveError: a file cannot be read, or changes meanwhile.
    """
    for path, header in entries:
        header.uid = header.gid = owner
        yield encode_header(header)
        if header.type is Type.FILE:
            yield from _content(root / path, header.size)
            yield padding(header.size)
    if end:
        yield END


def _content(path: Path, size: int) -> Iterator[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ArchiveError(
            f"{path.name} cannot be read: {error.strerror}",
            hint="give its owner the right to read it in the build (chmod u+r)",
        ) from None
    with os.fdopen(fd, "rb", buffering=0) as file:
        left = size
        while left:
            data = file.read(min(left, _CHUNK))
            if not data:
                raise ArchiveError(f"{path.name} became shorter while it was read")
            left -= len(data)
            yield data
