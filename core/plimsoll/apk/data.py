"""The data section of a package, in one pass: inflated, hashed, checked, entry by entry."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING

from plimsoll.apk.gz import GzipError, Inflater
from plimsoll.apk.tarfmt import TarReader, Type
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plimsoll.apk.tarfmt import Entry, Header

CHECKSUM = "APK-TOOLS.checksum.SHA1"
#: Largest uid, gid; the all-ones value means "no change" to the kernel.
_MAX_ID = 2**32 - 2
#: Most bytes of names, targets and attributes of all entries, which are kept in memory.
_MAX_DESCRIBED = 32 << 20
#: What eleven octal digits of a tar header hold.
_MAX_TIME = 8**11 - 1
# Tuples, as an enumeration's members are compared faster than hashed.
_SPECIAL = (Type.CHARACTER_DEVICE, Type.BLOCK_DEVICE, Type.FIFO)
_HASHED = (Type.FILE, Type.SYMLINK)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class DataMismatchError(Error):
    """A data section that does not hash to the package's ``datahash``."""

    reason = "PackageVerificationFailed"


class FileMismatchError(Error):
    """A file or link that does not hash to the checksum in its header."""

    reason = "PackageVerificationFailed"


class UnsafeEntryError(Error):
    """An entry that no honest package has: a path that leads out, a device, a name twice."""

    reason = "UnsafePackage"


class DataEntry:
    """One file, directory or link of a package.

    Attributes:
        header: its metadata; ``header.name`` is a clean relative path.
    """

    __slots__ = ("_chunks", "_digest", "_what", "expected", "header")

    def __init__(self, entry: Entry, expected: bytes | None, what: str) -> None:
        self.header: Header = entry.header
        self.expected = expected
        self._what = what
        self._digest = hashlib.sha1(usedforsecurity=False)
        if self.header.type is Type.SYMLINK:
            self._digest.update(self.header.linkname.encode())
        self._chunks = entry.chunks()

    def chunks(self) -> Iterator[memoryview]:
        """Yield the content once, before the next entry is asked for.

        The views are of a shared buffer: copy what you keep. That the content is what the header
        says is known when the next entry is asked for.
        """
        digest = self._digest
        for chunk in self._chunks:
            digest.update(chunk)
            yield chunk

    @property
    def sha1(self) -> bytes:
        """SHA-1 of the content (a symbolic link's target), once it was read to its end."""
        return self._digest.digest()

    def finish(self) -> None:
        """Read what was left unread, and compare the hash.

        Raises:
            FileMismatchError: the content is not what the header says.
        """
        for _ in self.chunks():
            pass
        if self.expected is not None and self.expected != self.sha1:
            raise FileMismatchError(
                f"{self.header.name} in {self._what} has the SHA-1 {self.sha1.hex()}, "
                f"not {self.expected.hex()} as its header says",
                hint="the package is broken; do not use it",
            )


class DataReader:
    """Iterates over the entries of a data section.

    Each entry is verified before the next is yielded, and the section when the iteration ends.
    Memory stays at a few chunks, apart from the set of names.

    Args:
        blocks: the compressed section, in pieces.
        source: the package, for messages.
        datahash: SHA-256 that the compressed bytes must have.
        max_size: most bytes it may inflate to.
        max_entries: most entries it may hold.

    Raises:
        DataMismatchError, FileMismatchError, UnsafeEntryError, GzipError, TarError: while
            iterating.
    """

    def __init__(
        self,
        blocks: Iterable[bytes],
        *,
        source: str,
        datahash: bytes,
        max_size: int,
        max_entries: int,
    ) -> None:
        self._blocks = iter(blocks)
        self._source = source
        self._datahash = datahash
        self._max_size = max_size
        self._max_entries = max_entries
        self._sha256 = hashlib.sha256()
        self._seen: dict[str, Type] = {}
        self._parents: set[str] = set()
        self._described = 0
        #: Bytes of the section, compressed and uncompressed, as far as it was read.
        self.compressed_size = 0
        self.uncompressed_size = 0

    def __iter__(self) -> Iterator[DataEntry]:
        """Yield the entries in order."""
        what = f"the data section of {self._source}"
        for entry in TarReader(self._inflate(what), what):
            header = entry.header
            if header.name == "." and header.type is Type.DIRECTORY:
                continue
            self._check(header)
            self._seen[header.name] = header.type
            if len(self._seen) > self._max_entries:
                raise self._unsafe(f"more than {self._max_entries} entries")
            self._described += len(header.name) + len(header.linkname)
            for value in header.pax.values():
                self._described += len(value)
            if self._described > _MAX_DESCRIBED:
                raise self._unsafe(f"names and attributes of more than {_MAX_DESCRIBED} bytes")
            data_entry = DataEntry(entry, self._expected(header), self._source)
            yield data_entry
            data_entry.finish()
        if self._sha256.digest() != self._datahash:
            raise DataMismatchError(
                f"{what} has the SHA-256 {self._sha256.hexdigest()}, "
                f"not {self._datahash.hex()} as its .PKGINFO says",
                hint="the package was changed or damaged; do not use it",
            )

    def _inflate(self, what: str) -> Iterator[bytes]:
        inflater = Inflater(what, self._max_size)
        for block in self._blocks:
            if inflater.eof:
                raise GzipError(f"{what} is followed by other bytes", hint="do not use the package")
            self._sha256.update(block)
            self.compressed_size += len(block)
            for chunk in inflater.feed(block):
                self.uncompressed_size += len(chunk)
                yield chunk
        if not inflater.eof:
            raise GzipError(f"{what} is cut short", hint="fetch the package again")
        if inflater.unused:
            raise GzipError(f"{what} is followed by other bytes", hint="do not use the package")

    def _unsafe(self, what: str) -> UnsafeEntryError:
        return UnsafeEntryError(
            f"{self._source} has {what}",
            hint="an honest package has no such entry; do not use it, and tell its maintainer",
        )

    def _check(self, header: Header) -> None:
        name, kind = header.name, header.type
        shown = repr(name[:200])
        self._check_path(name, shown)
        if _CONTROL.search(name) or _CONTROL.search(header.linkname):
            raise self._unsafe(f"control characters in the name of {shown} or its target")
        if name in self._seen:
            raise self._unsafe(f"{shown} twice")
        if name in self._parents and kind is not Type.DIRECTORY:
            raise self._unsafe(f"entries below {shown}, which is no directory")
        if kind in _SPECIAL:
            raise self._unsafe(f"the {kind.name.lower().replace('_', ' ')} {shown}")
        if kind is Type.SYMLINK and not header.linkname:
            raise self._unsafe(f"the symbolic link {shown} without a target")
        if kind is Type.HARDLINK and self._seen.get(header.linkname) is not Type.FILE:
            raise self._unsafe(
                f"the hard link {shown} to {header.linkname[:200]!r}, which is no file before it "
                "in the package"
            )
        if max(header.uid, header.gid) > _MAX_ID or header.mtime > _MAX_TIME:
            raise self._unsafe(f"an owner or a time of {shown} that no system has")

    def _check_path(self, name: str, shown: str) -> None:
        if name.startswith("/"):
            raise self._unsafe(f"the absolute path {shown}")
        parts = name.split("/")
        if ".." in parts:
            raise self._unsafe(f"the path {shown}, which leads out of the root")
        if "" in parts or "." in parts:
            raise self._unsafe(f"the path {shown}, which is not in its shortest form")
        if name == ".PKGINFO" or name.startswith(".SIGN."):
            raise self._unsafe(f"the control file {shown} among its data")
        parent = name
        while parent := parent.rpartition("/")[0]:
            above = self._seen.get(parent)
            if above is not None and above is not Type.DIRECTORY:
                raise self._unsafe(f"{shown} below {parent!r}, which is no directory")
            if above is not None or parent in self._parents:
                break
            self._parents.add(parent)
            self._described += len(parent)

    def _expected(self, header: Header) -> bytes | None:
        value = header.pax.get(CHECKSUM)
        if value is None or header.type not in _HASHED:
            return None
        try:
            digest = (
                base64.b64decode(value[2:], validate=True)
                if value.startswith(b"Q1")
                else binascii.unhexlify(value)
            )
        except binascii.Error:
            digest = b""
        if len(digest) != 20:
            raise self._unsafe(f"the checksum {value[:60]!r} for {header.name!r}")
        return digest
