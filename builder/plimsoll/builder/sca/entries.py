"""The files of a package, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.sca.elf import Elf, ElfError, read_elf
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plimsoll.builder.sca.source import Source

#: Bytes that ``Entry.head`` holds at most; the kernel reads as many of a ``#!`` line.
HEAD = 256
_MAX_LINKS = 40


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
