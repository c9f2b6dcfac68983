"""How the C library keeps memory between one piece and the next."""

from __future__ import annotations

#: More than any buffer that comes and goes while packages are read.
_LARGEST = 4 << 20


def keep_buffers() -> None:
    """Make the allocator keep buffers of up to 4 MiB for their next use.

    glibc takes larger buffers from the system and gives them back each time, and the system
    clears every page again: a tenth of a cold build. It stops doing so for sizes that it has once
    seen freed (mallopt(3), "dynamic mmap threshold"), so one is freed here, untouched. Other
    C libraries take no notice.
    """
    bytearray(_LARGEST)
