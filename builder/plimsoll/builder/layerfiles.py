"""The files of an image's layers, laid over each other as a container would see them.

Nothing is unpacked: layers are read as streams, and what is kept of a file is its attributes, its
checksums, and the contents of those few that were asked for.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, cast

import zstandard
from isal import isal_zlib

from plimsoll.apk.tarfmt import TarError, Type
from plimsoll.builder.gzipfile import gzip_reader
from plimsoll.builder.imagesource import MAX_LAYER, ImageSourceError
from plimsoll.builder.layertar import LayerReader
from plimsoll.oci.digest import digest_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plimsoll.apk.tarfmt import Entry, Header
    from plimsoll.builder.imagesource import ImageSource

#: Where the database of installed packages may be; the first one there counts.
INSTALLED = ("usr/lib/apk/db/installed", "lib/apk/db/installed")
MAX_DATABASE = 256 << 20
#: What reading a damaged stream raises.
BROKEN: tuple[type[Exception], ...] = (
    EOFError,
    ValueError,
    gzip.BadGzipFile,
    cast("type[Exception]", isal_zlib.IsalError),
    zstandard.ZstdError,
)
_UNREADABLE: tuple[type[Exception], ...] = (TarError, OSError, *BROKEN)
_MAX_KEPT = 1 << 30
_MAX_FILES = 2_000_000
#: Characters in the names of all files and their directories, and in link targets.
_MAX_NAMES = 128 << 20
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_READ = 1 << 20
_KINDS = {
    Type.DIRECTORY: "directory", Type.SYMLINK: "link", Type.CHARACTER_DEVICE: "device",
    Type.BLOCK_DEVICE: "device", Type.FIFO: "pipe",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileView:
    """A file of an image.

    Attributes:
        content: a SHA-256 (hex), a link's target, or a device's number.
        sha1: hex, of a file or a link's target.
        layer: number of the layer that holds it.
        offset: of its content in that layer's tar.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    content: str = ""
    sha1: str = ""
    mtime: int = 0
    layer: int = 0
    offset: int = 0


@dataclass(slots=True)
class LayerFiles:
    """The files of an image, as far as its layers were added.

    Attributes:
        name: of the image, for messages.
        wanted: whether the content of a path of that many bytes is kept.
        files: path without leading slash → file.
        contents: path → content of what is wanted.
    """

    name: str
    wanted: Callable[[str, int], bool] = lambda path, size: (
        path in INSTALLED and size <= MAX_DATABASE
    )
    files: dict[str, FileView] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    _layers: int = 0
    _kept: int = 0
    _named: int = 0
    _folders: set[str] = field(default_factory=set)

    def add(self, file: IO[bytes], digest: str) -> None:
        """Lay one layer over what is known. Blocks.

        Args:
            file: the layer: a tar, plain, gzip or zstd.
            digest: of the layer, for messages.

        Raises:
            ImageSourceError: it is no readable tar, or holds too much.
        """
        layer = _Layer()
        inflated = 0
        reader = LayerReader(pieces(inflated_stream(file)), "it")
        try:
            for entry in reader:
                inflated += entry.header.size
                self._named += len(entry.header.linkname)
                if (
                    inflated > MAX_LAYER
                    or len(self.files) + len(layer.gone) + len(layer.opaque) > _MAX_FILES
                    or self._named > _MAX_NAMES
                ):
                    raise ImageSourceError(f"layer {digest} of {self.name} holds too much")
                self._add(entry, reader.offset, layer)
        except _UNREADABLE as error:
            raise ImageSourceError(
                f"layer {digest} of {self.name} is no readable tar: {error}"
            ) from None
        self._take_away(layer)
        self._layers += 1

    def database(self) -> str:
        """The database of installed packages; ``""`` if there is none."""
        data = next((self.contents[path] for path in INSTALLED if path in self.contents), b"")
        return data.decode(errors="replace")

    def _add(self, entry: Entry, offset: int, layer: _Layer) -> None:
        header = entry.header
        path = plain_path(header.name)
        if not path or layer.marks(path):
            return
        self._describe(path)
        layer.paths.add(path)
        self.contents.pop(path, None)
        if header.type is Type.FILE:
            sha256, sha1 = self._read(entry, path)
            self.files[path] = self._view(header, offset, sha256, sha1)
        elif header.type is Type.HARDLINK:
            target = plain_path(header.linkname)
            known = self.files.get(target)
            self.files[path] = known or self._view(header, offset, header.linkname)
            if target in self.contents:
                self.contents[path] = self.contents[target]
        elif header.type is Type.SYMLINK:
            sha1 = hashlib.sha1(header.linkname.encode(), usedforsecurity=False).hexdigest()
            self.files[path] = self._view(header, offset, header.linkname, sha1)
        else:
            kind = _KINDS[header.type]
            device = f"{header.devmajor}:{header.devminor}" if kind == "device" else ""
            self.files[path] = self._view(header, offset, device)

    def _describe(self, path: str) -> None:
        """Count a path, and those of directories that only follow from it."""
        self._named += len(path)
        while (path := path.rpartition("/")[0]) and path not in self._folders:
            self._folders.add(path)
            self._named += len(path)

    def _read(self, entry: Entry, path: str) -> tuple[str, str]:
        sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
        size = entry.header.size
        keep = self.wanted(path, size) and self._kept + size <= _MAX_KEPT
        pieces = []
        for piece in entry.chunks():
            sha256.update(piece)
            sha1.update(piece)
            if keep:
                pieces.append(bytes(piece))
        if keep:
            self._kept += size
            self.contents[path] = b"".join(pieces)
        return sha256.hexdigest(), sha1.hexdigest()

    def _view(self, header: Header, offset: int, content: str, sha1: str = "") -> FileView:
        return FileView(
            _KINDS.get(header.type, "file"),
            header.mode,
            header.uid,
            header.gid,
            header.size,
            content,
            sha1,
            header.mtime,
            self._layers,
            offset,
        )

    def _take_away(self, layer: _Layer) -> None:
        """Take what a layer's markers, and files in the place of directories, take away."""
        blocked = {path for path in layer.paths if self.files[path].kind != "directory"}
        if not (layer.gone or layer.opaque or blocked):
            return
        hidden: dict[str, bool] = {"": "" in layer.opaque}

        def hides(folder: str) -> bool:
            """Whether nothing of the layers below is left in a folder."""
            chain = []
            while (known := hidden.get(folder)) is None:
                chain.append(folder)
                folder = folder.rpartition("/")[0]
            for path in reversed(chain):
                own = path in layer.opaque or path in layer.gone or path in blocked
                known = hidden[path] = known or own
            return known

        for path in [p for p in self.files if p not in layer.paths]:
            if path in layer.gone or hides(path.rpartition("/")[0]):
                del self.files[path]
                self.contents.pop(path, None)


@dataclass(slots=True)
class _Layer:
    """What one layer brings, and what it takes away from those below (image-spec, "Whiteouts")."""

    paths: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)

    def marks(self, path: str) -> bool:
        """Note a marker; whether it is one."""
        parent, _, base = path.rpartition("/")
        if not base.startswith(_WHITEOUT):
            return False
        if base == _OPAQUE:
            self.opaque.add(parent)
        else:
            name = base.removeprefix(_WHITEOUT)
            self.gone.add(f"{parent}/{name}" if parent else name)
        return True


async def read_layers(image: ImageSource, files: LayerFiles) -> LayerFiles:
    """Add all layers of an image, one at a time.

    Raises:
        ImageSourceError, RegistryError: one cannot be read, or is not what its digest says.
    """
    import asyncio  # noqa: PLC0415  (one use)

    for layer in image.manifest.layers:
        async with image.layer(layer) as path:
            if await asyncio.to_thread(digest_file, path) != layer.digest:
                raise ImageSourceError(f"layer {layer.digest} of {image.name} is damaged")
            with path.open("rb") as file:
                await asyncio.to_thread(files.add, file, layer.digest)
    return files


def plain_path(name: str) -> str:
    """A member's name without leading ``./`` or ``/`` and trailing ``/``.

    Raises:
        ValueError: it leads out of the root.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ValueError(f"it has the path {name[:200]!r}, which leads out of the root")
    return "/".join(parts)


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """A stream in pieces."""
    while piece := stream.read(_READ):
        yield piece


def inflated_stream(file: IO[bytes]) -> IO[bytes]:
    """The tar in a layer, however it is compressed."""
    head = file.read(4)
    file.seek(0)
    if head[:2] == b"\x1f\x8b":
        return gzip_reader(file)
    if head == b"\x28\xb5\x2f\xfd":
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return cast("IO[bytes]", reader)
    return file
