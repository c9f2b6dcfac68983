"""Base images in the cache: their layers as they are, and inflated to read single files of them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from plimsoll.builder.basefiles import packages_of
from plimsoll.builder.imagesource import MAX_LAYER, ImageSourceError
from plimsoll.builder.layer import Layer
from plimsoll.builder.layerfiles import (
    BROKEN,
    INSTALLED,
    FileView,
    LayerFiles,
    inflated_stream,
)
from plimsoll.builder.store import CorruptEntryError, seal, storage_errors, unseal
from plimsoll.builder.stored import Stored
from plimsoll.errors import Error
from plimsoll.oci.digest import digest_file, digest_of
from plimsoll.oci.model import DOCKER_LAYER_GZIP, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.apk.records import IndexEntry
    from plimsoll.builder.basefiles import BasePackage
    from plimsoll.builder.imagesource import ImageSource
    from plimsoll.builder.store import Store

KIND = "bases"
_READ = 1 << 20
_LAYER_TYPES = {
    OCI_LAYER: OCI_LAYER,
    OCI_LAYER_GZIP: OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD: OCI_LAYER_ZSTD,
    DOCKER_LAYER_GZIP: OCI_LAYER_GZIP,
}
_FIELDS = tuple(field.name for field in fields(FileView))


class BaseImageError(Error):
    """A base image that nothing can be built on."""

    reason = "InvalidBaseImage"


@dataclass(frozen=True, slots=True)
class Base:
    """The base image of one architecture.

    Attributes:
        name: as the configuration has it.
        digest: of its manifest.
        config: its configuration document.
        layers: bottom first.
        others: what belongs to no package.
        packages: in the order of its database.
        folder: of the database of installed packages.
        is_local: whether it is a file of this machine.
    """

    name: str
    digest: str
    config: dict[str, Any]
    layers: tuple[Layer, ...]
    others: BasePackage
    packages: tuple[BasePackage, ...]
    folder: str
    is_local: bool

    @property
    def public_name(self) -> str:
        """Its name outside this machine; ``""`` for a file, which has none."""
        return "" if self.is_local else self.name

    @property
    def entries(self) -> list[IndexEntry]:
        """What an index would say of its packages."""
        return [p.info.index_entry(p.checksum, p.size) for p in self.packages]


async def keep(store: Store, image: ImageSource) -> None:
    """Put a base image into the cache.

    Raises:
        BaseImageError, ImageSourceError: it is not what it says that it is.
        Error: it cannot be had.
    """
    expected = _diff_ids(image)
    folder = store.scratch()
    files = LayerFiles(image.name)
    with storage_errors(f"storing the base image {image.name} in the cache"):
        for number, layer in enumerate(image.manifest.layers):
            if layer.media_type not in _LAYER_TYPES:
                raise BaseImageError(
                    f"{image.name} has a layer of the type {layer.media_type}",
                    hint="its layers must be tar files: plain, gzip or zstd",
                )
            async with image.layer(layer) as path:
                await asyncio.to_thread(
                    _inflate, path, layer.digest, folder, number, expected[number]
                )
            await asyncio.to_thread(_read, files, folder / f"{number}.tar", layer.digest)
        (folder / "config").write_bytes(image.config)
        place = next((p for p in INSTALLED if p in files.contents), INSTALLED[0])
        record = {
            "config": digest_of(image.config),
            "layers": [
                [_LAYER_TYPES[layer.media_type], layer.digest, layer.size, diff_id]
                for layer, diff_id in zip(image.manifest.layers, expected, strict=True)
            ],
            "folder": place.rpartition("/")[0],
            "database": files.database(),
            "files": {
                path: [getattr(view, name) for name in _FIELDS]
                for path, view in files.files.items()
            },
        }
        (folder / "record").write_bytes(seal(record))
    store.publish(folder, store.path(KIND, _hex(image.descriptor.digest)))


def load(store: Store, name: str, digest: str, *, is_local: bool) -> Base | None:
    """A base image that is in the cache, undamaged.

    Args:
        store: the cache.
        name: as the configuration has it.
        digest: of its manifest.
        is_local: whether the name is that of a file.

    Raises:
        InstalledFormatError: its database is damaged.
    """
    folder = store.path(KIND, _hex(digest))
    try:
        record = unseal((folder / "record").read_bytes())
        config = (folder / "config").read_bytes()
    except FileNotFoundError:
        return None
    except CorruptEntryError:
        store.remove(folder)
        return None
    if digest_of(config) != record["config"]:
        store.remove(folder)
        return None
    layers = tuple(
        Layer(
            _hex(diff_id),
            _hex(packed),
            size,
            (Stored(folder / f"{number}.blob", size, _hex(packed)),),
            media_type,
        )
        for number, (media_type, packed, size, diff_id) in enumerate(record["layers"])
    )
    tars = [folder / f"{number}.tar" for number in range(len(layers))]
    files = {path: FileView(*row) for path, row in record["files"].items()}
    others, packages = packages_of(files, record["database"], tars, name)
    return Base(
        name,
        digest,
        json.loads(config),
        layers,
        others,
        tuple(packages),
        record["folder"],
        is_local,
    )


def is_sound(folder: Path) -> bool:
    """Whether a base image in the cache still has the bytes that its record names. Blocks."""
    try:
        record = unseal((folder / "record").read_bytes())
        for number, (_, packed, _, diff_id) in enumerate(record["layers"]):
            for name, digest in ((f"{number}.blob", packed), (f"{number}.tar", diff_id)):
                if digest_file(folder / name) != digest:
                    return False
        return digest_of((folder / "config").read_bytes()) == str(record["config"])
    except (OSError, CorruptEntryError):
        return False


def _diff_ids(image: ImageSource) -> list[str]:
    rootfs = image.document().get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(found, list) or len(found) != len(image.manifest.layers):
        raise BaseImageError(
            f"{image.name} does not have the layers that its configuration names",
            hint="it is no image to run; name another one",
        )
    return [str(item) for item in found]


def _read(files: LayerFiles, path: Path, digest: str) -> None:
    with path.open("rb") as tar:
        files.add(tar, digest)


def _inflate(path: Path, digest: str, folder: Path, number: int, diff_id: str) -> None:
    """Copy a layer into a folder, as it is and inflated, comparing both with their digests."""
    packed, plain = hashlib.sha256(), hashlib.sha256()
    size = 0
    blob = folder / f"{number}.blob"
    with path.open("rb") as source, blob.open("wb") as target:
        while piece := source.read(_READ):
            packed.update(piece)
            target.write(piece)
    try:
        with blob.open("rb") as source, (folder / f"{number}.tar").open("wb") as target:
            stream = inflated_stream(source)
            while piece := stream.read(_READ):
                size += len(piece)
                if size > MAX_LAYER:
                    raise BaseImageError(f"layer {digest} of the base image is too large")
                plain.update(piece)
                target.write(piece)
    except BROKEN as error:
        raise ImageSourceError(f"layer {digest} of the base image is damaged: {error}") from None
    for found, wanted in ((packed, digest), (plain, diff_id)):
        if f"sha256:{found.hexdigest()}" != wanted:
            raise BaseImageError(
                f"a layer of the base image is sha256:{found.hexdigest()}, not {wanted}",
                hint="fetch the base image again",
            )


def _hex(digest: str) -> str:
    return digest.rpartition(":")[2]
