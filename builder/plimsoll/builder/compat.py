"""The reference's layers: a sorted walk through the whole tree, with the names of owners."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.builder.codec import GZIP, PIECE
from plimsoll.builder.database import FOLDER, record
from plimsoll.builder.directories import header_of
from plimsoll.builder.groups import layer_groups
from plimsoll.builder.layers import finish
from plimsoll.builder.node import original
from plimsoll.builder.segment import Reader, SegmentWriter
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from plimsoll.api.image import Layering
    from plimsoll.builder.codec import Codec
    from plimsoll.builder.layer import Layer
    from plimsoll.builder.node import Node
    from plimsoll.builder.store import Store
    from plimsoll.builder.tree import Tree

#: Pieces kept expanded: files of many packages lie between each other.
_KEEP = 64
_INSTALLED = f"{FOLDER}/installed"


@dataclass(slots=True)
class _Target:
    """A layer in the making.

    Attributes:
        database: what it says of its packages.
        above: the directories that the walk is in, as far as they are written.
    """

    writer: SegmentWriter
    database: bytes = b""
    above: list[Node] = field(default_factory=list)

    def missing(self, stack: Sequence[Node]) -> list[Node]:
        """The directories of the walk that are not written yet; they count as written then."""
        same = 0
        for mine, other in zip(self.above, stack, strict=False):
            if mine is not other:
                break
            same += 1
        self.above[same:] = stack[same:]
        return list(stack[same:])


def compat_layers(
    tree: Tree, layering: Layering | None, store: Store, codec: Codec = GZIP
) -> list[Layer]:
    """The tree as layers whose tars are, byte for byte, what the reference writes.

    Args:
        tree: the image.
        layering: which packages share a layer; what no package brings, and every directory, is in
            one more layer on top. One layer of everything where it says nothing.
        store: where segments are kept.
        codec: how they are compressed.

    Raises:
        CorruptEntryError: the cache was damaged; build again.
    """
    groups: list[list[int]] = []
    if layering is not None and layering.strategy:
        infos = [installed.package.info for installed in tree.packages]
        groups = layer_groups(infos, layering, exact=True)
    for installed in tree.packages:
        if not installed.package.segment.packed.known:
            installed.package.segment.packed.verify()
    with storage_errors("writing the layers"):
        targets: list[_Target] = []
        try:
            for group in groups:
                writer = SegmentWriter(store.scratch(), codec)
                targets.append(_Target(writer, _database(tree, group)))
            targets.append(_Target(SegmentWriter(store.scratch(), codec)))
            owners = {
                number: target
                for group, target in zip(groups, targets, strict=False)
                for number in group
            }
            _walk(tree, targets, owners)
            segments = []
            for target in targets:
                target.writer.write(END)
                segments.append(target.writer.finish())
        finally:
            for target in targets:
                target.writer.close()
    return [finish([segment], store, codec) for segment in segments]


def _database(tree: Tree, group: Sequence[int]) -> bytes:
    """What a layer of packages says of them: scanners may look at one layer alone."""
    packages = sorted((tree.packages[n] for n in group), key=lambda p: p.package.info.name)
    return "".join(record(installed).to_text(exact=True) for installed in packages).encode()


def _walk(tree: Tree, targets: Sequence[_Target], owners: dict[int, _Target]) -> None:
    users, groups = _names(tree, "etc/passwd"), _names(tree, "etc/group")

    def header(node: Node, mtime: int, size: int) -> bytes:
        return _header(node, mtime, size, users.get(node.uid, ""), groups.get(node.gid, ""))

    def directories(target: _Target, node: Node) -> None:
        # They take the time of what follows: theirs would depend on packages of other layers.
        for above in target.missing(stack):
            if above is not node:
                target.writer.write(header(above, node.mtime, 0))

    top, reader = targets[-1], Reader(_KEEP)
    stack: list[Node] = []
    for node in tree.ordered():
        folder = node.kind is Type.DIRECTORY
        target = top if folder else owners.get(node.package, top)
        if folder:
            _enter(stack, node)
        directories(target, node)
        size = node.size if node.kind is Type.FILE else 0
        target.writer.write(header(node, node.mtime, size))
        if size:
            _content(tree, node, reader, target.writer.write)
        if node.path == _INSTALLED:
            for other in targets[:-1]:
                directories(other, node)
                data = other.database
                other.writer.write(header(node, node.mtime, len(data)) + data + padding(len(data)))


def _enter(stack: list[Node], node: Node) -> None:
    while stack and stack[-1].path != posixpath.dirname(node.path):
        stack.pop()
    stack.append(node)


def _header(node: Node, mtime: int, size: int, uname: str, gname: str) -> bytes:
    header = header_of(node)
    header.mtime, header.size, header.uname, header.gname = mtime, size, uname, gname
    if node.entry is None or node.kind not in {Type.FILE, Type.DIRECTORY}:
        header.pax = {}
    return encode_header(header)


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
    """Number → name of an account file; the last line of a number counts."""
    node = tree.resolve(path)
    if node is None or node.kind is Type.DIRECTORY:
        return {}
    text = tree.content(node).decode(errors="replace")
    return dict(_accounts(text.removesuffix("\n").split("\n") if text else []))


def _accounts(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Those before the first line that is none."""
    for line in lines:
        fields = line.strip().split(":")
        if len(fields) not in {4, 7} or not fields[2].isdecimal():
            return
        yield int(fields[2]), fields[0]
