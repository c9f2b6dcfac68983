"""Archives in cpio's ``newc`` format, which the Linux kernel unpacks as initial root file system.

The format is described in the kernel's ``early-userspace/buffer-format``: a header of 110 ASCII
characters, the name, the content, each padded to four bytes; ``TRAILER!!!`` ends it. Extended
attributes cannot be expressed in it.
"""

from __future__ import annotations

import stat
import tarfile
from typing import TYPE_CHECKING

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.AREGTYPE: stat.S_IFREG,
    tarfile.LNKTYPE: stat.S_IFREG,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}
_PIECE = 1 << 20
_MAX_FILE = 2**32 - 1
_TRAILER = "TRAILER!!!"


class CpioError(Error):
    """Something that the format cannot hold."""

    reason = "InvalidArchive"


def linked_names(tar: tarfile.TarFile) -> frozenset[str]:
    """First names of the files that have several."""
    return frozenset(item.linkname for item in tar if item.islnk())


def cpio_of(tar: tarfile.TarFile, linked: frozenset[str]) -> Iterator[bytes]:
    """The archive with everything that is in a tar, in its order.

    Later names of a hard-linked file carry no content: they share the number of the first one.

    Args:
        tar: opened as a stream; names are relative to the root.
        linked: first names of the files that have several.

    Raises:
        CpioError: a file is larger than 4 GiB - 1 byte.
    """
    numbers: dict[str, int] = {}
    for number, item in enumerate(tar, start=1):
        kind = _TYPES.get(item.type)
        if kind is None:
            raise CpioError(f"{item.name} has a type that cpio does not know")
        numbers[item.name] = numbers.get(item.linkname, number) if item.islnk() else number
        content = item.linkname.encode() if item.issym() else b""
        size = len(content) if item.issym() else item.size if item.isreg() else 0
        if size > _MAX_FILE:
            raise CpioError(
                f"{item.name} has {size} bytes, more than cpio can hold",
                hint="leave it out, or use build-minirootfs",
            )
        links = 2 if item.isdir() or item.islnk() or item.name in linked else 1
        head = (
            numbers[item.name], kind | item.mode, item.uid, item.gid, links, int(item.mtime), size,
            0, 0, item.devmajor, item.devminor,
        )  # fmt: skip
        yield _header(item.name, head)
        if content:
            yield content
        elif size and (file := tar.extractfile(item)) is not None:
            while piece := file.read(_PIECE):
                yield piece
        yield bytes(-size % 4)
    yield _header(_TRAILER, (0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0))


def _header(name: str, fields: tuple[int, ...]) -> bytes:
    raw = name.encode(errors="surrogateescape") + b"\0"
    text = "070701" + "".join(f"{value & 0xFFFFFFFF:08x}" for value in (*fields, len(raw), 0))
    data = text.encode() + raw
    return data + bytes(-len(data) % 4)
