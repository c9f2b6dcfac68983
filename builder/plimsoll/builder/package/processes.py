"""What running a program takes beside starting it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import StreamReader
    from collections.abc import AsyncIterator, Iterable, Iterator

#: Bytes of a line of output that are kept together.
MAX_LINE = 64 << 10


@contextlib.contextmanager
def sealed(words: Iterable[str]) -> Iterator[int]:
    """A descriptor from which bubblewrap reads arguments (``--args``).

    On the command line every user of this machine could read them.

    Raises:
        ValueError: a word holds a NUL, and would become two.
    """
    data = b""
    for word in words:
        if "\0" in word:
            raise ValueError("a variable holds a NUL byte")
        data += os.fsencode(word) + b"\0"
    descriptor = os.memfd_create("arguments")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def processors(most: int) -> Iterator[None]:
    """What this thread starts in between may use this many processors; 0 for all."""
    allowed = os.sched_getaffinity(0)
    if not most or most >= len(allowed):
        yield
        return
    os.sched_setaffinity(0, sorted(allowed)[:most])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


async def lines(stream: StreamReader) -> AsyncIterator[str]:
    """Lines of output, those that are too long in pieces."""
    rest = b""
    while data := await stream.read(MAX_LINE):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
        if len(rest) > MAX_LINE:
            yield rest.decode(errors="replace")
            rest = b""
    if rest:
        yield rest.decode(errors="replace")
