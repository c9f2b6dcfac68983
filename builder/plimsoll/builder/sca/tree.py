"""The files of a package, read-only, whether they lie in a directory or in an ``.apk``."""

from __future__ import annotations

import os
import stat
import tempfile
from typing import TYPE_CHECKING, Self

from plimsoll.apk.data import DataMismatchError
from plimsoll.apk.package import Limits, Package, open_package
from plimsoll.apk.tarfmt import Type
from plimsoll.builder.sca.elf import Elf, ElfError, read_elf
from plimsoll.builder.sca.source import Source
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

#: Most entries that a tree may have.
MAX_ENTRIES = 500_000
#: Bytes that ``Entry.head`` holds at most; the kernel reads as many of a ``#!`` line.
HEAD = 256
_MAX_LINKS = 40
_KINDS = {
    stat.S_IFREG: Type.FILE,
    stat.S_IFDIR: Type.DIRECTORY,
    stat.S_IFLNK: Type.SYMLINK,
    stat.S_IFCHR: Type.CHARACTER_DEVICE,
    stat.S_IFBLK: Type.BLOCK_DEVICE,
    stat.S_IFIFO: Type.FIFO,
}


class PackageTreeError(Error):
    """Files that cannot be those of a package."""

    reason = "InvalidPackageTree"


class Entry:
    """One file, directory or link.

    Attributes:
        path: relative, in its shortest form.
        type: what it is; a hard link is a ``FILE``.
        mode: permission bits, 0o7777 at most.
        size: bytes of a file, 0 for all others.
        linkname: target of a symbolic link, as written.
        identity: equal for the names of one file (hard links).
    """

    __slots__ = (
        "_elf", "_head", "_tree", "gid", "identity", "linkname", "mode", "path", "size", "type",
        "uid",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913  (an entry is its attributes)
        self,
        tree: Tree,
        path: str,
        kind: Type,
        *,
        mode: int,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        linkname: str = "",
        identity: tuple[int, int] = (0, 0),
    ) -> None:
        self._tree = tree
        self.path = path
        self.type = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.linkname = linkname
        self.identity = identity
        self._head: bytes | None = None
        self._elf: Elf | ElfError | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def directory(self) -> str:
        """The path without its last part; ``""`` at the root."""
        return self.path.rpartition("/")[0]

    @property
    def xattrs(self) -> dict[str, bytes]:
        """Extended attributes."""
        return self._tree.xattrs(self)

    def open(self) -> Source:
        """The content of a file.

        Raises:
            OSError: it cannot be read.
        """
        return self._tree.open(self)

    @property
    def head(self) -> bytes:
        """The first bytes of a file, ``HEAD`` at most; empty for all others."""
        if self._head is None:
            self._head = b""
            if self.type is Type.FILE and self.size:
                with self.open() as source:
                    self._head = source.read_at(0, HEAD)
        return self._head

    @property
    def elf(self) -> Elf | None:
        """What the ELF headers of a file say; ``None`` if it is no such file, or a broken one."""
        found = self._read_elf()
        return found if isinstance(found, Elf) else None

    @property
    def elf_fault(self) -> str:
        """What is wrong with a file that begins as an ELF file does; ``""`` if nothing is."""
        found = self._read_elf()
        return str(found) if isinstance(found, ElfError) else ""

    def _read_elf(self) -> Elf | ElfError | None:
        if self._elf is None and self.head.startswith(b"\x7fELF"):
            try:
                with self.open() as source:
                    self._elf = read_elf(source)
            except ElfError as error:
                self._elf = error
        return self._elf


class Tree:
    """Entries by path. A context manager; what it opened is closed with it.

    Args:
        source: names the tree in messages.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries, sorted by path."""
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def get(self, path: str) -> Entry | None:
        """The entry of exactly that path."""
        return self._entries.get(path)

    def resolve(self, path: str) -> Entry | None:
        """What a path leads to when links within the tree are followed; ``None`` if nowhere."""
        rest = [part for part in reversed(path.split("/")) if part]
        done: list[str] = []
        links = 0
        while rest:
            part = rest.pop()
            if part == ".":
                continue
            if part == "..":
                done = done[:-1]
                continue
            entry = self._entries.get("/".join((*done, part)))
            if entry is not None and entry.type is Type.SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    return None
                if entry.linkname.startswith("/"):
                    done = []
                rest.extend(p for p in reversed(entry.linkname.split("/")) if p)
            else:
                done.append(part)
        return self._entries.get("/".join(done))

    def open(self, entry: Entry) -> Source:
        """The content of a file of this tree; see ``Entry.open``."""
        raise OSError(f"{entry.path} has no content")

    def xattrs(self, entry: Entry) -> dict[str, bytes]:
        """Extended attributes of an entry of this tree."""
        del entry
        return {}

    def close(self) -> None:
        """Free what the tree holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self, entries: Iterable[Entry]) -> None:
        self._entries = {e.path: e for e in sorted(entries, key=lambda e: e.path)}

    def _too_many(self) -> PackageTreeError:
        return PackageTreeError(
            f"{self.source} has more than {MAX_ENTRIES} entries",
            hint="split the package",
        )


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
                        raise self._too_many()
                    entry = self._entry(f"{prefix}{item.name}", item)
                    if entry.type is Type.DIRECTORY:
                        pending.append(f"{entry.path}/")
                    yield entry

    def _entry(self, path: str, item: os.DirEntry[str]) -> Entry:
        status = item.stat(follow_symlinks=False)
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
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
