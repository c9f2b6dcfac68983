"""Where an image goes: an OCI layout, a tar file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder.store import storage_errors
from plimsoll.oci.layout import Layout
from plimsoll.oci.model import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plimsoll.builder.layer import Layer
    from plimsoll.builder.ociimage import ArchImage
    from plimsoll.builder.store import Store


def write_layout(folder: Path, images: Sequence[ArchImage], index: bytes, name: str) -> Descriptor:
    """Write an OCI layout; blobs that are there stay untouched. Blocks.

    Args:
        folder: an empty folder or a layout.
        images: of all architectures.
        index: the document over them.
        name: what the index is called in the layout.

    Returns:
        The descriptor of the index.

    Raises:
        LayoutError, StorageError: it cannot be written.
        CorruptEntryError: the cache was damaged; build again.
    """
    layout = Layout.create(folder)
    for image in images:
        for layer in image.layers:
            _add_layer(layout, layer)
        layout.add_bytes(image.config, OCI_CONFIG)
        layout.add_bytes(image.manifest, OCI_MANIFEST)
    top = layout.add_bytes(index, OCI_INDEX)
    layout.name(top, name)
    return top


def write_tar(
    path: Path, images: Sequence[ArchImage], index: bytes, names: Sequence[str], store: Store
) -> Descriptor:
    """Write a tar file that ``docker load`` takes and that is an OCI layout too. Blocks.

    Raises:
        LayoutError, StorageError: it cannot be written.
        CorruptEntryError: the cache was damaged; build again.
    """
    from plimsoll.oci.archive import Tagged, write_archive  # noqa: PLC0415  (start-up time)

    folder = store.scratch() / "layout"
    top = write_layout(folder, images, index, names[0])
    write_archive(Layout.open(folder), [Tagged(top, list(names))], path)
    return top


def _add_layer(layout: Layout, layer: Layer) -> None:
    digest = f"sha256:{layer.digest}"
    if layout.has_blob(digest, layer.size):
        return
    part = layout.path / f".{layer.digest}.part"
    try:
        with storage_errors(f"writing {layout.path}"):
            layer.write_to(part)
        layout.add_file(part, layer.media_type, digest=digest, move=True)
    finally:
        part.unlink(missing_ok=True)
