"""ELF files made byte by byte, sound and odd, for tests."""

from __future__ import annotations

import struct
from typing import NamedTuple

_BASE = 0x10000


class Part(NamedTuple):
    """One section."""

    name: str
    content: bytes
    kind: int = 1
    flags: int = 0


def elf(
    *parts: Part,
    bits: int = 64,
    big: bool = False,
    machine: int = 62,
    kind: int = 3,
    interpreter: str = "",
    needed: tuple[str, ...] = (),
    soname: str = "",
    flags: int = 0,
) -> bytes:
    """A file with one PT_LOAD segment over everything, loaded at 0x10000."""
    order, word = (">" if big else "<"), ("Q" if bits == 64 else "I")
    header_size, segment_size = (64, 56) if bits == 64 else (52, 32)
    names = b"\0" + b"".join(n.encode() + b"\0" for n in (*needed, soname))
    offsets, position = [], 1
    for name in (*needed, soname):
        offsets.append(position)
        position += len(name.encode()) + 1
    start = header_size + 3 * segment_size
    body = bytearray()

    def put(data: bytes) -> int:
        body.extend(b"\0" * (-len(body) % 8))
        place = start + len(body)
        body.extend(data)
        return place

    interp = put(interpreter.encode() + b"\0")
    strings = put(names)
    tags = [(1, o) for o in offsets[:-1]]
    tags += [(14, offsets[-1])] if soname else []
    tags += [(5, _BASE + strings), (0, 0)]
    dynamic_bytes = b"".join(struct.pack(f"{order}{word}{word}", *t) for t in tags)
    dynamic = put(dynamic_bytes)
    placed = [(p, put(p.content)) for p in parts]
    table = b"\0" + b"".join(p.name.encode() + b"\0" for p in parts) + b".shstrtab\0"
    table_at = put(table)
    rows = [(0, 0, 0, 0, 0, 0)]
    at = 1
    for part, place in placed:
        rows.append((at, part.kind, part.flags, _BASE + place, place, len(part.content)))
        at += len(part.name) + 1
    rows.append((at, 3, 0, 0, table_at, len(table)))
    form = f"{order}II{word}{word}{word}{word}II{word}{word}"
    sections = put(b"".join(struct.pack(form, *r, 0, 0, 1, 0) for r in rows))
    size = start + len(body)
    load = _segment(order, bits, 1, 0, _BASE, size)
    second = _segment(order, bits, 3 if interpreter else 0, interp, 0, len(interpreter) + 1)
    third = _segment(order, bits, 2, dynamic, _BASE + dynamic, len(dynamic_bytes))
    ident = b"\x7fELF" + bytes((bits // 32, 2 if big else 1, 1)) + b"\0" * 9
    header = ident + struct.pack(
        f"{order}HHI{word}{word}{word}IHHHHHH",
        kind, machine, 1, 0, header_size, sections, flags, header_size, segment_size, 3,
        struct.calcsize(form), len(rows), len(rows) - 1,
    )  # fmt: skip
    return header + load + second + third + bytes(body)


def _segment(order: str, bits: int, kind: int, offset: int, address: int, size: int) -> bytes:
    if bits == 64:
        return struct.pack(f"{order}IIQQQQQQ", kind, 4, offset, address, address, size, size, 8)
    return struct.pack(f"{order}IIIIIIII", kind, offset, address, address, size, size, 4, 4)


def go_build_info(version: str, information: str) -> Part:
    """The section that Go's linker writes since 1.18."""

    def text(data: bytes) -> bytes:
        length, out = len(data), bytearray()
        while length >= 0x80:
            out.append(length & 0x7F | 0x80)
            length >>= 7
        return bytes((*out, length)) + data

    framed = b"0" * 16 + information.encode() + b"1" * 16 if information else b""
    head = b"\xff Go buildinf:" + bytes((8, 2)) + b"\0" * 16
    return Part(".go.buildinfo", head + text(version.encode()) + text(framed))
