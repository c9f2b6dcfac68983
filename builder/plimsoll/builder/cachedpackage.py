"""One verified package, as the cache has it and as it is written down."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from plimsoll.apk.package import Section
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import Header, Type
from plimsoll.apk.tarwrite import encode_header
from plimsoll.builder.store import CorruptEntryError

if TYPE_CHECKING:
    from plimsoll.builder.segment import Reader, Segment

_XATTR = "SCHILY.xattr."
# Asking the enumeration itself costs more than all else that is done per file.
_KINDS = {kind.value.decode(): kind for kind in Type}


class FileEntry(NamedTuple):
    """One file, link or directory of a package.

    ``start`` and ``data`` are offsets in the segment: of the entry and of its content; -1 for
    directories, which are in no segment. ``sha1`` is hex, ``""`` where nothing is hashed.
    """

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    start: int = -1
    data: int = -1
    sha1: str = ""
    link: str = ""
    xattrs: tuple[tuple[str, str], ...] = ()

    @property
    def end(self) -> int:
        """Offset behind the entry in the segment."""
        return self.data + self.size + (-self.size % 512)

    @property
    def kind(self) -> Type:
        """Type of entry."""
        return _KINDS[self.type]

    def pax(self) -> dict[str, bytes]:
        """Extended attributes as pax records."""
        return {_XATTR + key: base64.b64decode(value) for key, value in self.xattrs}


@dataclass(frozen=True, slots=True)
class CachedPackage:
    """One verified package.

    Attributes:
        checksum: SHA-1 of the control section.
        sha256: SHA-256 (hex) of the whole ``.apk`` file.
        size: bytes of the ``.apk`` file.
        entries: in the package's order.
        scripts: names like ``.post-install`` → content; never run.
    """

    checksum: bytes
    sha256: str
    size: int
    info: PackageInfo
    control: Section
    signature: Section | None
    data_start: int
    segment: Segment
    entries: tuple[FileEntry, ...]
    scripts: dict[str, bytes]

    @property
    def key(self) -> str:
        """The name of the cache entry."""
        return self.checksum.hex()

    def read(self, entry: FileEntry) -> bytes:
        """Content of a file, checked against its SHA-1; raises ``CorruptEntryError``."""
        data = self.segment.slice(entry.data, entry.size)
        if hashlib.sha1(data, usedforsecurity=False).hexdigest() != entry.sha1:
            raise CorruptEntryError(f"{entry.path} in the cached {self.info.name}")
        return data

    def part(self, entry: FileEntry, offset: int, size: int, reader: Reader) -> bytes:
        """Part of the content of a file, checked piece by piece only.

        Raises:
            CorruptEntryError: a piece is not what was stored.
        """
        if not self.segment.size:
            return self.read(entry)[offset : offset + size]
        return reader.slice(self.segment, entry.data + offset, size)


def encode_entry(entry: FileEntry) -> bytes:
    """The tar header of an entry: numeric owners, no names."""
    return encode_header(
        Header(
            entry.path,
            entry.kind,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            size=entry.size,
            mtime=entry.mtime,
            linkname=entry.link,
            pax=entry.pax(),
        )
    )


def to_record(package: CachedPackage) -> dict[str, Any]:
    """What is written down of a package, apart from its segment."""

    def section(value: Section | None) -> list[Any] | None:
        if value is None:
            return None
        return [value.start, value.end, value.sha1.hex(), value.sha256.hex()]

    return {
        "checksum": package.checksum.hex(),
        "sha256": package.sha256,
        "size": package.size,
        "info": asdict(package.info),
        "control": section(package.control),
        "signature": section(package.signature),
        "data": package.data_start,
        "scripts": {k: base64.b64encode(v).decode() for k, v in package.scripts.items()},
        "entries": package.entries,
    }


def from_record(value: dict[str, Any], segment: Segment) -> CachedPackage:
    """A package by its record.

    Raises:
        ValueError, KeyError, TypeError: it is no record.
    """

    def section(item: list[Any]) -> Section:
        return Section(item[0], item[1], bytes.fromhex(item[2]), bytes.fromhex(item[3]))

    info: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in value["info"].items()
    }
    return CachedPackage(
        checksum=bytes.fromhex(value["checksum"]),
        sha256=value["sha256"],
        size=value["size"],
        info=PackageInfo(**info),
        control=section(value["control"]),
        signature=section(value["signature"]) if value["signature"] else None,
        data_start=value["data"],
        segment=segment,
        entries=tuple(
            FileEntry._make((*row[:-1], tuple(map(tuple, row[-1])))) for row in value["entries"]
        ),
        scripts={k: base64.b64decode(v) for k, v in value["scripts"].items()},
    )
