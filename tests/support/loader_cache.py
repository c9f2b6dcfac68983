"""Reading ``ld.so.cache``."""

from __future__ import annotations

import struct

Row = tuple[int, str, str] | tuple[int, str, str, str]


def parse(data: bytes, order: str = "<") -> tuple[list[Row], bytes]:
    """Entries (flags, name, path, and what a processor must have), and who wrote it."""
    magic, count, strings, flags, extension = struct.unpack_from(f"{order}20sIIB3xI", data)
    assert magic == b"glibc-ld.so.cache1.1"
    assert flags == (2 if order == "<" else 3)

    def text(place: int) -> str:
        assert 48 + 24 * count <= place < 48 + 24 * count + strings
        return data[place : data.index(b"\0", place)].decode()

    rows = []
    for number in range(count):
        flag, key, value, system, hwcap = struct.unpack_from(
            f"{order}iIIIQ", data, 48 + 24 * number
        )
        assert system == 0
        rows.append((flag, text(key), text(value), hwcap))
    mark, sections = struct.unpack_from(f"{order}2I", data, extension)
    assert mark == 0xEAA42174
    found = {}
    for number in range(sections):
        tag, _, place, size = struct.unpack_from(f"{order}4I", data, extension + 8 + 16 * number)
        found[tag] = data[place : place + size]
        assert place + size <= len(data)
    names = [text(place) for (place,) in struct.iter_unpack(f"{order}I", found.get(1, b""))]
    shown: list[Row] = []
    for flag, key, value, hwcap in rows:
        assert hwcap == 0 or hwcap >> 32 == 1 << 30
        condition = (names[hwcap & 0xFFFFFFFF],) if hwcap else ()
        shown.append((flag, key, value, *condition))
    return shown, found[0]
