"""Pushing finished images to a registry."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plimsoll.builder.concurrently import run_all
from plimsoll.builder.store import storage_errors
from plimsoll.oci.digest import digest_of
from plimsoll.oci.model import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.builder.layer import Layer
    from plimsoll.builder.ociimage import ArchImage
    from plimsoll.builder.store import Store
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry


async def push_all(
    registry: Registry,
    references: Sequence[Reference],
    images: Sequence[ArchImage],
    index: bytes,
    store: Store,
) -> None:
    """Push layers and images side by side, then the index by digest, then the tags.

    Args:
        registry: the client.
        references: where to; each may have a tag.
        images: of all architectures.
        index: the document over them.
        store: for temporary files.

    Raises:
        RegistryError: the registry does not take it.
        CorruptEntryError: the cache was damaged; build again.
    """
    digest = digest_of(index)
    for repository in dict.fromkeys(r.with_digest(digest) for r in references):
        await run_all(push_image(registry, repository, image, store) for image in images)
        await registry.push_manifest(repository, index, OCI_INDEX)
    for reference in references:
        tagged = reference if reference.tag else reference.with_tag("latest")
        await registry.push_manifest(tagged, index, OCI_INDEX)


async def push_image(
    registry: Registry, repository: Reference, image: ArchImage, store: Store
) -> Descriptor:
    """Push one architecture's image by digest; what the registry has is not even read here.

    Raises:
        RegistryError: the registry does not take it.
        CorruptEntryError: the cache was damaged; build again.
    """
    await run_all(
        [
            registry.push_blob(repository, image.config, OCI_CONFIG),
            *(_push_layer(registry, repository, layer, store) for layer in image.layers),
        ]
    )
    target = repository.with_digest(digest_of(image.manifest))
    return await registry.push_manifest(target, image.manifest, OCI_MANIFEST)


async def _push_layer(
    registry: Registry, repository: Reference, layer: Layer, store: Store
) -> Descriptor | None:
    digest = f"sha256:{layer.digest}"
    if await registry.blob_size(repository, digest) is not None:
        return None
    part = store.scratch() / "layer"
    try:
        with storage_errors("preparing a layer for upload"):
            await asyncio.to_thread(layer.write_to, part)
        return await registry.push_blob(repository, part, layer.media_type, digest=digest)
    finally:
        part.unlink(missing_ok=True)
