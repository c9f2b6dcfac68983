"""What packages add to layers: their cached segments, or what is made of them anew and kept."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.apk.tarwrite import padding
from plimsoll.builder.cachedpackage import encode_entry
from plimsoll.builder.codec import GZIP, PIECE
from plimsoll.builder.directories import node_header
from plimsoll.builder.node import Node, original
from plimsoll.builder.segment import Reader, Segment, SegmentWriter
from plimsoll.builder.store import CorruptEntryError, seal, storage_errors, unseal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from plimsoll.builder.cachedpackage import CachedPackage, FileEntry
    from plimsoll.builder.codec import Codec
    from plimsoll.builder.node import Installed
    from plimsoll.builder.store import Store

    Write = Callable[[bytes], None]

#: Changes with what is made of packages, so that what was made otherwise is not used.
_MEMBERS = 3


def member(installed: Installed, store: Store, codec: Codec = GZIP) -> Segment:
    """A package's segment: the cached one, or one without what is not used of it.

    Raises:
        CorruptEntryError: the cache was damaged; build again.
    """
    package = installed.package
    altered = _with_links(installed)
    if not altered:
        return package.segment
    plan = [
        (start, None if node is None else [node.path, node.mode, node.uid, node.gid])
        for start, node in sorted(altered.items())
    ]
    return _kept(package, plan, store, codec, lambda write: _rewrite(installed, altered, write))


def second_file(
    package: CachedPackage, source: FileEntry, node: Node, store: Store, codec: Codec = GZIP
) -> Segment:
    """A file of the configuration that has the content of a package's file.

    Args:
        package: which.
        source: its file.
        node: the file of the configuration.
        store: where the segment is kept.
        codec: how it is compressed.

    Raises:
        CorruptEntryError: the cache was damaged; build again.
    """
    header = node_header(node)

    def make(write: Write) -> None:
        write(header)
        _copy(Reader(), package.segment, source.data, source.data + source.size, write)
        write(padding(source.size))

    return _kept(package, [source.start, header.hex()], store, codec, make)


def _kept(
    package: CachedPackage,
    plan: list[Any],
    store: Store,
    codec: Codec,
    make: Callable[[Write], None],
) -> Segment:
    """A segment that is made of a package once."""
    key = hashlib.sha256(json.dumps([_MEMBERS, package.key, codec.id, plan]).encode()).hexdigest()
    folder = store.path("members", key)
    known = _known(folder, store, codec)
    if known is not None:
        return known
    if not package.segment.packed.known:
        package.segment.packed.verify()
    with storage_errors(f"storing the changed files of {package.info.name} in the cache"):
        scratch = store.scratch()
        writer = SegmentWriter(scratch, codec)
        try:
            make(writer.write)
            segment = writer.finish()
        finally:
            writer.close()
        (scratch / "meta").write_bytes(seal(segment.record()))
        store.publish(scratch, folder)
    return segment.moved(folder)


def _known(folder: Path, store: Store, codec: Codec) -> Segment | None:
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
    entry = next(e for e in installed.package.entries if e.path == path)
    return Node(path, Type.HARDLINK, entry.mode, entry.uid, entry.gid, entry.mtime, entry=entry)


def _rewrite(installed: Installed, altered: dict[int, Node | None], write: Write) -> None:
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


def _copy(reader: Reader, segment: Segment, start: int, end: int, write: Write) -> None:
    while start < end:
        size = min(end - start, PIECE)
        write(reader.slice(segment, start, size))
        start += size
