"""From a file tree to layers: segments in order, concatenated, hashed once."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.apk.tarwrite import END, padding
from plimsoll.builder.codec import GZIP
from plimsoll.builder.digests import digests, digests_alone
from plimsoll.builder.directories import Directories, node_header
from plimsoll.builder.layer import Layer
from plimsoll.builder.members import member, second_file
from plimsoll.builder.processors import workers
from plimsoll.builder.segment import Segment
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.builder.codec import Codec
    from plimsoll.builder.store import Store
    from plimsoll.builder.tree import Tree


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
        return [finish([first, *members, *_top(tree, store, codec)], store, codec)]
    directories, end = Directories(tree, codec), Segment.of(END, codec)

    def layer(group: Sequence[int]) -> Layer:
        members = _members(tree, group, store, codec)
        return finish([directories.of(set(group)), *members, end], store, codec, alone=True)

    with ThreadPoolExecutor(workers()) as pool:
        layers = [pool.submit(layer, group) for group in groups]
        parts = [directories.of({-1}), *_top(tree, store, codec)]
        top = finish(parts, store, codec, alone=True)
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


def _top(tree: Tree, store: Store, codec: Codec) -> list[Segment]:
    """Everything that no package brings, and the end of the archive."""
    out = bytearray()
    copies = []
    for node in tree.ordered(lambda n: n.package < 0 and n.kind is not Type.DIRECTORY):
        if node.source is not None:
            number, source = node.source
            package = tree.packages[number].package
            copies.append(second_file(package, source, node, store, codec))
            continue
        out += node_header(node) + node.content + padding(len(node.content))
    return [*copies, Segment.of(bytes(out + END), codec)]


def _members(tree: Tree, numbers: Iterable[int], store: Store, codec: Codec) -> list[Segment]:
    return [member(tree.packages[number], store, codec) for number in numbers]
