"""Tar segments: what a package adds to a layer, compressed piece by piece.

A layer is a concatenation of segments, so what did not change is neither compressed again nor
even read. Only the compressed pieces are kept; where the tar itself is needed, they are expanded.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from plimsoll.builder.codec import GZIP, PIECE, Codec, unpacker
from plimsoll.builder.store import CorruptEntryError
from plimsoll.builder.stored import Stored, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any, BinaryIO


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a layer.

    Attributes:
        size: bytes of the tar.
        packed: the compressed pieces, one behind the other.
        pieces: compressed size of each; all but the last expand to ``PIECE`` bytes.
        codec: id of what compressed them.
    """

    size: int
    packed: Stored
    pieces: tuple[int, ...]
    codec: str

    @classmethod
    def of(cls, data: bytes, codec: Codec = GZIP) -> Segment:
        """A segment in memory."""
        pack = codec.packer()
        pieces = [pack(data[at : at + PIECE]) for at in range(0, len(data), PIECE)]
        packed = b"".join(pieces)
        stored = Stored(packed, len(packed), hashlib.sha256(packed).hexdigest(), known=True)
        return cls(len(data), stored, tuple(map(len, pieces)), codec.id)

    def members(self) -> Iterator[tuple[bytes, int]]:
        """The compressed pieces, each with the size that it expands to.

        Raises:
            CorruptEntryError: at their end, they are not what was stored.
        """
        source, left = self.packed.source, self.size
        digest = None if self.packed.known else hashlib.sha256()
        try:
            with _opened(source) as file:
                for size in self.pieces:
                    piece = file.read(size)
                    if digest is not None:
                        digest.update(piece)
                    yield piece, min(left, PIECE)
                    left -= PIECE
                if digest is not None and (
                    file.read(1) or digest.hexdigest() != self.packed.checksum
                ):
                    raise CorruptEntryError(f"{source!r} does not have the bytes that were stored")
        except FileNotFoundError:
            raise CorruptEntryError(f"{source!r} is gone") from None

    def tar(self) -> Iterator[bytes | bytearray]:
        """The tar in pieces.

        Raises:
            CorruptEntryError: the pieces are not what was stored.
        """
        expand = unpacker(self.codec)
        for piece, size in self.members():
            yield expand(piece, size)

    def slice(self, offset: int, size: int) -> bytes:
        """Part of the tar; of each piece only its own checksum is compared.

        Raises:
            CorruptEntryError: a piece is not what was stored.
        """
        return Reader().slice(self, offset, size)

    def verify(self) -> None:
        """Read everything and compare.

        Raises:
            CorruptEntryError: it is not what was stored.
        """
        for _ in replace(self, packed=replace(self.packed, known=False)).tar():
            pass

    def moved(self, folder: Path) -> Segment:
        """The same segment after its file was moved to another folder."""
        source = folder / packed_name(self.codec)
        return replace(self, packed=replace(self.packed, source=source))

    def record(self) -> list[Any]:
        """What is kept of it beside its file."""
        return [self.size, self.packed.size, self.packed.checksum, self.pieces]

    @classmethod
    def recorded(cls, value: list[Any], folder: Path, codec: str) -> Segment:
        """A segment by its record and the folder of its file.

        Raises:
            ValueError, TypeError: it is no record.
        """
        size, packed, checksum, pieces = value
        stored = Stored(folder / packed_name(codec), packed, checksum)
        return cls(size, stored, tuple(pieces), codec)


class Reader:
    """Reads parts of segments; keeps the pieces that it expanded last.

    Args:
        keep: how many pieces.
    """

    def __init__(self, keep: int = 2) -> None:
        self._keep = keep
        self._recent: dict[tuple[str, int], bytes | bytearray] = {}

    def slice(self, segment: Segment, offset: int, size: int) -> bytes:
        """Part of a segment's tar; of each piece only its own checksum is compared.

        Raises:
            CorruptEntryError: a piece is not what was stored, or there is no such part.
        """
        if not size:
            return b""
        if offset < 0 or offset + size > segment.size:
            raise CorruptEntryError(f"{segment.packed.source!r} has no such part")
        first, last = offset // PIECE, (offset + size - 1) // PIECE
        whole = [self._piece(segment, number) for number in range(first, last + 1)]
        begin = offset - first * PIECE
        data = whole[0] if len(whole) == 1 else b"".join(whole)
        return bytes(memoryview(data)[begin : begin + size])

    def _piece(self, segment: Segment, number: int) -> bytes | bytearray:
        key = (segment.packed.checksum, number)
        found = self._recent.pop(key, None)
        if found is None:
            start = sum(segment.pieces[:number])
            with _opened(segment.packed.source) as file:
                file.seek(start)
                data = file.read(segment.pieces[number])
            expand = unpacker(segment.codec)
            found = expand(data, min(segment.size - number * PIECE, PIECE))
            while len(self._recent) >= self._keep:
                del self._recent[next(iter(self._recent))]
        self._recent[key] = found
        return found


def _opened(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb", buffering=0)


def packed_name(codec: str) -> str:
    """The file that holds a segment compressed by the codec of that id."""
    return f"segment.{codec}"


class Packer:
    """Compresses into a file, piece by piece.

    Args:
        path: the file.
        codec: how.
    """

    def __init__(self, path: Path, codec: Codec) -> None:
        self._path = path
        self._codec = codec
        self._pack = codec.packer()
        self._file: BinaryIO = path.open("wb", buffering=0)
        self._digest = hashlib.sha256()
        self._pieces: list[int] = []
        self._size = 0

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next piece: of ``PIECE`` bytes, only the last one of fewer."""
        packed = self._pack(data)
        write_all(self._file, packed)
        self._digest.update(packed)
        self._pieces.append(len(packed))
        self._size += len(data)

    def finish(self) -> Segment:
        """The file is complete."""
        self.close()
        packed = Stored(self._path, sum(self._pieces), self._digest.hexdigest(), known=True)
        return Segment(self._size, packed, tuple(self._pieces), self._codec.id)

    def close(self) -> None:
        """Give up the file."""
        self._file.close()


def pack_again(segment: Segment, folder: Path, codec: Codec) -> Segment:
    """Compress a segment that is stored in another way into a folder.

    Raises:
        CorruptEntryError: it is not what was stored.
    """
    packer = Packer(folder / packed_name(codec.id), codec)
    try:
        for piece in segment.tar():
            packer.put(piece)
        return packer.finish()
    finally:
        packer.close()


class SegmentWriter:
    """Writes a segment into a folder, piece by piece."""

    def __init__(self, folder: Path, codec: Codec = GZIP) -> None:
        self._packer = Packer(folder / packed_name(codec.id), codec)
        # One buffer for all: new memory for every piece costs more than a copy.
        self._buffer = memoryview(bytearray(PIECE))
        self._filled = 0
        self.position = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
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
        """Give up the file."""
        self._packer.close()

    def finish(self) -> Segment:
        """Write out the rest; the file is complete then."""
        self._flush()
        return self._packer.finish()

    def _flush(self) -> None:
        if self._filled:
            self._packer.put(self._buffer[: self._filled])
            self._filled = 0
