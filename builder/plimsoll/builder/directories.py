"""The directories of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Header, Type
from plimsoll.apk.tarwrite import encode_header
from plimsoll.builder.segment import Segment

if TYPE_CHECKING:
    from plimsoll.builder.codec import Codec
    from plimsoll.builder.node import Node
    from plimsoll.builder.tree import Tree


class Directories:
    """The directories of a tree, as its layers need them.

    Args:
        tree: finished.
        codec: how segments are compressed.
    """

    def __init__(self, tree: Tree, codec: Codec) -> None:
        self._codec = codec
        self._headers = {
            node.path: node_header(node)
            for node in tree.ordered(lambda node: node.kind is Type.DIRECTORY)
        }
        # Directories that hold something of a package, or are its own; -1 stands for none.
        self._needed: dict[int, set[str]] = {}
        for node in tree.nodes.values():
            own = node.path if node.kind is Type.DIRECTORY else node.path.rpartition("/")[0]
            self._needed.setdefault(max(node.package, -1), set()).add(own)

    def all(self) -> Segment:
        """Every one."""
        return Segment.of(b"".join(self._headers.values()), self._codec)

    def of(self, group: set[int]) -> Segment:
        """Those that some packages have or need, by their numbers; -1 for what none brings."""
        wanted: set[str] = set()
        for number in group:
            for path in self._needed.get(number, ()):
                while path and path not in wanted:
                    wanted.add(path)
                    path = path.rpartition("/")[0]  # noqa: PLW2901  (upwards)
        headers = (header for path, header in self._headers.items() if path in wanted)
        return Segment.of(b"".join(headers), self._codec)


def node_header(node: Node) -> bytes:
    """The tar header of a node."""
    return encode_header(header_of(node))


def header_of(node: Node) -> Header:
    """What the tar header of a node says: numeric owners, no names."""
    return Header(
        node.path,
        node.kind,
        mode=node.mode,
        uid=node.uid,
        gid=node.gid,
        size=node.size if node.kind is Type.FILE else 0,
        mtime=node.mtime,
        linkname=node.link,
        devmajor=node.device[0],
        devminor=node.device[1],
        pax=node.entry.pax() if node.entry is not None else node.attributes or {},
    )
