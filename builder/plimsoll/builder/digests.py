"""What layers are called: hashing their tar and their compressed stream, and writing it out."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from plimsoll.builder.codec import unpacker
from plimsoll.builder.processors import workers
from plimsoll.builder.stored import write_all

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from typing import BinaryIO

    from plimsoll.builder.codec import Codec
    from plimsoll.builder.segment import Segment


def digests(
    segments: Iterable[Segment], codec: Codec, file: BinaryIO | None = None
) -> tuple[str, str]:
    """SHA-256 (hex) of the tar and of the compressed stream, each piece read once.

    Pieces are expanded ahead by other threads: hashing is what cannot be shared out.

    Args:
        segments: what the stream is a concatenation of.
        codec: how they are compressed.
        file: gets the compressed stream; unbuffered.

    Raises:
        CorruptEntryError: a segment is not what was stored.
    """
    tar, stream = hashlib.sha256(), hashlib.sha256()
    threads = workers()
    ahead: deque[Future[bytes | bytearray]] = deque()
    own = threading.local()

    def prepare() -> None:
        own.expand = unpacker(codec.id)

    def expand(piece: bytes, size: int) -> bytes | bytearray:
        content: bytes | bytearray = own.expand(piece, size)
        return content

    with ThreadPoolExecutor(threads, "expand", prepare) as pool:
        for segment in segments:
            for piece, size in segment.members():
                ahead.append(pool.submit(expand, piece, size))
                stream.update(piece)
                if file is not None:
                    write_all(file, piece)
                if len(ahead) > 4 * threads:
                    tar.update(ahead.popleft().result())
        for future in ahead:
            tar.update(future.result())
    return tar.hexdigest(), stream.hexdigest()


def digests_alone(segments: Iterable[Segment], file: BinaryIO | None = None) -> tuple[str, str]:
    """Like ``digests``, in this thread alone: for one layer of several that are hashed at once."""
    tar, stream = hashlib.sha256(), hashlib.sha256()
    for segment in segments:
        expand = unpacker(segment.codec)
        for piece, size in segment.members():
            stream.update(piece)
            if file is not None:
                write_all(file, piece)
            tar.update(expand(piece, size))
    return tar.hexdigest(), stream.hexdigest()
