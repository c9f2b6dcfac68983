"""Reading tar archives exactly and in one pass (POSIX.1-2001 pax, ustar, and GNU long names).

The standard library's reader is lenient and builds far more than a package needs. This one
refuses what is not plainly valid, allocates per entry only its header, and hands out contents as
views of the buffer that they were inflated into.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
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

    @classmethod
    def of_mode(cls, mode: int) -> Type | None:
        """The type of a file by ``st_mode``; ``None`` for a socket, which no archive holds."""
        return _OF_MODE.get(stat.S_IFMT(mode))


_OF_MODE = {
    stat.S_IFREG: Type.FILE,
    stat.S_IFDIR: Type.DIRECTORY,
    stat.S_IFLNK: Type.SYMLINK,
    stat.S_IFCHR: Type.CHARACTER_DEVICE,
    stat.S_IFBLK: Type.BLOCK_DEVICE,
    stat.S_IFIFO: Type.FIFO,
}


_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_USTAR = b"ustar\x0000"
_GNU = b"ustar  \0"
_EXTENSIONS = frozenset((b"x", b"g", b"L", b"K"))
_TYPES = {t.value: t for t in Type} | {b"\0": Type.FILE, b"7": Type.FILE}


@dataclass(slots=True)
class Header:
    """One entry's metadata.

    Attributes:
        name: as written, but without a leading ``./`` and a trailing ``/``.
        mode: permission bits, 0o7777 at most.
        mtime: seconds since the epoch; fractions are rounded.
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
            if not block[0] and not any(block):
                self._end(pending=bool(extension))
                return
            fields = self._unpack(block)
            flag = fields[7]
            if flag in _EXTENSIONS:
                size = self._number(fields[4])
                extended += size + BLOCK
                if extended > MAX_EXTENSION:
                    raise self.error(f"has extended headers of more than {MAX_EXTENSION} bytes")
                self._open(size)
                content = b"".join(self.chunks())
                self._skip()
                extension |= self._extend(flag, content)
                continue
            header = self._parse(fields)
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

    def _unpack(self, block: bytes) -> tuple[bytes, ...]:
        fields = _HEADER.unpack(block)
        if self._number(fields[6]) != _sum(block) - sum(fields[6]) + 8 * 0x20:
            raise self.error("has a header with a wrong checksum")
        if fields[9] not in {_USTAR, _GNU}:
            raise self.error("has a header that is not ustar")
        return fields

    def _parse(self, fields: tuple[bytes, ...]) -> Header:
        name, mode, uid, gid, size, mtime, _, flag, link, magic, *rest = fields
        uname, gname, major, minor, prefix = rest
        name = name.partition(b"\0")[0]
        if prefix[0] and magic == _USTAR:
            name = prefix.partition(b"\0")[0] + b"/" + name
        kind = _TYPES.get(flag)
        if kind is None:
            raise self.error(f"has an entry {name[:80]!r} of unknown type {flag!r}")
        device = kind is Type.CHARACTER_DEVICE or kind is Type.BLOCK_DEVICE
        number = self._number
        return Header(
            self._text(name),
            kind,
            number(mode) & 0o7777,
            number(uid),
            number(gid),
            number(size),
            number(mtime),
            self._text(link.partition(b"\0")[0]) if link[0] else "",
            self._text(uname.partition(b"\0")[0]),
            self._text(gname.partition(b"\0")[0]),
            number(major) if device else 0,
            number(minor) if device else 0,
        )

    def _number(self, raw: bytes) -> int:
        digits = raw.strip(b" \0")
        if digits.isdigit():
            try:
                return int(digits, 8)
            except ValueError:
                pass
        elif not digits:
            return 0
        elif raw[0] == 0x80:
            return int.from_bytes(raw[1:], "big")
        elif raw[0] & 0x80:
            raise self.error("has a negative or too large number in a header")
        raise self.error(f"has {digits!r} in a header where an octal number belongs")

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
        up = key == "mtime" and match[2] and match[2] >= b"5"
        setattr(header, attribute, int(match[1]) + bool(up))


def _sum(block: bytes) -> int:
    # The lower half of Adler-32 is one more than the sum, as long as that is below 65,521.
    return (zlib.adler32(block) & 0xFFFF) - 1 if block.isascii() else sum(block)


_DECIMAL = re.compile(rb"([0-9]{1,18})")
_TIME = re.compile(rb"([0-9]{1,18})(?:\.([0-9]?)[0-9]*)?")
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
