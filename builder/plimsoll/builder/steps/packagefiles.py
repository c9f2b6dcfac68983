"""Trees of small files (configurations, patches, pipelines) as values, tars and directories."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Header, TarReader, Type
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes, and files, that one source of configurations may have.
MAX_TREE = 64 << 20
MAX_FILES = 20_000


class SourceTreeError(Error):
    """Files of a source that cannot be used."""

    reason = "InvalidSource"


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A file, or a symbolic link if ``target`` is set."""

    content: bytes = b""
    executable: bool = False
    target: str = ""


Files = dict[str, SmallFile]
"""Path (relative, in its shortest form) → file."""


def check_path(path: str, what: str) -> str:
    """A path of a tree; raises ``SourceTreeError`` for one that leads out of it."""
    parts = path.split("/")
    if not path or {"", ".", ".."} & set(parts) or "\0" in path or len(path) > 1024:
        raise SourceTreeError(f"{what} has the path {path[:80]!r}, which is not relative and plain")
    return path


def read_folder(root: Path, what: str, *, below: str = "") -> Files:
    """The files below a directory; what is neither file nor link, and ``.git``, is left out.

    Raises:
        SourceTreeError: there are too many.
        StorageError: one cannot be read.
    """
    found: Files = {}
    total = 0
    with storage_errors(f"reading {what}"):
        for top, names, files in os.walk(root / below):
            folder = Path(top)
            # A mounted ConfigMap keeps its entries in folders named so, and links to them.
            names[:] = sorted(n for n in names if n != ".git" and not n.startswith(".."))
            for name in sorted(files) + [n for n in names if (folder / n).is_symlink()]:
                path = folder / name
                if name.startswith(".."):
                    continue
                key = check_path(path.relative_to(root / below).as_posix(), what)
                item = _read(path, root, what)
                if item is None:
                    continue
                total += len(item.content)
                if total > MAX_TREE or len(found) >= MAX_FILES:
                    raise too_large(what)
                found[key] = item
    return found


def too_large(what: str) -> SourceTreeError:
    """The error for a source that is too large."""
    return SourceTreeError(
        f"{what} has more than {MAX_FILES} files or {MAX_TREE >> 20} MiB",
        hint="keep large sources elsewhere and let a fetch step get them by checksum",
    )


def _read(path: Path, root: Path, what: str) -> SmallFile | None:
    if path.is_symlink():
        target = str(path.readlink())
        # Entries of a mounted ConfigMap are links to where its current version lies.
        if not target.startswith("..data/"):
            return SmallFile(target=target)
        if not path.resolve().is_relative_to(root.resolve()):
            return None
    if not path.is_file():
        return None
    status = path.stat()
    if status.st_size > MAX_TREE:
        raise too_large(what)
    return SmallFile(path.read_bytes(), bool(status.st_mode & 0o100))


def to_tar(files: Mapping[str, SmallFile]) -> bytes:
    """The tree as a tar: the same bytes for the same tree."""
    out = bytearray()
    for path in sorted(files):
        item = files[path]
        header = Header(
            path,
            Type.SYMLINK if item.target else Type.FILE,
            mode=0o777 if item.target else 0o755 if item.executable else 0o644,
            size=len(item.content),
            linkname=item.target,
        )
        out += encode_header(header) + item.content + padding(len(item.content))
    return bytes(out + END)


def from_tar(data: bytes, what: str) -> Files:
    """The tree of a tar; directories are left out.

    Raises:
        SourceTreeError, TarError: it holds anything that no such tree has.
    """
    found: Files = {}
    total = 0
    for entry in TarReader([data], what):
        header = entry.header
        if header.type is Type.DIRECTORY:
            continue
        if header.type not in {Type.FILE, Type.SYMLINK}:
            raise SourceTreeError(f"{what} has {header.name!r}, which is no file")
        total += header.size
        if total > MAX_TREE or len(found) >= MAX_FILES:
            raise too_large(what)
        link = header.linkname if header.type is Type.SYMLINK else ""
        found[check_path(header.name, what)] = SmallFile(
            bytes(entry.read()), not link and bool(header.mode & 0o100), link
        )
    return found


def fingerprint(files: Mapping[str, SmallFile]) -> str:
    """SHA-256 (hex) over the tree; empty for an empty one."""
    return hashlib.sha256(to_tar(files)).hexdigest() if files else ""


def write_folder(files: Mapping[str, SmallFile], root: Path) -> None:
    """Write a tree into a new directory.

    Raises:
        SourceTreeError: a path goes through a link or a file of the same tree.
        StorageError: it cannot be written.
    """
    with storage_errors(f"writing {root}"):
        root.mkdir(parents=True, exist_ok=True)
        for path in sorted(files):
            for depth in range(1, path.count("/") + 1):
                parent = "/".join(path.split("/")[:depth])
                if parent in files:
                    raise SourceTreeError(f"{path} lies below {parent}, which is no directory")
            target, item = root / path, files[path]
            target.parent.mkdir(parents=True, exist_ok=True)
            if item.target:
                target.symlink_to(item.target)
            else:
                target.write_bytes(item.content)
                target.chmod(0o755 if item.executable else 0o644)
