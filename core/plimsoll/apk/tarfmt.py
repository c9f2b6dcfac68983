"""Reading tar archives exactly and in one pass (POSIX.1-2001 pax, ustar, and GNU long names).

The standard library's reader is lenient and builds far more than a package needs. This one
refuses what is not plainly valid, allocates per entry only its header, and hands out contents as
views of the buffer that they were inflated into.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK = 512
#: Most bytes of extended headers before one entry.
MAX_EXTENSION = 1 << 20
MAX_NAME = 4096


class TarError(Error):
    """A tar archive that breaks the format or tries to trick its reader."""

    reason = "CorruptArchive"


class Type(Enum):
    """What an entry is; the value is the header's type flag."""

    FILE = b"0"
    HARDLINK = b"1"
    SYMLINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


_TYPES = {t.value: t for t in Type} | {b"\0": Type.FILE, b"7": Type.FILE}


@dataclass(slots=True)
class Header:
    """One entry's metadata.

    Attributes:
        name: as written, but without a leading ``./`` and a trailing ``/``.
        mode: permission bits, 0o7777 at most.
        mtime: seconds since the epoch, fractions cut.
        linkname: target of a symbolic or hard link, as written.
        pax: extended attributes of this entry, without those that became fields.
    """

    name: str
    type: Type
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    linkname: str = ""
    uname: str = ""
    gname: str = ""
    devmajor: int = 0
    devminor: int = 0
    pax: dict[str, bytes] = field(default_factory=dict)

    @property
    def xattrs(self) -> dict[str, bytes]:
        """Extended file attributes (``SCHILY.xattr.*``)."""
        prefix = "SCHILY.xattr."
        return {k[len(prefix) :]: v for k, v in self.pax.items() if k.startswith(prefix)}


class Entry:
    """One entry of a stream: its header, and its content while it is the current one."""

    __slots__ = ("_reader", "header")

    def __init__(self, header: Header, reader: TarReader) -> None:
        self.header = header
        self._reader = reader

    def chunks(self) -> Iterator[memoryview]:
        """Yield the content, once, before the next entry is asked for."""
        return self._reader.chunks()

    def read(self) -> memoryview:
        """The whole content at once; a view without a copy where it lies in one chunk."""
        parts = list(self._reader.chunks())
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))


class TarReader:
    """Iterates over the entries of a tar stream.

    Ends at two zero blocks (what follows must be zero too) or, as signature and control sections
    of packages do, at the end of the stream.

    Args:
        chunks: the uncompressed archive, in pieces of any size.
        what: names the archive in errors.

    Raises:
        TarError: while iterating, at the first thing that is wrong.
    """

    def __init__(self, chunks: Iterable[bytes], what: str) -> None:
        self._source = iter(chunks)
        self._what = what
        self._view = memoryview(b"")
        self._position = 0
        self._left = 0
        self._padding = 0
        self.offset = 0

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries in order."""
        extension: dict[str, bytes] = {}
        extended = 0
        while (block := self._block()) is not None:
            if not block.strip(b"\0"):
                self._end(pending=bool(extension))
                return
            header, flag = self._parse(block)
            if flag in {b"x", b"L", b"K", b"g"}:
                extended += header.size + BLOCK
                if extended > MAX_EXTENSION:
                    raise self.error(f"has extended headers of more than {MAX_EXTENSION} bytes")
                self._open(header.size)
                content = b"".join(self.chunks())
                self._skip()
                extension |= self._extend(flag, content)
                continue
            self._apply(header, extension)
            extension, extended = {}, 0
            self._open(header.size)
            yield Entry(header, self)
            self._skip()
        if extension:
            raise self.error("ends after an extended header")

    def error(self, message: str) -> TarError:
        """An error about this archive."""
        return TarError(
            f"{self._what} {message}",
            hint="the archive is damaged or was made to mislead; do not use it",
        )

    def chunks(self) -> Iterator[memoryview]:
        """Content of the current entry that was not read yet."""
        while self._left:
            piece = self._take(self._left)
            self._left -= len(piece)
            yield piece

    def _open(self, size: int) -> None:
        self._left, self._padding = size, -size % BLOCK

    def _skip(self) -> None:
        for _ in self.chunks():
            pass
        while self._padding:
            self._padding -= len(self._take(self._padding))

    def _take(self, most: int) -> memoryview:
        """At least one byte, at most ``most``."""
        while self._position == len(self._view):
            chunk = next(self._source, None)
            if chunk is None:
                raise self.error("is cut short")
            self._view, self._position = memoryview(chunk), 0
        piece = self._view[self._position : self._position + most]
        self._position += len(piece)
        self.offset += len(piece)
        return piece

    def _block(self) -> bytes | None:
        """The next 512 bytes, or ``None`` at the end of the stream."""
        if len(self._view) - self._position >= BLOCK:
            return bytes(self._take(BLOCK))
        parts = bytearray()
        while len(parts) < BLOCK:
            if self._position == len(self._view):
                chunk = next(self._source, None)
                if chunk is None:
                    break
                self._view, self._position = memoryview(chunk), 0
                continue
            parts += self._take(BLOCK - len(parts))
        if parts and len(parts) < BLOCK:
            raise self.error("ends within a block")
        return bytes(parts) or None

    def _end(self, *, pending: bool) -> None:
        if pending:
            raise self.error("ends after an extended header")
        while (block := self._block()) is not None:
            if block.strip(b"\0"):
                raise self.error("has bytes behind its end")

    def _parse(self, block: bytes) -> tuple[Header, bytes]:
        total = sum(block) - sum(block[148:156]) + 8 * 0x20
        if self._number(block[148:156]) != total:
            raise self.error("has a header with a wrong checksum")
        magic = block[257:265]
        if magic not in {b"ustar\x0000", b"ustar  \0"}:
            raise self.error("has a header that is not ustar")
        flag = block[156:157]
        name = _cut(block[:100])
        if magic == b"ustar\x0000" and (prefix := _cut(block[345:500])):
            name = prefix + b"/" + name
        device = flag in {b"3", b"4"}
        header = Header(
            name=self._text(name),
            type=_TYPES.get(flag, Type.FILE),
            mode=self._number(block[100:108]) & 0o7777,
            uid=self._number(block[108:116]),
            gid=self._number(block[116:124]),
            size=self._number(block[124:136]),
            mtime=self._number(block[136:148]),
            linkname=self._text(_cut(block[157:257])),
            uname=self._text(_cut(block[265:297])),
            gname=self._text(_cut(block[297:329])),
            devmajor=self._number(block[329:337]) if device else 0,
            devminor=self._number(block[337:345]) if device else 0,
        )
        if flag not in _TYPES and flag not in {b"x", b"L", b"K", b"g"}:
            raise self.error(f"has an entry {header.name!r} of unknown type {flag!r}")
        return header, flag

    def _number(self, raw: bytes) -> int:
        if raw[0] & 0x80:
            if raw[0] != 0x80:
                raise self.error("has a negative or too large number in a header")
            return int.from_bytes(raw[1:], "big")
        digits = raw.strip(b" \0")
        if not digits:
            return 0
        if not _OCTAL.fullmatch(digits):
            raise self.error(f"has {digits!r} in a header where an octal number belongs")
        return int(digits, 8)

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.error(f"has the name {raw[:80]!r}, which is not UTF-8") from None

    def _extend(self, flag: bytes, content: bytes) -> dict[str, bytes]:
        if flag == b"L":
            return {"path": content.rstrip(b"\0")}
        if flag == b"K":
            return {"linkpath": content.rstrip(b"\0")}
        records = self._pax(content)
        if flag == b"g":
            unsafe = records.keys() & _FIELDS.keys()
            if unsafe:
                raise self.error(f"sets {min(unsafe)!r} for all entries at once")
            return {}
        return records

    def _pax(self, content: bytes) -> dict[str, bytes]:
        records: dict[str, bytes] = {}
        position = 0
        while position < len(content):
            match = _PAX.match(content, position)
            end = position + int(match[1]) if match else -1
            if match is None or not match.end() < end <= len(content) or content[end - 1] != 0x0A:
                raise self.error("has a malformed pax record")
            key = self._text(match[2])
            if key in records:
                raise self.error(f"has the pax record {key!r} twice for one entry")
            records[key] = content[match.end() : end - 1]
            position = end
        return records

    def _apply(self, header: Header, records: dict[str, bytes]) -> None:
        for key, value in records.items():
            if key in _FIELDS:
                self._override(header, key, value)
            elif key.startswith("GNU.sparse"):
                raise self.error("has a sparse file")
            else:
                header.pax[key] = value
        name = header.name.rstrip("/")
        while name.startswith("./"):
            name = name[2:].lstrip("/")
        header.name = name or "."
        if len(header.name) > MAX_NAME or len(header.linkname) > MAX_NAME:
            raise self.error(f"has a name of more than {MAX_NAME} characters")
        if header.type is not Type.FILE and header.size:
            raise self.error(f"has content behind {header.name!r}, which is no file")

    def _override(self, header: Header, key: str, value: bytes) -> None:
        attribute, pattern = _FIELDS[key]
        if pattern is None:
            setattr(header, attribute, self._text(value))
            return
        match = pattern.fullmatch(value)
        if match is None:
            raise self.error(f"has the pax record {key}={value[:40]!r}")
        setattr(header, attribute, int(match[1]))


_OCTAL = re.compile(rb"[0-7]{1,12}")
_DECIMAL = re.compile(rb"([0-9]{1,18})")
_TIME = re.compile(rb"([0-9]{1,18})(?:\.[0-9]*)?")
#: Pax record → field of the header, and the form of a number.
_FIELDS: dict[str, tuple[str, re.Pattern[bytes] | None]] = {
    "path": ("name", None),
    "linkpath": ("linkname", None),
    "uname": ("uname", None),
    "gname": ("gname", None),
    "uid": ("uid", _DECIMAL),
    "gid": ("gid", _DECIMAL),
    "size": ("size", _DECIMAL),
    "mtime": ("mtime", _TIME),
}
_PAX = re.compile(rb"([0-9]{1,8}) ([^=\n\0]+)=")


def _cut(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]
