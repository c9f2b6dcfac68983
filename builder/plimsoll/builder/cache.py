"""The package cache: each package verified once, kept as what an image needs of it.

An entry lies under the SHA-1 of the package's control section, which is what a signed index
names. It holds the verified package's files as a tar segment, compressed once for each way of
compressing that was asked for, and a record of everything else. Records carry their own SHA-256
and those of the segments; each is compared whenever the bytes are read again.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from plimsoll.apk.package import Limits, open_package
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.tarwrite import padding
from plimsoll.builder.cachedpackage import (
    CachedPackage,
    FileEntry,
    encode_entry,
    from_record,
    to_record,
)
from plimsoll.builder.codec import GZIP
from plimsoll.builder.segment import Segment, SegmentWriter, pack_again, packed_name
from plimsoll.builder.store import CorruptEntryError, Store, seal, storage_errors, unseal

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.builder.codec import Codec

KIND = "packages"


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
            package = from_record(value, self._segment(folder))
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
            (folder / "meta").write_bytes(seal(to_record(package)))
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
