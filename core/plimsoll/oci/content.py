"""What is to be pushed: measured once, read in pieces."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plimsoll.oci.digest import digest_file, digest_of
from plimsoll.oci.errors import DigestMismatchError, LayoutError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

_READ: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be pushed: bytes in memory or a file on disk."""

    source: bytes | Path
    digest: str
    size: int

    @classmethod
    async def of(cls, source: bytes | Path, digest: str | None = None) -> Content:
        """Measure ``source``; files, and long bytes, in a thread.

        Args:
            source: bytes or a file.
            digest: known digest of a file, which then is not read here. Bytes are checked.

        Raises:
            DigestMismatchError: the bytes have another digest.
            LayoutError: the file cannot be read.
        """
        if isinstance(source, bytes):
            algorithm = digest.partition(":")[0] if digest else "sha256"
            long = len(source) > _READ
            found = (
                await asyncio.to_thread(digest_of, source, algorithm)
                if long
                else digest_of(source, algorithm)
            )
            if digest is not None and found != digest:
                raise DigestMismatchError(
                    f"the bytes to push have the digest {found}, not {digest}"
                )
            return cls(source, found, len(source))
        try:
            size = (await asyncio.to_thread(source.stat)).st_size
            if digest is None:
                digest = await asyncio.to_thread(digest_file, source)
            return cls(source, digest, size)
        except OSError as error:
            raise LayoutError(f"cannot read {source}: {error.strerror}") from error

    def part(self, start: int, end: int) -> bytes | Callable[[], AsyncIterator[bytes]]:
        """The bytes from ``start`` to before ``end``, as a request's body."""
        if isinstance(self.source, bytes):
            return self.source[start:end]
        path = self.source
        return lambda: _read(path, start, end)


async def _read(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        file.seek(start)
        left = end - start
        while left and (piece := await asyncio.to_thread(file.read, min(_READ, left))):
            left -= len(piece)
            yield piece
    finally:
        file.close()
