"""Bytes under a file name without a disk: OpenSSL reads keys from files only."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def memory_files(*contents: bytes) -> Iterator[tuple[str, ...]]:
    """Paths under which the contents can be read inside the ``with``.

    On Linux nothing touches a disk; elsewhere the files are private and removed at the end.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_memory_file(content)) for content in contents)


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
        return
    descriptor = os.memfd_create("plimsoll", os.MFD_CLOEXEC)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
