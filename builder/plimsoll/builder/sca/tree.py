"""Package trees in a directory and in an ``.apk``."""

from __future__ import annotations

import os
import stat
import tempfile
from typing import TYPE_CHECKING

from plimsoll.apk.data import DataMismatchError
from plimsoll.apk.package import Limits, Package, open_package
from plimsoll.apk.tarfmt import Type
from plimsoll.builder.sca.entries import Entry, PackageTreeError, Tree
from plimsoll.builder.sca.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["ApkTree", "DirectoryTree", "Entry", "PackageTreeError", "Tree"]

#: Most entries that a directory may have.
MAX_ENTRIES = 500_000


class DirectoryTree(Tree):
    """The files below a directory. Links are never followed out of it.

    Raises:
        PackageTreeError: too many entries, a name that is not UTF-8, or a socket.
        OSError: it cannot be read.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.root = root
        self._fill(self._walk())

    def _walk(self) -> Iterator[Entry]:
        pending = [""]
        count = 0
        while pending:
            prefix = pending.pop()
            with os.scandir(self.root / prefix) as items:
                for item in items:
                    count += 1
                    if count > MAX_ENTRIES:
                        raise PackageTreeError(
                            f"{self.source} has more than {MAX_ENTRIES} entries",
                            hint="split the package",
                        )
                    entry = self._entry(f"{prefix}{item.name}", item)
                    if entry.type is Type.DIRECTORY:
                        pending.append(f"{entry.path}/")
                    yield entry

    def _entry(self, path: str, item: os.DirEntry[str]) -> Entry:
        status = item.stat(follow_symlinks=False)
        kind = Type.of_mode(status.st_mode)
        shown = path.encode(errors="surrogateescape")
        if kind is None:
            raise PackageTreeError(
                f"{shown!r} in {self.source} is a socket",
                hint="remove it at the end of the build",
            )
        try:
            path.encode()
        except UnicodeEncodeError:
            raise PackageTreeError(
                f"the name {shown!r} in {self.source} is not UTF-8",
                hint="rename the file in the build",
            ) from None
        return Entry(
            self,
            path,
            kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=status.st_size if kind is Type.FILE else 0,
            linkname=_target(item.path) if kind is Type.SYMLINK else "",
            identity=(status.st_dev, status.st_ino),
        )

    def open(self, entry: Entry) -> Source:
        """See ``Entry.open``."""
        if entry.type is not Type.FILE:
            return super().open(entry)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(f"{self.source}/{entry.path}", flags)
        except PermissionError:
            raise PackageTreeError(
                f"{entry.path} in {self.source} has the mode {entry.mode:04o} and cannot be read",
                hint="give its owner the right to read it in the build (chmod u+r)",
            ) from None
        return Source(fd, 0, os.fstat(fd).st_size, owner=True)

    def xattrs(self, entry: Entry) -> dict[str, bytes]:
        """See ``Entry.xattrs``."""
        path = f"{self.source}/{entry.path}"
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


class ApkTree(Tree):
    """The data section of a package, kept in an unnamed temporary file.

    Args:
        path: the ``.apk``.
        verify: refuse data that does not hash to what ``.PKGINFO`` says.
        limits: how much it may hold.

    Raises:
        plimsoll.errors.Error: what ``open_package`` and its ``DataReader`` raise.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, *, verify: bool = True, limits: Limits | None = None) -> None:
        super().__init__(str(path))
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the tree)
        self._xattrs: dict[str, dict[str, bytes]] = {}
        try:
            with path.open("rb") as file:
                self.package = open_package(
                    file, source=str(path), checksum=None, limits=limits or Limits(data=4 << 30)
                )
                self._fill(self._read(self.package, file, verify=verify))
            self._spool.flush()
        except BaseException:
            self._spool.close()
            raise

    def _read(self, package: Package, file: BinaryIO, *, verify: bool) -> Iterator[Entry]:
        found: dict[str, Entry] = {}
        offset = 0
        try:
            for item in package.data(file):
                header = item.header
                kind, size, start = header.type, header.size, offset
                if kind is Type.HARDLINK:
                    kind = Type.FILE
                    start, size = found[header.linkname].identity[1], found[header.linkname].size
                for chunk in item.chunks():
                    self._spool.write(chunk)
                    offset += len(chunk)
                if header.xattrs:
                    self._xattrs[header.name] = header.xattrs
                found[header.name] = Entry(
                    self,
                    header.name,
                    kind,
                    mode=header.mode,
                    uid=header.uid,
                    gid=header.gid,
                    size=size,
                    linkname=header.linkname if kind is Type.SYMLINK else "",
                    identity=(0, start),
                )
        except DataMismatchError:
            if verify:
                raise
        yield from found.values()

    def open(self, entry: Entry) -> Source:
        """See ``Entry.open``."""
        if entry.type is not Type.FILE:
            return super().open(entry)
        return Source(self._spool.fileno(), entry.identity[1], entry.size)

    def xattrs(self, entry: Entry) -> dict[str, bytes]:
        """See ``Entry.xattrs``."""
        return self._xattrs.get(entry.path, {})

    def close(self) -> None:
        """Free the temporary file."""
        self._spool.close()


def _target(path: str) -> str:
    return os.readlink(path)  # noqa: PTH115  (a Path would not keep it as it was written)
