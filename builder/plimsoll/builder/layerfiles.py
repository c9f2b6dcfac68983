"""The files of an image's layers, laid over each other as a container would see them.

Nothing is unpacked: layers are read as streams, and what is kept of a file is its attributes, its
checksums, and the contents of those few that were asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, cast

import zstandard
from isal import isal_zlib

from plimsoll.builder.gzipfile import gzip_reader
from plimsoll.builder.imagesource import ImageSourceError

if TYPE_CHECKING:
    from collections.abc import Callable

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
_UNREADABLE: tuple[type[Exception], ...] = (tarfile.TarError, OSError, *BROKEN)
_MAX_KEPT = 1 << 30
_MAX_FILES = 2_000_000
_MAX_INFLATED = 64 << 30
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_READ = 1 << 20
_KINDS = {
    tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device", tarfile.FIFOTYPE: "pipe",
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

    def add(self, file: IO[bytes], digest: str) -> None:
        """Lay one layer over what is known. Blocks.

        Args:
            file: the layer: a tar, plain, gzip or zstd.
            digest: of the layer, for messages.

        Raises:
            ImageSourceError: it is no readable tar, or holds too much.
        """
        inflated = 0
        try:
            with tarfile.open(fileobj=inflated_stream(file), mode="r|") as tar:
                for item in tar:
                    inflated += item.size
                    if inflated > _MAX_INFLATED or len(self.files) > _MAX_FILES:
                        raise ImageSourceError(f"layer {digest} of {self.name} holds too much")
                    self._add(tar, item)
        except _UNREADABLE as error:
            raise ImageSourceError(
                f"layer {digest} of {self.name} is no readable tar: {error}"
            ) from None
        self._layers += 1

    def database(self) -> str:
        """The database of installed packages; ``""`` if there is none."""
        data = next((self.contents[path] for path in INSTALLED if path in self.contents), b"")
        return data.decode(errors="replace")

    def _add(self, tar: tarfile.TarFile, item: tarfile.TarInfo) -> None:
        path = plain_path(item.name)
        if not path or self._whiteout(path):
            return
        self.contents.pop(path, None)
        if item.isreg():
            sha256, sha1 = self._read(tar, item, path)
            self.files[path] = self._view(item, sha256, sha1)
        elif item.islnk():
            target = plain_path(item.linkname)
            known = self.files.get(target)
            self.files[path] = known or self._view(item, item.linkname)
            if target in self.contents:
                self.contents[path] = self.contents[target]
        elif item.issym():
            sha1 = hashlib.sha1(item.linkname.encode(errors="surrogateescape"),
                                usedforsecurity=False).hexdigest()  # fmt: skip
            self.files[path] = self._view(item, item.linkname, sha1)
        else:
            device = f"{item.devmajor}:{item.devminor}" if item.isdev() else ""
            self.files[path] = self._view(item, device)

    def _read(self, tar: tarfile.TarFile, item: tarfile.TarInfo, path: str) -> tuple[str, str]:
        sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
        content = cast("IO[bytes]", tar.extractfile(item))
        keep = self.wanted(path, item.size) and self._kept + item.size <= _MAX_KEPT
        pieces = []
        while piece := content.read(_READ):
            sha256.update(piece)
            sha1.update(piece)
            if keep:
                pieces.append(piece)
        if keep:
            self._kept += item.size
            self.contents[path] = b"".join(pieces)
        return sha256.hexdigest(), sha1.hexdigest()

    def _view(self, item: tarfile.TarInfo, content: str, sha1: str = "") -> FileView:
        return FileView(
            _KINDS.get(item.type, "file"),
            item.mode & 0o7777,
            item.uid,
            item.gid,
            item.size,
            content,
            sha1,
            int(item.mtime),
            self._layers,
            item.offset_data,
        )

    def _whiteout(self, path: str) -> bool:
        """Take away what a layer's marker takes away (image-spec, "Whiteouts")."""
        parent, _, base = path.rpartition("/")
        if not base.startswith(_WHITEOUT):
            return False
        prefix = f"{parent}/" if parent else ""
        gone = prefix if base == _OPAQUE else f"{prefix}{base[len(_WHITEOUT) :]}/"
        for known in [p for p in self.files if p.startswith(gone) or f"{p}/" == gone]:
            # Markers speak of the layers below; an opaque one keeps the directory itself.
            below = self.files[known].layer < self._layers
            if below and (base != _OPAQUE or known != parent):
                del self.files[known]
                self.contents.pop(known, None)
        return True


async def read_layers(image: ImageSource, files: LayerFiles) -> LayerFiles:
    """Add all layers of an image, one at a time.

    Raises:
        ImageSourceError, RegistryError: one cannot be read.
    """
    import asyncio  # noqa: PLC0415  (one use)

    for layer in image.manifest.layers:
        async with image.layer(layer) as path:
            with path.open("rb") as file:
                await asyncio.to_thread(files.add, file, layer.digest)
    return files


def plain_path(name: str) -> str:
    """A member's name without leading ``./`` or ``/`` and trailing ``/``."""
    return "/".join(part for part in name.split("/") if part not in {"", "."})


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
