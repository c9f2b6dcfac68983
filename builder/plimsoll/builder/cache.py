"""The package cache: each package verified once, kept as what an image needs of it.

An entry lies under the SHA-1 of the package's control section, which is what a signed index
names. It holds the verified package's files as a tar segment, compressed once for each way of
compressing that was asked for, and a record of everything else. Records carry their own SHA-256
and those of the segments; each is compared whenever the bytes are read again.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from plimsoll.apk.package import Limits, Section, open_package
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import Header, Type
from plimsoll.apk.tarwrite import encode_header, padding
from plimsoll.builder.codec import GZIP
from plimsoll.builder.segment import Segment, SegmentWriter, pack_again, packed_name
from plimsoll.builder.store import CorruptEntryError, Store, seal, storage_errors, unseal

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.builder.codec import Codec
    from plimsoll.builder.segment import Reader

KIND = "packages"
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


class PackageCache:
    """Verified packages of one store.

    Args:
        store: the cache directory.
        limits: what a package may hold.
        codec: how segments are compressed.
    """

    def __init__(self, store: Store, limits: Limits | None = None, codec: Codec = GZIP) -> None:
        self.store = store
        self.limits = limits or Limits()
        self.codec = codec

    def load(self, checksum: bytes, *, datahash: str = "") -> CachedPackage | None:
        """The package with this control section, if it is cached and undamaged.

        Args:
            checksum: SHA-1 of its control section.
            datahash: SHA-256 (hex) its data section must have, where that is known too.
        """
        folder = self.store.path(KIND, checksum.hex())
        try:
            value = unseal((folder / "meta").read_bytes())
            package = _decode(value, self._segment(folder))
        except FileNotFoundError:
            return None
        except (CorruptEntryError, ValueError, KeyError, TypeError):
            self.store.remove(folder)
            return None
        if datahash and package.info.datahash != datahash:
            return None
        return package

    def forget(self, package: CachedPackage) -> None:
        """Drop an entry that turned out to be damaged."""
        self.store.remove(self.store.path(KIND, package.key))

    def fill(self, path: Path, *, checksum: bytes, source: str) -> CachedPackage:
        """Verify a package file completely and keep it.

        Blocking; meant for a thread. The file is not needed afterwards.

        Args:
            path: the ``.apk`` file.
            checksum: SHA-1 of its control section, from a verified index or a lock.
            source: URL or path of the package, for messages.

        Raises:
            Error: the package is not what the index names, or is unsafe or damaged.
            StorageError: the cache cannot be written.
        """
        with storage_errors(f"storing {source} in the cache"):
            folder = self.store.scratch()
            package = self._convert(path, folder, checksum, source)
            (folder / "meta").write_bytes(seal(_encode(package)))
            _record(package.segment, folder)
            target = self.store.path(KIND, package.key)
            mine = self.store.publish(folder, target)
        if not mine and (stored := self.load(package.checksum)) is not None:
            return stored
        return replace(package, segment=package.segment.moved(target))

    def _segment(self, folder: Path) -> Segment:
        """The segment; compressed again where it is compressed otherwise only."""
        segment = _recorded(folder, self.codec.id)
        if segment is not None:
            return segment
        others = (path.name.removesuffix(".meta") for path in folder.glob("segment.*.meta"))
        known = [other.removeprefix("segment.") for other in sorted(others)]
        segment = _recorded(folder, known[0]) if known else None
        if segment is None:
            raise CorruptEntryError(f"{folder} has no segment")
        with storage_errors(f"writing to the cache {self.store.root}"):
            scratch = self.store.scratch()
            again = pack_again(segment, scratch, self.codec)
            _record(again, scratch)
            # The record comes last: it says that the other file is complete.
            name = packed_name(self.codec.id)
            (scratch / name).replace(folder / name)
            (scratch / f"{name}.meta").replace(folder / f"{name}.meta")
        return again.moved(folder)

    def _convert(self, path: Path, folder: Path, checksum: bytes, source: str) -> CachedPackage:
        with path.open("rb", buffering=0) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            package = open_package(file, source=source, checksum=checksum, limits=self.limits)
            writer = SegmentWriter(folder, self.codec)
            try:
                entries = []
                for item in package.data(file):
                    header = item.header
                    entry = FileEntry(
                        header.name,
                        header.type.value.decode(),
                        header.mode,
                        header.uid,
                        header.gid,
                        header.mtime,
                        size=header.size,
                        link=header.linkname,
                        xattrs=tuple(
                            (key, base64.b64encode(value).decode())
                            for key, value in sorted(header.xattrs.items())
                        ),
                    )
                    if header.type is Type.DIRECTORY:
                        entries.append(entry)
                        continue
                    start = writer.position
                    writer.write(encode_entry(entry))
                    data = writer.position
                    for chunk in item.chunks():
                        writer.write(chunk)
                    writer.write(padding(header.size))
                    hashed = header.type in {Type.FILE, Type.SYMLINK}
                    entries.append(
                        entry._replace(
                            start=start, data=data, sha1=item.sha1.hex() if hashed else ""
                        )
                    )
                segment = writer.finish()
            finally:
                writer.close()
        return CachedPackage(
            checksum=package.control.sha1,
            sha256=sha256,
            size=size,
            info=package.info,
            control=package.control,
            signature=package.signature,
            data_start=package.data_start,
            segment=segment,
            entries=tuple(entries),
            scripts=package.scripts,
        )


def _recorded(folder: Path, codec: str) -> Segment | None:
    try:
        value = unseal((folder / f"{packed_name(codec)}.meta").read_bytes())
    except FileNotFoundError:
        return None
    return Segment.recorded(value, folder, codec)


def _record(segment: Segment, folder: Path) -> None:
    (folder / f"{packed_name(segment.codec)}.meta").write_bytes(seal(segment.record()))


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


def _encode(package: CachedPackage) -> dict[str, Any]:
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


def _decode(value: dict[str, Any], segment: Segment) -> CachedPackage:
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
