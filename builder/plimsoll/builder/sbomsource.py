"""What a bill of materials is made of: from an image in the making, or from one that exists."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.apk.installed import parse_installed
from plimsoll.apk.tarfmt import Type
from plimsoll.builder.basefiles import listed_paths
from plimsoll.builder.codec import PIECE
from plimsoll.builder.database import index_entry
from plimsoll.builder.layerfiles import INSTALLED, MAX_DATABASE
from plimsoll.builder.segment import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from plimsoll.apk.records import IndexEntry
    from plimsoll.builder.layerfiles import FileView, LayerFiles
    from plimsoll.builder.node import Node
    from plimsoll.builder.tree import Tree

#: Where packages put their own documents.
FOLDER = "var/lib/db/sbom"
_RELEASE = ("etc/os-release", "usr/lib/os-release")
#: Parsed, a document takes ten times its size.
_MAX_DOCUMENT = 16 << 20


@dataclass(frozen=True, slots=True)
class Listed:
    """A package of the installed database; ``sha256`` (hex) of its ``.apk`` file, if known."""

    entry: IndexEntry
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Loose:
    """A file that no package brings as it is; ``link`` is a link's target."""

    path: str
    sha1: str
    sha256: str
    link: str | None = None
    comment: str = "belongs to no package"


@dataclass(frozen=True, slots=True)
class Contents:
    """An image.

    Attributes:
        release: content of ``/etc/os-release``.
        packages: in the order of the database.
        document: content of a package's own document by its file name, ``None`` if there is none;
            raises ``ValueError`` where it is too large.
        loose: files that need an entry of their own, in the order of their paths.
    """

    release: str
    packages: Sequence[Listed]
    document: Callable[[str], bytes | None]
    loose: Sequence[Loose]


def tree_contents(tree: Tree) -> Contents:
    """The contents of an image in the making."""
    release = tree.resolve(_RELEASE[0])

    def document(name: str) -> bytes | None:
        node = tree.nodes.get(f"{FOLDER}/{name}")
        if node is None or node.package < 0 or node.kind not in {Type.FILE, Type.HARDLINK}:
            return None
        _check_size(node.size)
        return tree.content(node)

    return Contents(
        tree.content(release).decode(errors="replace") if release is not None else "",
        [Listed(index_entry(p.package), p.package.sha256) for p in tree.installed],
        document,
        [_loose(tree, node) for node in tree.ordered(lambda n: _is_loose(tree, n))],
    )


def is_wanted(path: str, size: int) -> bool:
    """Whether the content of a file of an existing image is needed."""
    if path in INSTALLED:
        return size <= MAX_DATABASE
    return (path in _RELEASE or path.startswith(f"{FOLDER}/")) and size <= _MAX_DOCUMENT


def layer_contents(files: LayerFiles) -> Contents:
    """The contents of an image that exists.

    Args:
        files: its layers, read with ``is_wanted``.

    Raises:
        InstalledFormatError: its database of installed packages is damaged.
    """
    kept = files.contents
    records = parse_installed(files.database(), source=f"the package database of {files.name}")
    listed = listed_paths(files.files, records)
    checksums = [{f.path: f.sha1.hex() for f in record.files} for record in records]
    release = next((kept[path] for path in _RELEASE if path in kept), b"")

    def loose() -> Iterator[Loose]:
        owners = {path: number for number, paths in enumerate(listed) for path in paths}
        for path in sorted(files.files, key=lambda p: p.split("/")):
            view = files.files[path]
            number = owners.get(path)
            if view.kind not in {"file", "link"}:
                continue
            if number is None:
                yield _of_view(path, view)
            elif view.sha1 and checksums[number].get(listed[number][path]) not in {"", view.sha1}:
                name = records[number].entry.name
                yield _of_view(path, view, f"differs from the file of package {name}")

    def document(name: str) -> bytes | None:
        view = files.files.get(f"{FOLDER}/{name}")
        if view is not None and view.kind == "file":
            _check_size(view.size)
        return kept.get(f"{FOLDER}/{name}")

    return Contents(
        release.decode(errors="replace"),
        [Listed(record.entry) for record in records],
        document,
        list(loose()),
    )


def _check_size(size: int) -> None:
    if size > _MAX_DOCUMENT:
        raise ValueError(f"it has {size} bytes, and {_MAX_DOCUMENT} are the most that is read")


def _is_loose(tree: Tree, node: Node) -> bool:
    return not tree.is_owned(node) and node.kind in {Type.FILE, Type.SYMLINK}


def _loose(tree: Tree, node: Node) -> Loose:
    link = node.link if node.kind is Type.SYMLINK else None
    sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    reader = Reader()
    for offset in range(0, node.size if link is None else 0, PIECE):
        piece = tree.part(node, offset, PIECE, reader)
        sha1.update(piece)
        sha256.update(piece)
    if link is not None:
        sha1.update(link.encode())
        sha256.update(link.encode())
    return Loose(node.path, sha1.hexdigest(), sha256.hexdigest(), link)


def _of_view(path: str, view: FileView, comment: str = "belongs to no package") -> Loose:
    if view.kind == "link":
        content = view.content.encode(errors="surrogateescape")
        sha256 = hashlib.sha256(content).hexdigest()
        return Loose(path, view.sha1, sha256, view.content, comment)
    return Loose(path, view.sha1, view.content, None, comment)
