"""From a file tree to layers: segments in order, concatenated, hashed once."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.apk.tarwrite import END, padding
from plimsoll.builder.cachedpackage import encode_entry
from plimsoll.builder.codec import GZIP, PIECE
from plimsoll.builder.digests import digests, digests_alone
from plimsoll.builder.directories import Directories, node_header
from plimsoll.builder.layer import Layer
from plimsoll.builder.node import original
from plimsoll.builder.processors import workers
from plimsoll.builder.segment import Reader, Segment, SegmentWriter
from plimsoll.builder.store import CorruptEntryError, seal, storage_errors, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from plimsoll.builder.cachedpackage import FileEntry
    from plimsoll.builder.codec import Codec
    from plimsoll.builder.node import Installed, Node
    from plimsoll.builder.store import Store
    from plimsoll.builder.tree import Tree


#: Changes with what is made of altered entries, so that older members are not used.
_MEMBERS = 2


def make_layers(
    tree: Tree, groups: Sequence[Sequence[int]], store: Store, codec: Codec = GZIP
) -> list[Layer]:
    """Split a tree into layers.

    Each layer holds the directories, then the files of its packages, package by package; the last
    one also what no package brings. With more than one group that is a layer of its own.

    Args:
        tree: the image.
        groups: package numbers per layer, bottom first.
        store: where new segments are kept.
        codec: how they are compressed.

    Raises:
        CorruptEntryError: the cache was damaged; build again.
    """
    if len(groups) <= 1:
        numbers = {number for group in groups for number in group}
        # On a base image only what is new is in the layer.
        wanted = None if len(numbers) == len(tree.packages) else {*numbers, -1}
        members = _members(tree, sorted(numbers), store, codec)
        directories = Directories(tree, codec)
        first = directories.all() if wanted is None else directories.of(wanted)
        return [finish([first, *members, _top(tree, codec)], store, codec)]
    directories, end = Directories(tree, codec), Segment.of(END, codec)

    def layer(group: Sequence[int]) -> Layer:
        members = _members(tree, group, store, codec)
        return finish([directories.of(set(group)), *members, end], store, codec, alone=True)

    with ThreadPoolExecutor(workers()) as pool:
        layers = [pool.submit(layer, group) for group in groups]
        top = finish([directories.of({-1}), _top(tree, codec)], store, codec, alone=True)
        return [*(made.result() for made in layers), top]


def finish(
    parts: Iterable[Segment], store: Store, codec: Codec = GZIP, *, alone: bool = False
) -> Layer:
    """Hash a layer, unless these very parts were hashed before.

    Args:
        parts: what it is a concatenation of.
        store: where digests are kept.
        codec: how the parts are compressed.
        alone: use no other thread than this one.

    Raises:
        CorruptEntryError: a part from the cache is not what was stored.
    """
    segments = [part for part in parts if part.size]
    members = tuple(segment.packed for segment in segments)
    names = json.dumps([s.packed.checksum for s in segments])
    key = hashlib.sha256(names.encode()).hexdigest()
    known = store.get_record("layers", key)
    if known is not None:
        return Layer(known[0], known[1], known[2], members, codec.media_type)
    # What is hashed is also wanted somewhere, and is at hand just now.
    path = store.scratch() / "layer"
    with storage_errors("writing a layer"), path.open("wb", buffering=0) as file:
        diff_id, digest = digests_alone(segments, file) if alone else digests(segments, codec, file)
    size = sum(member.size for member in members)
    store.put_record("layers", key, [diff_id, digest, size])
    return Layer(diff_id, digest, size, members, codec.media_type, fresh=True, file=path)


def _top(tree: Tree, codec: Codec) -> Segment:
    """Everything that no package brings, and the end of the archive."""
    out = bytearray()
    for node in tree.ordered(lambda n: n.package < 0 and n.kind is not Type.DIRECTORY):
        out += node_header(node) + node.content + padding(len(node.content))
    return Segment.of(bytes(out + END), codec)


def _members(tree: Tree, numbers: Iterable[int], store: Store, codec: Codec) -> list[Segment]:
    return [_member(tree.packages[number], store, codec) for number in numbers]


def _member(installed: Installed, store: Store, codec: Codec) -> Segment:
    """A package's segment: the cached one, or one without what is not used of it."""
    package = installed.package
    altered = _with_links(installed)
    if not altered:
        return package.segment
    plan = [
        (start, None if node is None else [node.path, node.mode, node.uid, node.gid])
        for start, node in sorted(altered.items())
    ]
    key = hashlib.sha256(json.dumps([_MEMBERS, package.key, codec.id, plan]).encode()).hexdigest()
    folder = store.path("members", key)
    known = _known_member(folder, store, codec)
    if known is not None:
        return known
    if not package.segment.packed.known:
        package.segment.packed.verify()
    with storage_errors(f"storing the changed files of {package.info.name} in the cache"):
        scratch = store.scratch()
        writer = SegmentWriter(scratch, codec)
        try:
            _rewrite(installed, altered, writer.write)
            segment = writer.finish()
        finally:
            writer.close()
        (scratch / "meta").write_bytes(seal(segment.record()))
        store.publish(scratch, folder)
    return segment.moved(folder)


def _known_member(folder: Path, store: Store, codec: Codec) -> Segment | None:
    try:
        return Segment.recorded(unseal((folder / "meta").read_bytes()), folder, codec.id)
    except FileNotFoundError:
        return None
    except (CorruptEntryError, ValueError, TypeError):
        store.remove(folder)
        return None


def _with_links(installed: Installed) -> dict[int, Node | None]:
    """The altered entries, with hard links whose target is no longer what they link to."""
    altered = dict(installed.altered)
    if not altered:
        return altered
    by_path = {e.path: e for e in installed.package.entries if e.type == "0"}
    for entry in installed.package.entries:
        if entry.type == "1" and by_path[entry.link].start in altered:
            altered.setdefault(entry.start, _as_node(installed, entry.path))
    return altered


def _as_node(installed: Installed, path: str) -> Node | None:
    from plimsoll.builder.node import Node as Made  # noqa: PLC0415  (rare)

    entry = next(e for e in installed.package.entries if e.path == path)
    return Made(path, Type.HARDLINK, entry.mode, entry.uid, entry.gid, entry.mtime, entry=entry)


def _rewrite(
    installed: Installed, altered: dict[int, Node | None], write: Callable[[bytes], None]
) -> None:
    """Copy a package's segment, leaving out or rewriting the altered entries."""
    package = installed.package
    segment, reader = package.segment, Reader()
    for entry in package.entries:
        if entry.start < 0:
            continue
        if entry.start not in altered:
            _copy(reader, segment, entry.start, entry.end, write)
            continue
        node = altered[entry.start]
        if node is None:
            continue
        source = original(package, entry)
        changed = entry._replace(
            path=node.path, mode=node.mode, uid=node.uid, gid=node.gid, size=source.size
        )
        if entry.type == "1":
            target = altered.get(source.start, source)
            if target is not None and _attributes(target) == _attributes(node):
                write(encode_entry(changed._replace(link=target.path, size=0)))
                continue
            changed = changed._replace(type="0", link="", xattrs=source.xattrs)
        write(encode_entry(changed))
        if source.size:
            _copy(reader, segment, source.data, source.end, write)


def _attributes(item: FileEntry | Node) -> tuple[int, int, int]:
    """What all names of one file have in common."""
    return item.mode, item.uid, item.gid


def _copy(
    reader: Reader, segment: Segment, start: int, end: int, write: Callable[[bytes], None]
) -> None:
    while start < end:
        size = min(end - start, PIECE)
        write(reader.slice(segment, start, size))
        start += size
