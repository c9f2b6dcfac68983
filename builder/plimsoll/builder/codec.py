"""How layers are compressed: the same bytes on every machine (ADR 0010).

A segment is compressed in pieces of ``PIECE`` bytes, each a gzip member or a zstd frame of its
own: both formats define a concatenation of such to be their concatenated content, and a piece
depends on nothing but its own bytes. Each piece has a checksum of its content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import deflate

from plimsoll.builder.store import CorruptEntryError
from plimsoll.oci.descriptor import OCI_LAYER_GZIP, OCI_LAYER_ZSTD

if TYPE_CHECKING:
    from zstandard import ZstdError

#: Bytes that are compressed at once. What is larger than the processor's cache of a core, and
#: than what the allocator keeps, takes a third longer and is no smaller.
PIECE = 1 << 18
_LEVEL = 1

Data = bytes | bytearray | memoryview
Pack = Callable[[Data], bytes | bytearray]


@dataclass(frozen=True, slots=True)
class Codec:
    """One way to compress.

    Attributes:
        id: name and version of what makes the bytes; another version may make others.
        media_type: of a layer.
        packer: makes a function that compresses one piece; for one thread at a time.
    """

    id: str
    media_type: str
    packer: Callable[[], Pack]


def _gzip(data: Data) -> bytes | bytearray:
    return deflate.gzip_compress(data, _LEVEL)


#: libdeflate at level 1. Unlike isal and zlib it makes the same bytes on every processor.
GZIP = Codec(f"gzip-{deflate.__version__}", OCI_LAYER_GZIP, lambda: _gzip)


def _zstd() -> Codec:
    import zstandard  # noqa: PLC0415  (only where it is asked for)

    def packer() -> Pack:
        return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress

    version = ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    return Codec(f"zstd-{version}", OCI_LAYER_ZSTD, packer)


def codec_of(compression: Literal["gzip", "zstd"]) -> Codec:
    """What a configuration's ``compression`` names."""
    return GZIP if compression == "gzip" else _zstd()


def unpacker(packed_by: str) -> Callable[[Data, int], bytes | bytearray]:
    """A function that expands a piece to what must be its size; for one thread at a time.

    Args:
        packed_by: id of the codec.

    Raises:
        CorruptEntryError: by the function: it does not.
    """
    return _expand_gzip if packed_by.startswith("gzip-") else _zstd_unpacker()


def _expand_gzip(data: Data, size: int) -> bytes | bytearray:
    try:
        content = deflate.gzip_decompress(data)
    except (deflate.DeflateError, ValueError) as error:
        raise CorruptEntryError(f"a compressed piece in the cache: {error}") from None
    return _sized(content, size)


def _zstd_unpacker() -> Callable[[Data, int], bytes | bytearray]:
    import zstandard  # noqa: PLC0415  (only where it is asked for)

    error_type: type[ZstdError] = zstandard.ZstdError
    expander = zstandard.ZstdDecompressor()

    def expand(data: Data, size: int) -> bytes:
        try:
            content = expander.decompress(data, max_output_size=size)
        except error_type as error:
            raise CorruptEntryError(f"a compressed piece in the cache: {error}") from None
        _sized(content, size)
        return content

    return expand


def _sized(content: bytes | bytearray, size: int) -> bytes | bytearray:
    if len(content) != size:
        raise CorruptEntryError("a compressed piece in the cache has another size")
    return content
