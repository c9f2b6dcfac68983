"""Byte code for Python's standard library, which Debian makes after installation."""

from __future__ import annotations

import importlib.util
import marshal
import sys
import warnings
from functools import cache
from typing import TYPE_CHECKING

from plimsoll.apk.writer import PackageFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Only this interpreter's own byte code can be made.
LIBRARY = f"usr/lib/python3.{sys.version_info.minor}/"
_TAG = f"cpython-3{sys.version_info.minor}"


def byte_code(files: Iterable[PackageFile]) -> Iterator[PackageFile]:
    """``__pycache__`` files for the modules of the standard library among ``files``.

    They are not checked against their source at import (PEP 552), so no file time matters. Version
    2 of the marshal format is written because later ones depend on reference counts.
    """
    for file in files:
        if (
            not file.path.startswith(LIBRARY)
            or not file.path.endswith(".py")
            or not isinstance(file.content, bytes)
            or not file.content
        ):
            continue
        content = _compiled(file.content, f"/{file.path}")
        if content:
            folder, _, name = file.path.rpartition("/")
            yield PackageFile(
                f"{folder}/__pycache__/{name[:-3]}.{_TAG}.pyc", content=content, mtime=file.mtime
            )


@cache
def _compiled(source: bytes, path: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        except (SyntaxError, ValueError):
            return b""  # a test's deliberately broken module, or a template
    return (
        importlib.util.MAGIC_NUMBER
        + (1).to_bytes(4, "little")
        + importlib.util.source_hash(source)
        + marshal.dumps(code, 2)
    )
