"""The file tree as the reference's file system in memory has it, by its own rules.

They differ from those of ``Tree`` in what users of the reference have come to rely on, and in what
is a fault there: everything belongs to root, directories keep the mode that they got first and the
time of the last package, hard links are one file under several names, and what is written over a
package's file keeps the file's time, mode and owner.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, NoReturn

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.node import FileConflictError, Node, TreeError, described, original
from plimsoll.builder.ownership import refuse, replaces
from plimsoll.builder.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.builder.cachedpackage import CachedPackage, FileEntry
    from plimsoll.builder.node import Installed

#: Directories that are there before any package, with their modes.
_FIRST = (
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/apk", 0o755),
    ("etc/apk/keys", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/lib", 0o755),
    ("usr/lib/apk", 0o755),
    ("usr/lib/apk/db", 0o755),
    ("usr/lib/apk/exec", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/cache/apk", 0o755),
    ("var/cache/misc", 0o755),
)


class CompatTree(Tree):
    """An image's files, as the reference puts them together.

    Args:
        packages: in install order.

    Raises:
        FileConflictError: naming both packages and the path.
    """

    def __init__(self, packages: Sequence[CachedPackage]) -> None:
        # Path of a regular file, as packages write it → who brought it last.
        self._brought: dict[str, int] = {}
        # Names of one file.
        self._names: dict[str, set[str]] = {}
        super().__init__(packages)
        for number, installed in enumerate(self.packages):
            installed.lost = self._unlisted(number, installed)

    def _first(self) -> dict[str, Node]:
        return {path: Node(path, Type.DIRECTORY, mode) for path, mode in _FIRST}

    # -- looking ------------------------------------------------------------------------------

    def is_owned(self, node: Node) -> bool:
        """Whether a package brings it as it is."""
        return node.entry is not None and super().is_owned(node)

    # -- changing -----------------------------------------------------------------------------

    def make_all(self, path: str, mode: int) -> Node:
        """Make a directory and, with the same mode, the parents that are missing."""
        real = self.real(path, last=True)
        parts = real.split("/") if real else []
        node = Node("", Type.DIRECTORY, 0o755)
        for count in range(1, len(parts) + 1):
            step = "/".join(parts[:count])
            node = self.nodes.setdefault(step, Node(step, Type.DIRECTORY, mode))
            if node.kind is not Type.DIRECTORY:
                raise TreeError(
                    f"/{step} is no directory but {described(node)}", hint="choose another path"
                )
        return node

    def write(
        self, path: str, content: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0
    ) -> Node:
        """Write a file; of one that exists, under whatever names, only the content changes."""
        real = self.real(path, last=True)
        node = self.nodes.get(real)
        if node is None or node.kind not in {Type.FILE, Type.HARDLINK}:
            return super().write(real, content, mode, uid, gid)
        for twin in self._twins(node):
            twin.content, twin.entry = content, None
        return node

    def forget(self, path: str) -> None:
        """Let the next ``write`` make a file anew, as if no package had brought one."""
        real = self.real(path, last=True)
        node = self.nodes.get(real)
        if node is not None and node.kind is Type.FILE:
            self._leave(real)
            del self.nodes[real]

    def overwrite(self, path: str, content: bytes, mode: int = 0o644) -> Node:
        """The same as ``write``."""
        return self.write(path, content, mode)

    def symlink(self, path: str, target: str, uid: int = 0, gid: int = 0) -> Node:
        """Make a symbolic link; its time is that of its directory."""
        node = super().symlink(path, target, uid, gid)
        above = self.nodes.get(posixpath.dirname(node.path))
        node.mtime = above.mtime if above is not None else 0
        return node

    def hardlink(self, path: str, source: Node) -> Node:
        """Give a file one more name; what happens to one name happens to all."""
        real = self.real(path)
        if not real:
            raise TreeError("/ is a directory, not a place for a file", hint="choose another path")
        self._leave(real)
        entry = source.entry
        if entry is not None:
            entry = original(self.packages[source.package].package, entry)
        node = self.nodes[real] = replace(source, path=real, kind=Type.FILE, link="", entry=entry)
        self._join(source.path, real)
        return node

    def change(
        self, node: Node, *, mode: int | None = None, owner: tuple[int, int] | None = None
    ) -> None:
        """Set mode or owner of a file under all its names."""
        for twin in self._twins(node):
            twin.mode = twin.mode if mode is None else mode
            twin.uid, twin.gid = owner or (twin.uid, twin.gid)

    def touch(self, node: Node, when: int) -> None:
        """Set the time of a file under all its names."""
        for twin in self._twins(node):
            twin.mtime = when

    def _twins(self, node: Node) -> list[Node]:
        names = self._names.get(node.path)
        return [self.nodes[path] for path in names] if names else [node]

    def _leave(self, path: str) -> None:
        self._names.pop(path, set()).discard(path)

    def _join(self, one: str, other: str) -> None:
        names = self._names.setdefault(one, {one})
        names.add(other)
        self._names[other] = names

    # -- packages -----------------------------------------------------------------------------

    def _add(self, number: int, installed: Installed, entry: FileEntry) -> None:
        path = self._placed(entry)
        if not path or entry in self._hidden(installed):
            return
        if entry.kind is Type.DIRECTORY:
            self._add_folder(number, path, entry)
            return
        node = Node(
            path, entry.kind, entry.mode, mtime=entry.mtime, link=entry.link,
            package=number, entry=entry,
        )  # fmt: skip
        existing = self.nodes.get(path)
        if existing is not None and not self._takes(existing, node):
            return
        self._leave(path)
        self.nodes[path] = node
        if node.kind is Type.FILE:
            self._brought[entry.path] = number
        if node.kind is Type.HARDLINK:
            self._link(installed, node, entry)

    @staticmethod
    def _hidden(installed: Installed) -> list[FileEntry]:
        """Dot files before all else, which are taken for control files."""
        return list(
            takewhile(
                lambda e: e.path.startswith(".") and "/" not in e.path and e.type != "5",
                installed.package.entries,
            )
        )

    def _link(self, installed: Installed, node: Node, entry: FileEntry) -> None:
        """A package's hard link has mode and time of the file that it is."""
        first = self._placed(original(installed.package, entry))
        target = self.nodes.get(first)
        if target is not None:
            node.mode, node.mtime = target.mode, target.mtime
            self._join(first, node.path)

    def _add_folder(self, number: int, path: str, entry: FileEntry) -> None:
        node = self.nodes.get(path)
        if node is None:
            node = self.make_all(path, entry.mode & 0o777)
            node.package = number
        elif node.kind is not Type.DIRECTORY:
            self._clash(node, Node(path, Type.DIRECTORY, entry.mode, package=number))
        node.mtime = entry.mtime
        if entry.xattrs:
            known = node.entry.xattrs if node.entry is not None else ()
            merged = tuple(sorted((dict(known) | dict(entry.xattrs)).items()))
            node.entry = entry._replace(xattrs=merged)

    def _takes(self, existing: Node, node: Node) -> bool:
        """Whether a newcomer takes the place of a file; of equals the first one stays."""
        one, other = existing.entry, node.entry
        if existing.kind is Type.DIRECTORY or one is None or other is None:
            self._clash(existing, node)
        if one.type == other.type and one.sha1 == other.sha1 and one.link == other.link:
            return False
        old = self.packages[existing.package].package.info
        new = self.packages[node.package].package.info
        if replaces(old.replaces, new.name, new.version):
            return False
        if old.origin == new.origin or replaces(new.replaces, old.name, old.version):
            return True
        return refuse(self.packages, existing, node)

    def _clash(self, existing: Node, node: Node) -> NoReturn:
        if existing.package >= 0:
            refuse(self.packages, existing, node)
        name = self.packages[node.package].package.info.name
        raise FileConflictError(
            f"/{node.path} is {described(existing)} in every image and {described(node)} in "
            f"package {name}",
            hint=f"leave {name} out",
        )

    def _unlisted(self, number: int, installed: Installed) -> set[str]:
        """What the database does not list of a package.

        That is files that another package brought last, and what lies in no listed directory.
        """
        entries = installed.package.entries
        folders = {entry.path for entry in entries if entry.kind is Type.DIRECTORY}
        hidden = {entry.path for entry in self._hidden(installed)}
        return hidden | {
            entry.path
            for entry in entries
            if self._brought.get(entry.path, number) != number
            or not folders.issuperset(_parents(entry.path))
        }


def _parents(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts))}
