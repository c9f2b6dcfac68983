"""The file tree of an image: what packages bring, who wins where two bring one path.

Contents stay in the packages' cached segments; a node only points there. For every package the
tree remembers which of its entries are not used as they are, so that a package without such
entries needs no new bytes at all.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.node import FileConflictError, Installed, Node, TreeError, described, original
from plimsoll.builder.ownership import refuse, wins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from plimsoll.builder.cachedpackage import CachedPackage, FileEntry
    from plimsoll.builder.segment import Reader

_MAX_LINKS = 40


class Tree:
    """An image's files.

    Args:
        packages: in install order.

    Raises:
        FileConflictError: naming both packages and the path.
    """

    def __init__(self, packages: Sequence[CachedPackage]) -> None:
        self.nodes = self._first()
        self.packages = [Installed(package) for package in packages]
        self._links = self._directory_links(packages)
        for number, installed in enumerate(self.packages):
            for entry in installed.package.entries:
                self._add(number, installed, entry)
        self._fill_parents()

    # -- looking ------------------------------------------------------------------------------

    def get(self, path: str) -> Node | None:
        """What lies at a path; links on the way are followed, a link at its end is not."""
        return self.nodes.get(self.real(path))

    def resolve(self, path: str) -> Node | None:
        """What lies at a path, all links followed."""
        return self.nodes.get(self.real(path, last=True))

    def real(self, path: str, *, last: bool = False) -> str:
        """The path without links, within the root.

        Args:
            path: with or without leading slash.
            last: follow a link at the end of the path too.

        Raises:
            TreeError: links lead in a circle, or the path leads out of the root.
        """
        todo = [part for part in reversed(path.split("/")) if part not in {"", "."}]
        done: list[str] = []
        hops = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if done:
                    done.pop()
                continue
            done.append(part)
            node = self.nodes.get("/".join(done))
            if node is None or node.kind is not Type.SYMLINK or not (todo or last):
                continue
            hops += 1
            if hops > _MAX_LINKS:
                raise TreeError(f"links at /{path.strip('/')} lead in a circle")
            done = [] if node.link.startswith("/") else done[:-1]
            todo += [p for p in reversed(node.link.split("/")) if p not in {"", "."}]
        return "/".join(done)

    def content(self, node: Node) -> bytes:
        """Content of a file, checked where it comes from the cache; nothing of what is none."""
        if node.kind not in {Type.FILE, Type.HARDLINK}:
            return b""
        held = self.held(node)
        return node.content if held is None else held[0].read(held[1])

    def part(self, node: Node, offset: int, size: int, reader: Reader) -> bytes:
        """Up to ``size`` bytes of a file; what lies in the cache is checked piece by piece."""
        if offset < 0:
            return b""
        held = self.held(node)
        if held is None:
            return node.content[offset : offset + size]
        package, entry = held
        return package.part(entry, offset, max(min(size, entry.size - offset), 0), reader)

    def held(self, node: Node) -> tuple[CachedPackage, FileEntry] | None:
        """The package and its file that have a file's content; ``None`` if it is in memory."""
        if node.source is not None:
            return self.packages[node.source[0]].package, node.source[1]
        if node.entry is None or node.package < 0:
            return None
        package = self.packages[node.package].package
        return package, original(package, node.entry)

    def children(self, path: str) -> Iterator[Node]:
        """Everything below a path, not the path itself."""
        prefix = f"{path}/" if path else ""
        return iter([n for p, n in self.nodes.items() if p.startswith(prefix) and p != path])

    def ordered(self, wanted: Callable[[Node], bool] = lambda _: True) -> list[Node]:
        """Nodes, parents before children, names sorted within a directory."""
        paths = [path for path, node in self.nodes.items() if wanted(node)]
        return [self.nodes[path] for path in sorted(paths, key=lambda p: p.split("/"))]

    @property
    def installed(self) -> list[Installed]:
        """The packages, without what a base image brings that belongs to none."""
        return [item for item in self.packages if item.package.info.name]

    def is_owned(self, node: Node) -> bool:
        """Whether a package brings it."""
        return node.package >= 0 and bool(self.packages[node.package].package.info.name)

    # -- changing -----------------------------------------------------------------------------

    def directory(
        self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0, *, keep: bool = True
    ) -> Node:
        """Make a directory and its parents.

        Args:
            path: where; links on the way are followed.
            mode: permission bits.
            uid: owner.
            gid: group.
            keep: leave one that exists as it is.

        Raises:
            TreeError: something else is there.
        """
        real = self.real(path, last=True)
        if not real:
            return Node("", Type.DIRECTORY, 0o755)
        node = self.nodes.get(real)
        if node is not None:
            if node.kind is not Type.DIRECTORY:
                raise TreeError(
                    f"/{real} is no directory but {described(node)}",
                    hint="choose another path, or leave the package out that brings it",
                )
            if not keep:
                node.mode, node.uid, node.gid = mode, uid, gid
            return node
        self._parents(real)
        node = self.nodes[real] = Node(real, Type.DIRECTORY, mode, uid, gid)
        return node

    def write(
        self, path: str, content: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0
    ) -> Node:
        """Write a file over whatever file or link is there."""
        return self._put(Node(self.real(path), Type.FILE, mode, uid, gid, content=content))

    def overwrite(self, path: str, content: bytes, mode: int = 0o644) -> Node:
        """Write a file; one that exists keeps owner and mode, and links to it are followed."""
        node = self.resolve(path)
        real = self.real(path, last=True)
        if node is not None and node.kind is Type.FILE:
            return self.write(real, content, node.mode, node.uid, node.gid)
        return self.write(real, content, mode)

    def symlink(self, path: str, target: str, uid: int = 0, gid: int = 0) -> Node:
        """Make a symbolic link."""
        return self._put(Node(self.real(path), Type.SYMLINK, 0o777, uid, gid, link=target))

    def device(self, path: str, major: int, minor: int, mode: int) -> Node:
        """Make a character device."""
        return self._put(Node(self.real(path), Type.CHARACTER_DEVICE, mode, device=(major, minor)))

    def change(
        self, node: Node, *, mode: int | None = None, owner: tuple[int, int] | None = None
    ) -> None:
        """Set mode or owner."""
        node.mode = node.mode if mode is None else mode
        node.uid, node.gid = owner or (node.uid, node.gid)
        if node.entry is not None and node.kind is not Type.DIRECTORY:
            self.packages[node.package].altered[node.entry.start] = node

    def _put(self, node: Node) -> Node:
        existing = self.nodes.get(node.path)
        if existing is not None or not node.path:
            if existing is None or existing.kind is Type.DIRECTORY:
                raise TreeError(
                    f"/{node.path} is a directory, not a place for {described(node)}",
                    hint="choose another path",
                )
            self._drop(existing)
        self._parents(node.path)
        self.nodes[node.path] = node
        return node

    def _drop(self, node: Node) -> None:
        if node.entry is not None:
            self.packages[node.package].altered[node.entry.start] = None

    def _parents(self, path: str) -> None:
        missing, node = self._above(path)
        if node is not None and node.kind is not Type.DIRECTORY:
            raise TreeError(
                f"/{path} cannot be: /{node.path} is {described(node)}", hint="choose another path"
            )
        for parent in reversed(missing):
            self.nodes[parent] = Node(parent, Type.DIRECTORY, 0o755)

    def _above(self, path: str) -> tuple[list[str], Node | None]:
        """The directories that a path lacks, deepest first, and what is there above them."""
        missing = []
        parent = posixpath.dirname(path)
        while parent and (node := self.nodes.get(parent)) is None:
            missing.append(parent)
            parent = posixpath.dirname(parent)
        return missing, node if parent else None

    # -- packages -----------------------------------------------------------------------------

    def _first(self) -> dict[str, Node]:
        """What is there before any package."""
        return {}

    @staticmethod
    def _directory_links(packages: Iterable[CachedPackage]) -> dict[str, str]:
        """Links that some package uses as a directory: literal path → real path."""
        links: dict[str, str] = {}
        used: set[str] = set()
        for package in packages:
            for entry in package.entries:
                if entry.type == "2":
                    links[entry.path] = entry.link
                elif entry.type == "5":
                    used.add(entry.path)
                used.add(posixpath.dirname(entry.path))
        pending = [path for path in used if path]
        while pending:
            parent = posixpath.dirname(pending.pop())
            if parent and parent not in used:
                used.add(parent)
                pending.append(parent)
        wanted = links.keys() & used
        if not wanted:
            return {}
        # A scratch tree of links alone resolves chains and links below links.
        scratch = Tree([])
        for path in sorted(links, key=lambda p: p.count("/")):
            scratch.nodes[scratch.real(path)] = Node(path, Type.SYMLINK, 0o777, link=links[path])
        return {path: scratch.real(path, last=True) for path in wanted}

    def _placed(self, entry: FileEntry) -> str:
        """Where an entry goes, when a parent of it is a link to a directory."""
        path = entry.path
        if not self._links:
            return path
        if entry.type == "5" and path in self._links:
            return self._links[path]
        parent = posixpath.dirname(path)
        while parent:
            if parent in self._links:
                rest = path[len(parent) + 1 :]
                return self._placed(entry._replace(path=f"{self._links[parent]}/{rest}".strip("/")))
            parent = posixpath.dirname(parent)
        return path

    def _add(self, number: int, installed: Installed, entry: FileEntry) -> None:
        path = self._placed(entry)
        if not path:
            return
        kind = entry.kind
        node = Node(
            path, kind, entry.mode, entry.uid, entry.gid, entry.mtime, entry.link,
            package=number, entry=entry,
        )  # fmt: skip
        if kind is Type.DIRECTORY:
            self._add_directory(node, literal=path == entry.path)
            return
        existing = self.nodes.get(path)
        if path != entry.path:
            installed.altered[entry.start] = node
        if existing is None:
            self.nodes[path] = node
            return
        if existing.kind is Type.DIRECTORY:
            refuse(self.packages, existing, node)
        if wins(self.packages, existing, node):
            self._drop(existing)
            if existing.entry is not None:
                self.packages[existing.package].lost.add(existing.entry.path)
            self.nodes[path] = node
        else:
            installed.altered[entry.start] = None
            installed.lost.add(entry.path)

    def _add_directory(self, node: Node, *, literal: bool) -> None:
        existing = self.nodes.get(node.path)
        if existing is not None and existing.kind is not Type.DIRECTORY:
            refuse(self.packages, existing, node)
        # What stands behind a link keeps its own attributes.
        if existing is None or literal:
            self.nodes[node.path] = node

    def _fill_parents(self) -> None:
        for path in list(self.nodes):
            try:
                self._parents(path)
            except TreeError:
                parent, node = self._above(path)[1], self.nodes[path]
                if parent is None:
                    raise
                old = self.packages[parent.package].package.info.name
                new = self.packages[node.package].package.info.name
                raise FileConflictError(
                    f"/{parent.path} is {described(parent)} in package {old}, and {new} has files "
                    "below it",
                    hint="leave one of the two packages out",
                ) from None
