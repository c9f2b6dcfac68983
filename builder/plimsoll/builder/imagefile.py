"""The files in an image's tar file, put into a folder: no other names, no links, no surprises."""

from __future__ import annotations

import bz2
import lzma
import os
import posixpath
import re
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, cast

from plimsoll.apk.tarfmt import TarError, Type
from plimsoll.builder.imagesource import MAX_LAYER, ImageSourceError
from plimsoll.builder.layerfiles import BROKEN, inflated_stream, pieces, plain_path
from plimsoll.builder.layertar import LayerReader

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.apk.tarfmt import Entry

#: An ``OSError`` without a number is bz2's.
_UNREADABLE: tuple[type[Exception], ...] = (TarError, lzma.LZMAError, OSError, *BROKEN)
_MAX_FILES = 20_000
#: ``blobs/sha256/…``, ``index.json``, ``…/layer.tar`` and the like.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,254}"
_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,4}}")


def unpack(path: Path, folder: Path) -> None:
    """Put the files of an image into an empty folder. Blocks.

    Nothing but plain files with plain names is made, so that nothing can lead out of it. Links,
    by which Docker names one layer twice, become the file that they name.

    Raises:
        ImageSourceError: it is no readable tar file, or holds what no image has.
        OSError: it cannot be read, or the folder cannot be written.
    """
    found = _Unpacked(path, folder)
    with path.open("rb") as file, ExitStack() as stack:
        try:
            for entry in LayerReader(pieces(_inflated(file, stack)), "it"):
                found.add(entry)
        except _UNREADABLE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            why = error.message if isinstance(error, TarError) else str(error)
            raise ImageSourceError(
                f"{path} is no readable tar file: {why}",
                hint="an image in a file is what 'docker save' writes, or an OCI layout in a tar",
            ) from None
    found.link()


class _Unpacked:
    def __init__(self, source: Path, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._files: set[str] = set()
        self._links: dict[str, str] = {}
        self._size = 0

    def add(self, entry: Entry) -> None:
        header = entry.header
        name = plain_path(header.name)
        if not name or header.type is Type.DIRECTORY:
            return
        if not _NAME.fullmatch(name) or name in self._files or name in self._links:
            raise ImageSourceError(
                f"{self._source} holds {name[:200]!r}, which no image has, or has twice",
                hint="make it anew with 'docker save', or name an OCI layout",
            )
        self._size += header.size
        if self._size > MAX_LAYER or len(self._files) + len(self._links) >= _MAX_FILES:
            raise ImageSourceError(f"{self._source} holds too much for an image")
        if header.type is Type.FILE:
            self._files.add(name)
            _write(self._folder / name, entry)
        elif header.type is Type.SYMLINK:
            self._links[name] = posixpath.join(posixpath.dirname(name), header.linkname)
        elif header.type is Type.HARDLINK:
            self._links[name] = header.linkname

    def link(self) -> None:
        for name, target in self._links.items():
            known = posixpath.normpath(target)
            if known in self._files:
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(self._folder / known, self._folder / name)


def _write(path: Path, entry: Entry) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as out:
        for piece in entry.chunks():
            out.write(piece)


def _inflated(file: IO[bytes], stack: ExitStack) -> IO[bytes]:
    head = file.read(6)
    file.seek(0)
    if head[:3] == b"BZh":
        return cast("IO[bytes]", stack.enter_context(bz2.open(file)))
    if head == b"\xfd7zXZ\0":
        return cast("IO[bytes]", stack.enter_context(lzma.open(file)))
    return inflated_stream(file)
