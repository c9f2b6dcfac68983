"""What a file tree consists of: files, directories, links, and the packages that bring them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.errors import Error

if TYPE_CHECKING:
    from plimsoll.builder.cachedpackage import CachedPackage, FileEntry


class FileConflictError(Error):
    """Two packages, or a package and the configuration, claim one path."""

    reason = "FileConflict"


class TreeError(Error):
    """A change to the file tree that cannot be made."""

    reason = "InvalidPath"


@dataclass(slots=True)
class Node:
    """One file, directory or link of the image.

    Attributes:
        path: without leading slash; ``""`` is the root.
        content: of a file that no package brings.
        package: index of the package that brings it, -1 for none.
        entry: the package's entry; ``None`` for what no package brings.
        attributes: PAX records of what no package brings: its extended attributes.
        source: of a file that no package brings, the package and its file that have the content.
    """

    path: str
    kind: Type
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    link: str = ""
    content: bytes = b""
    package: int = -1
    entry: FileEntry | None = None
    device: tuple[int, int] = (0, 0)
    attributes: dict[str, bytes] | None = None
    source: tuple[int, FileEntry] | None = None

    @property
    def size(self) -> int:
        """Bytes of content."""
        holder = self.source[1] if self.source else self.entry
        return len(self.content) if holder is None else holder.size


@dataclass(slots=True)
class Installed:
    """A package in the tree.

    Attributes:
        altered: offset of an entry in the segment → the node that replaces it, ``None`` where
            the entry is not in the image.
        lost: paths of entries that another package brings.
    """

    package: CachedPackage
    altered: dict[int, Node | None] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)


def original(package: CachedPackage, entry: FileEntry) -> FileEntry:
    """The entry that holds the content: a hard link's target, else the entry itself."""
    if entry.type != "1":
        return entry
    return next(e for e in package.entries if e.path == entry.link and e.type == "0")


def described(node: Node) -> str:
    """What a node is, in words."""
    words = {Type.DIRECTORY: "a directory", Type.SYMLINK: f"a link to {node.link}"}
    return words.get(node.kind, "a file")
