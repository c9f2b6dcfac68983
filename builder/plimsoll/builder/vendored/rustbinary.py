"""Crates that a Rust program was built from, where ``cargo auditable`` wrote them down."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.builder.sca.tree import Entry

#: Bytes of the list, inflated; that of the largest programs has some 100 KB.
MAX_LIST = 16 << 20


def crates(entry: Entry) -> Iterator[tuple[str, str]]:
    """Name and version of each crate linked into a program, without the program's own.

    Nothing for files without a list, or with a broken one.
    """
    elf = entry.elf
    section = elf.section(".dep-v0") if elf is not None else None
    if section is None:
        return
    with entry.open() as source:
        packed = source.read_at(section.offset, min(section.size, MAX_LIST))
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(packed, MAX_LIST)
        found = json.loads(text) if not inflater.unconsumed_tail else None
    except (zlib.error, ValueError, RecursionError):
        return
    packages = found.get("packages") if isinstance(found, dict) else None
    for package in packages if isinstance(packages, list) else ():
        if not isinstance(package, dict) or package.get("root"):
            continue
        name, version = package.get("name"), package.get("version")
        # Crates for the build alone are not in the program.
        runtime = package.get("kind", "runtime") == "runtime"
        if runtime and isinstance(name, str) and isinstance(version, str):
            yield name, version
