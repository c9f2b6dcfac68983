"""Bytes at rest, and a sure way to write them."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plimsoll.builder.store import CorruptEntryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_READ = 1 << 20
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes at rest: a file, or bytes in memory, with size and SHA-256 (hex).

    ``known`` says that this process made them just now, so that they need no second look.
    """

    source: Path | bytes
    size: int
    checksum: str
    known: bool = field(default=False, compare=False)

    def chunks(self) -> Iterator[bytes]:
        """The content in pieces.

        Raises:
            CorruptEntryError: the file has another size.
        """
        if isinstance(self.source, bytes):
            yield self.source
            return
        left = self.size
        try:
            with self.source.open("rb", buffering=0) as file:
                while left and (data := file.read(min(_READ, left))):
                    left -= len(data)
                    yield data
                if left or file.read(1):
                    raise CorruptEntryError(f"{self.source} does not have {self.size} bytes")
        except FileNotFoundError:
            raise CorruptEntryError(f"{self.source} is gone") from None

    def copy_to(self, file: BinaryIO) -> None:
        """Append the content to an unbuffered file, unchecked; the system copies, where it can.

        Raises:
            CorruptEntryError: the file has another size.
        """
        if isinstance(self.source, bytes):
            write_all(file, self.source)
            return
        try:
            with self.source.open("rb", buffering=0) as source:
                if _copy(source, file, self.size) != self.size or source.read(1):
                    raise CorruptEntryError(f"{self.source} does not have {self.size} bytes")
        except FileNotFoundError:
            raise CorruptEntryError(f"{self.source} is gone") from None

    def verify(self) -> None:
        """Read everything and compare.

        Raises:
            CorruptEntryError: it is not what was stored.
        """
        own = hashlib.sha256()
        for chunk in self.chunks():
            own.update(chunk)
        if own.hexdigest() != self.checksum:
            raise CorruptEntryError(f"{self.source!r} does not have the bytes that were stored")


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> int:
    """Copy up to ``size`` bytes from one unbuffered file to another; returns how many."""
    left = size
    try:
        while left and (done := os.copy_file_range(source.fileno(), target.fileno(), left)):
            left -= done
    except OSError as error:
        # Between two kinds of file systems, and where the system cannot, before anything is done.
        if error.errno not in _CANNOT or left != size:
            raise
        while left and (data := source.read(min(left, _READ))):
            write_all(target, data)
            left -= len(data)
    return size - left


def write_all(file: BinaryIO, data: bytes | bytearray | memoryview) -> None:
    """Write everything to an unbuffered file."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
