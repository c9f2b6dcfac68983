"""Tar segments: what a package adds to a layer, once as tar and once compressed.

A layer is a concatenation of segments (its compressed stream one of members), so what did not
change is neither compressed again nor even read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from isal import isal_zlib

from plimsoll.builder.codec import GZIP, PIECE, Codec
from plimsoll.builder.store import CorruptEntryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

TAR = "segment.tar"
_READ = PIECE


class Checksum(Protocol):
    """What sums bytes up."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """The sum."""


class Crc32:
    """CRC-32, ten times as fast as SHA-256: finds damage, is no proof against intent."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more bytes."""
        self._value = isal_zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        """Eight hex digits."""
        return f"{self._value:08x}"


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes at rest: a file, or bytes in memory, with size and checksum (hex).

    The checksum is SHA-256 for compressed bytes, which are named by it, and CRC-32 for tar
    bytes, which are only guarded against damage. ``known`` says that this process made them just
    now, so that they need no second look.
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

    def checked(self) -> Iterator[bytes]:
        """The content in pieces, compared with the checksum at its end.

        Raises:
            CorruptEntryError: it is not what was stored.
        """
        if self.known:
            yield from self.chunks()
            return
        own: Checksum = Crc32() if len(self.checksum) == 8 else hashlib.sha256()
        for chunk in self.chunks():
            own.update(chunk)
            yield chunk
        if own.hexdigest() != self.checksum:
            raise CorruptEntryError(f"{self.source!r} does not have the bytes that were stored")

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
        for _ in replace(self, known=False).checked():
            pass


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a layer: the tar bytes and the compressed members of them."""

    tar: Stored
    packed: Stored

    @classmethod
    def of(cls, data: bytes, codec: Codec = GZIP) -> Segment:
        """A segment in memory."""
        packed = b"".join(
            codec.pack(data[at : at + PIECE]) for at in range(0, max(len(data), 1), PIECE)
        )
        return cls(_stored(data, Crc32()), _stored(packed, hashlib.sha256()))

    def moved(self, folder: Path, codec: Codec = GZIP) -> Segment:
        """The same segment after its files were moved to another folder."""
        return Segment(
            replace(self.tar, source=folder / TAR),
            replace(self.packed, source=folder / packed_name(codec)),
        )

    def verify(self) -> None:
        """Read everything and compare; raises ``CorruptEntryError``."""
        self.tar.verify()
        self.packed.verify()


def packed_name(codec: Codec) -> str:
    """The file that holds a segment compressed."""
    return f"segment.{codec.id}"


def _stored(data: bytes, checksum: Checksum) -> Stored:
    checksum.update(data)
    return Stored(data, len(data), checksum.hexdigest(), known=True)


class Packer:
    """Compresses into a file, piece by piece.

    Args:
        path: the file.
        codec: how.
    """

    def __init__(self, path: Path, codec: Codec) -> None:
        self._path = path
        self._codec = codec
        self._file: BinaryIO = path.open("wb", buffering=0)
        self._digest = hashlib.sha256()
        self._size = 0

    def put(self, data: bytes | memoryview) -> None:
        """Take the next piece: of ``PIECE`` bytes, only the last one of fewer."""
        packed = self._codec.pack(data)
        write_all(self._file, packed)
        self._digest.update(packed)
        self._size += len(packed)

    def finish(self) -> Stored:
        """The file is complete."""
        self.close()
        return Stored(self._path, self._size, self._digest.hexdigest(), known=True)

    def close(self) -> None:
        """Give up the file."""
        self._file.close()


def pack_again(tar: Stored, path: Path, codec: Codec) -> Stored:
    """Compress tar bytes that are stored already.

    Raises:
        CorruptEntryError: they are not what was stored.
    """
    packer = Packer(path, codec)
    try:
        # Pieces are as long as what is read at once.
        for chunk in tar.checked():
            packer.put(chunk)
    finally:
        packer.close()
    return packer.finish()


class SegmentWriter:
    """Writes a segment as tar and compressed into a folder, piece by piece."""

    def __init__(self, folder: Path, codec: Codec = GZIP) -> None:
        self._path = folder / TAR
        self._tar: BinaryIO = self._path.open("wb", buffering=0)
        self._packer = Packer(folder / packed_name(codec), codec)
        self._crc = Crc32()
        # One buffer for all: new memory for every piece costs more than a copy.
        self._buffer = memoryview(bytearray(PIECE))
        self._filled = 0
        self.position = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append tar bytes."""
        size = len(data)
        self.position += size
        if self._filled + size < PIECE:
            self._buffer[self._filled : self._filled + size] = data
            self._filled += size
            return
        view = memoryview(data)
        while view:
            part = view[: PIECE - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == PIECE:
                self._flush()

    def close(self) -> None:
        """Give up the files."""
        self._tar.close()
        self._packer.close()

    def finish(self) -> Segment:
        """Write out the rest; the files are complete then."""
        self._flush()
        self.close()
        tar = Stored(self._path, self.position, self._crc.hexdigest(), known=True)
        return Segment(tar, self._packer.finish())

    def _flush(self) -> None:
        data = self._buffer[: self._filled]
        self._filled = 0
        if data:
            write_all(self._tar, data)
            self._crc.update(data)
            self._packer.put(data)


def write_all(file: BinaryIO, data: bytes | bytearray | memoryview) -> None:
    """Write everything to an unbuffered file."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
