"""How layers are compressed: the same bytes on every machine (ADR 0007).

A segment is compressed in pieces of ``PIECE`` bytes, each a gzip member or a zstd frame of its
own: both formats define a concatenation of such to be their concatenated content, and a piece
depends on nothing but its own bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import deflate

from plimsoll.oci.descriptor import OCI_LAYER_GZIP, OCI_LAYER_ZSTD

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes that are compressed at once.
PIECE = 1 << 20
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Codec:
    """One way to compress.

    Attributes:
        id: name and version of what makes the bytes; another version may make others.
        media_type: of a layer.
        pack: compresses one piece.
    """

    id: str
    media_type: str
    pack: Callable[[bytes | bytearray | memoryview], bytes | bytearray]


def _gzip(data: bytes | bytearray | memoryview) -> bytes | bytearray:
    return deflate.gzip_compress(data, _LEVEL)


#: libdeflate at level 1. Unlike isal and zlib it makes the same bytes on every processor.
GZIP = Codec(f"gzip-{deflate.__version__}", OCI_LAYER_GZIP, _gzip)


def _zstd() -> Codec:
    import zstandard  # noqa: PLC0415  (only where it is asked for)

    def pack(data: bytes | bytearray | memoryview) -> bytes:
        # A compressor object must not be shared by threads.
        return zstandard.ZstdCompressor(level=_LEVEL).compress(data)

    version = ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    return Codec(f"zstd-{version}", OCI_LAYER_ZSTD, pack)


def codec_of(compression: Literal["gzip", "zstd"]) -> Codec:
    """What a configuration's ``compression`` names."""
    return GZIP if compression == "gzip" else _zstd()
