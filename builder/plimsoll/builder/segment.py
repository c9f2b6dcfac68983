"""Tar segments: what a package adds to a layer, once as tar and once as a gzip member.

A layer is a concatenation of segments (its gzip stream one of gzip members), so what did not
change is neither compressed again nor even read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from isal import isal_zlib

from plimsoll.builder.store import CorruptEntryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

#: Compression of layers: isal's level 1 trades a few percent of size for several times the speed.
LEVEL = 1
_FLUSH = 1 << 20
_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes at rest: a file, or bytes in memory, with size and SHA-256 (hex).

    ``known`` says that this process made them just now, so that they need no second look.
    """

    source: Path | bytes
    size: int
    sha256: str
    known: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, data: bytes) -> Stored:
        """These bytes."""
        return cls(data, len(data), hashlib.sha256(data).hexdigest(), known=True)

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

    def slice(self, offset: int, size: int) -> bytes:
        """Part of the content."""
        if isinstance(self.source, bytes):
            return self.source[offset : offset + size]
        with self.source.open("rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise CorruptEntryError(f"{self.source} is cut short")
        return data

    def verify(self) -> None:
        """Read everything and compare; raises ``CorruptEntryError``."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        if digest.hexdigest() != self.sha256:
            raise CorruptEntryError(f"{self.source!r} does not have the bytes that were stored")


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a layer: the tar bytes and the gzip member of them."""

    tar: Stored
    gzip: Stored

    @classmethod
    def of(cls, data: bytes) -> Segment:
        """A segment in memory."""
        return cls(Stored.of(data), Stored.of(compress(data)))

    def moved(self, folder: Path) -> Segment:
        """The same segment after its files were moved to another folder."""
        return Segment(
            replace(self.tar, source=folder / "segment.tar"),
            replace(self.gzip, source=folder / "segment.gz"),
        )


def compress(data: bytes) -> bytes:
    """One gzip member."""
    compressor = _compressor()
    return bytes(compressor.compress(data) + compressor.flush())


def _compressor() -> Any:
    return isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, 31)


class SegmentWriter:
    """Writes a segment as ``segment.tar`` and ``segment.gz`` into a folder, piece by piece."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tar: BinaryIO = (folder / "segment.tar").open("wb", buffering=0)
        self._gzip: BinaryIO = (folder / "segment.gz").open("wb", buffering=0)
        self._hashes = hashlib.sha256(), hashlib.sha256()
        self._gzip_size = 0
        self._buffer = bytearray()
        self._compressor = _compressor()
        self.position = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append tar bytes."""
        self._buffer += data
        self.position += len(data)
        if len(self._buffer) >= _FLUSH:
            self._flush()

    def close(self) -> None:
        """Give up the files."""
        self._tar.close()
        self._gzip.close()

    def finish(self) -> Segment:
        """Write out the rest; the files are complete then."""
        self._flush()
        if self.position:
            self._put(self._compressor.flush())
        self.close()
        tar, gzip = (digest.hexdigest() for digest in self._hashes)
        return Segment(
            Stored(self._folder / "segment.tar", self.position, tar, known=True),
            Stored(self._folder / "segment.gz", self._gzip_size, gzip, known=True),
        )

    def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        if data:
            _write_all(self._tar, data)
            self._hashes[0].update(data)
            self._put(self._compressor.compress(data))

    def _put(self, data: bytes) -> None:
        _write_all(self._gzip, data)
        self._hashes[1].update(data)
        self._gzip_size += len(data)


def _write_all(file: BinaryIO, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
