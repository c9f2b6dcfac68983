"""Writing tar headers, the same bytes for the same entry (ustar, pax where ustar cannot say it)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import BLOCK, TarError, Type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.apk.tarfmt import Header

#: Two zero blocks.
END = bytes(2 * BLOCK)


def padding(size: int) -> bytes:
    """Zero bytes that follow content of ``size`` bytes."""
    return bytes(-size % BLOCK)


def encode_header(header: Header) -> bytes:
    """The blocks before an entry's content: pax records only where they are needed.

    Directories are written without a trailing slash. Times are whole seconds.

    Raises:
        TarError: a number or a name that no header holds.
    """
    records: dict[str, bytes] = dict(header.pax)
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
    size = header.size if header.type is Type.FILE else 0
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
    prefix, name = b"", header.name.encode()
    if records.keys() == {"path"} and header.name.isascii() and (split := _split(name)):
        prefix, name = split
        del records["path"]
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
    block = _block(_ascii(raw)[:100].rstrip(b"/"), b"x", (0, 0, 0, len(content), 0), plain=True)
    return block + content + padding(len(content))


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
    block = bytearray(BLOCK)

    def put(offset: int, width: int, value: bytes) -> None:
        value = _ascii(value.decode())[:width]
        block[offset : offset + len(value)] = value

    def octal(offset: int, width: int, number: int) -> None:
        if number >= 8 ** (width - 1):
            number = 0  # a pax record says it
        block[offset : offset + width] = b"%0*o\0" % (width - 1, number)

    mode, uid, gid, size, mtime = numbers
    put(0, 100, name)
    octal(100, 8, mode)
    octal(108, 8, uid)
    octal(116, 8, gid)
    octal(124, 12, size)
    octal(136, 12, mtime)
    block[156:157] = flag
    put(157, 100, link)
    block[257:265] = b"ustar\x0000"
    put(265, 32, owner[0])
    put(297, 32, owner[1])
    if not plain:
        octal(329, 8, device[0])
        octal(337, 8, device[1])
    put(345, 155, prefix)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "ignore")
