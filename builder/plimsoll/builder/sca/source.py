"""Reading pieces of a file without reading the file."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20


class Source(io.RawIOBase):
    """A part of an open file; also a seekable binary file of its own.

    Args:
        fd: descriptor of the file.
        base: where the part begins.
        size: bytes of the part.
        owner: whether closing this closes the descriptor.
    """

    def __init__(self, fd: int, base: int, size: int, *, owner: bool = False) -> None:
        super().__init__()
        self._fd = fd
        self._base = base
        self._owner = owner
        self._position = 0
        self.size = size

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer at the end, none behind it."""
        size = min(size, self.size - offset)
        if size <= 0 or offset < 0:
            return b""
        return os.pread(self._fd, size, self._base + offset)

    def blocks(self, size: int = _CHUNK) -> Iterator[bytes]:
        """Yield the whole content in blocks."""
        offset = 0
        while block := self.read_at(offset, size):
            offset += len(block)
            yield block

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; see ``io.IOBase.seek``."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise OSError("seek before the beginning")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]  # narrower
        """Read at the position; see ``io.RawIOBase.readinto``."""
        piece = self.read_at(self._position, len(buffer))
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def close(self) -> None:
        """Close the descriptor if this owns it."""
        if not self.closed and self._owner:
            os.close(self._fd)
        super().close()
