"""Writing tar headers, the same bytes for the same entry (ustar, pax where ustar cannot say it)."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import BLOCK, TarError, Type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.apk.tarfmt import Header

#: Two zero blocks.
END = bytes(2 * BLOCK)
_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")


def padding(size: int) -> bytes:
    """Zero bytes that follow content of ``size`` bytes."""
    return bytes(-size % BLOCK)


def encode_header(header: Header) -> bytes:
    """The blocks before an entry's content: pax records only where they are needed.

    Directories are written without a trailing slash. Times are whole seconds.

    Raises:
        TarError: a number or a name that no header holds.
    """
    size = header.size if header.type is Type.FILE else 0
    records = header.pax | ({} if _fits(header, size) else _beyond(header, size))
    prefix, name = b"", header.name.encode()
    if records.keys() == {"path"} and header.name.isascii() and (split := _split(name)):
        prefix, name = split
        del records["path"]
    elif "path" in records:
        name = _short(name)
    block = _block(
        name,
        header.type.value,
        (header.mode & 0o7777, header.uid, header.gid, size, header.mtime),
        link=header.linkname.encode(),
        owner=(header.uname.encode(), header.gname.encode()),
        device=(header.devmajor, header.devminor),
        prefix=prefix,
    )
    return (_extension(header.name, records) if records else b"") + block


def _fits(header: Header, size: int) -> bool:
    """Whether the fields of ustar certainly hold everything: so it is with most files."""
    text = header.name + header.linkname + header.uname + header.gname
    return (
        text.isascii()
        and "\0" not in text
        and len(header.name) <= 100 >= len(header.linkname)
        and len(header.uname) <= 32 >= len(header.gname)
        and 0 <= header.uid < 8**7
        and 0 <= header.gid < 8**7
        and 0 <= size < 8**11
        and 0 <= header.mtime < 8**11
    )


def _beyond(header: Header, size: int) -> dict[str, bytes]:
    """Records for what the fields of ustar do not hold."""
    records: dict[str, bytes] = {}
    for key, text, width in (
        ("path", header.name, 100),
        ("linkpath", header.linkname, 100),
        ("uname", header.uname, 32),
        ("gname", header.gname, 32),
    ):
        raw = text.encode()
        if b"\0" in raw:
            raise TarError(f"{text[:80]!r} has a zero byte", hint="rename the file")
        if not text.isascii() or len(raw) > width:
            records[key] = raw
    for key, number, limit in (
        ("uid", header.uid, 8**7),
        ("gid", header.gid, 8**7),
        ("size", size, 8**11),
        ("mtime", header.mtime, 8**11),
    ):
        if number < 0:
            raise TarError(
                f"{header.name!r} has the {key} {number}", hint="it must not be negative"
            )
        if number >= limit:
            records[key] = str(number).encode()
    return records


def pax_records(records: Mapping[str, bytes]) -> bytes:
    """Records as ``length key=value`` lines, sorted by key."""
    out = bytearray()
    for key in sorted(records):
        body = b" " + key.encode() + b"=" + records[key] + b"\n"
        length = len(body) + len(str(len(body)))
        if len(str(length)) + len(body) != length:
            length = len(body) + len(str(length))
        out += str(length).encode() + body
    return bytes(out)


def _extension(name: str, records: Mapping[str, bytes]) -> bytes:
    content = pax_records(records)
    folder, _, base = name.rpartition("/")
    raw = f"{folder}/PaxHeaders.0/{base}" if folder else f"PaxHeaders.0/{base}"
    short = _ascii(raw.encode())[:100].rstrip(b"/")
    block = _block(short, b"x", (0, 0, 0, len(content), 0), plain=True)
    return block + content + padding(len(content))


def _short(name: bytes) -> bytes:
    """What fits of a name that a pax record holds; a slash at its end would mean a directory."""
    start = _ascii(name)[:100]
    return start.rstrip(b"/") if len(start) == 100 else start


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Cut a name into the prefix and name fields of ustar, where a slash allows it."""
    if len(name) > 256:
        return None
    at = name.rfind(b"/", 0, 156)
    if at <= 0 or len(name) - at - 1 > 100 or len(name) - at - 1 == 0:
        return None
    return name[:at], name[at + 1 :]


def _block(  # noqa: PLR0913  (a header has that many fields)
    name: bytes,
    flag: bytes,
    numbers: tuple[int, int, int, int, int],
    *,
    link: bytes = b"",
    owner: tuple[bytes, bytes] = (b"", b""),
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
    plain: bool = False,
) -> bytes:
    mode, uid, gid, size, mtime = numbers
    block = _FIELDS.pack(
        _ascii(name),
        _octal(8, mode),
        _octal(8, uid),
        _octal(8, gid),
        _octal(12, size),
        _octal(12, mtime),
        b" " * 8,
        flag,
        _ascii(link),
        b"ustar\x0000",
        _ascii(owner[0]),
        _ascii(owner[1]),
        b"" if plain else _octal(8, device[0]),
        b"" if plain else _octal(8, device[1]),
        _ascii(prefix),
    )
    # The lower half of Adler-32 is one more than the sum, as long as that is below 65,521: of 512
    # bytes of ASCII it is. Adding them up in Python takes twenty times as long.
    total = (zlib.adler32(block) & 0xFFFF) - 1
    return b"%b%06o\0 %b" % (block[:148], total, block[156:])


def _octal(width: int, number: int) -> bytes:
    """A number; 0 where it does not fit: a pax record says it then."""
    return b"%0*o\0" % (width - 1, number if number < 8 ** (width - 1) else 0)


def _ascii(raw: bytes) -> bytes:
    return raw if raw.isascii() else raw.decode().encode("ascii", "ignore")
