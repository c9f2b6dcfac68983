"""The reference's layer: one tar of the whole tree, sorted, with the names of owners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.apk.tarwrite import END, padding
from plimsoll.builder.codec import GZIP, PIECE
from plimsoll.builder.directories import node_header
from plimsoll.builder.layers import finish
from plimsoll.builder.node import original
from plimsoll.builder.segment import Reader, SegmentWriter
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.builder.codec import Codec
    from plimsoll.builder.layer import Layer
    from plimsoll.builder.node import Node
    from plimsoll.builder.store import Store
    from plimsoll.builder.tree import Tree

#: Pieces kept expanded: files of many packages lie between each other.
_KEEP = 64


def compat_layer(tree: Tree, store: Store, codec: Codec = GZIP) -> Layer:
    """The tree as one layer whose tar is, byte for byte, what the reference writes.

    Raises:
        CorruptEntryError: the cache was damaged; build again.
    """
    for installed in tree.packages:
        if not installed.package.segment.packed.known:
            installed.package.segment.packed.verify()
    users, groups = _names(tree, "etc/passwd"), _names(tree, "etc/group")
    with storage_errors("writing the layer"):
        writer = SegmentWriter(store.scratch(), codec)
        try:
            reader = Reader(_KEEP)
            for node in tree.ordered():
                uname, gname = users.get(node.uid, ""), groups.get(node.gid, "")
                writer.write(node_header(node, uname, gname))
                if node.kind is Type.FILE:
                    _content(tree, node, reader, writer.write)
            writer.write(END)
            segment = writer.finish()
        finally:
            writer.close()
    return finish([segment], store, codec)


def _content(tree: Tree, node: Node, reader: Reader, write: Callable[[bytes], None]) -> None:
    if node.entry is None:
        write(node.content)
    else:
        package = tree.packages[node.package].package
        entry = original(package, node.entry)
        position, end = entry.data, entry.data + entry.size
        while position < end:
            size = min(end - position, PIECE)
            write(reader.slice(package.segment, position, size))
            position += size
    write(padding(node.size))


def _names(tree: Tree, path: str) -> dict[int, str]:
    """Number → name of an account file; the first line of a number counts."""
    node = tree.resolve(path)
    found: dict[int, str] = {}
    if node is None or node.kind is not Type.FILE:
        return found
    for line in tree.content(node).decode(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdecimal():
            found.setdefault(int(fields[2]), fields[0])
    return found
