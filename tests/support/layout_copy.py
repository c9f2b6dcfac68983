"""Images from a layout into a registry, and back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plimsoll.oci.errors import InvalidManifestError
from plimsoll.oci.model import INDEX_TYPES, MANIFEST_TYPES, Descriptor, Index, parse_manifest
from plimsoll.oci.parallel import together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.oci.layout import Layout
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry

_MANIFESTS = frozenset({*INDEX_TYPES, *MANIFEST_TYPES})
_MAX_DEPTH = 8


async def push_layout(
    registry: Registry,
    layout: Layout,
    top: Descriptor,
    ref: Reference,
    *,
    mount_from: Sequence[str] = (),
) -> Descriptor:
    """Push an image or index with everything it consists of, blobs in parallel.

    Args:
        registry: the client; its ``concurrency`` bounds the uploads.
        layout: where the blobs are.
        top: manifest or index in the layout.
        ref: the repository; ``top`` gets its tag, if it has one and no digest.
        mount_from: other repositories of this registry that may have the blobs.

    Raises:
        LayoutError: a blob is missing.
        RegistryError: the registry does not take it.
    """
    items = await asyncio.to_thread(layout.blobs_of, top)
    await together(
        registry.push_blob(
            ref, layout.blob_path(item.digest), digest=item.digest, mount_from=mount_from
        )
        for item in items
        if item.media_type not in _MANIFESTS
    )
    for item in items:
        if item.media_type in _MANIFESTS:
            data = await asyncio.to_thread(layout.read_blob, item.digest)
            is_top = item.digest == top.digest and ref.tag is not None and ref.digest is None
            target = ref if is_top else ref.with_digest(item.digest)
            await registry.push_manifest(target, data, item.media_type)
    return top


async def pull_layout(
    registry: Registry, ref: Reference, layout: Layout, *, max_blob: int = 16 << 30
) -> Descriptor:
    """Save an image or index with everything it consists of; what is there is not read again.

    Raises:
        RegistryError: the registry does not give it, or gives other bytes.
        InvalidManifestError: a manifest is invalid, nested too deeply, or names a blob over
            ``max_blob`` bytes.
        LayoutError: it cannot be written.
    """
    top, data = await registry.get_manifest(ref)
    await _pull(registry, ref, layout, top, data, (max_blob, 0))
    return top


async def _pull(
    registry: Registry,
    ref: Reference,
    layout: Layout,
    item: Descriptor,
    data: bytes,
    limits: tuple[int, int],
) -> None:
    max_blob, depth = limits
    if depth > _MAX_DEPTH:
        raise InvalidManifestError(f"{ref} is nested more than {_MAX_DEPTH} levels deep")
    document = parse_manifest(data, item.media_type, what=f"{ref.name}@{item.digest}")
    if isinstance(document, Index):
        for member in document.manifests:
            found, content = await registry.get_manifest(ref.with_digest(member.digest))
            await _pull(registry, ref, layout, found, content, (max_blob, depth + 1))
    else:
        parts = {part.digest: part for part in (*document.layers, document.config)}
        for part in parts.values():
            if part.size > max_blob:
                raise InvalidManifestError(
                    f"the blob {part.digest} of {ref.name} has {part.size} bytes, "
                    f"more than {max_blob} allowed"
                )
        missing = [p for p in parts.values() if not layout.has_blob(p.digest, p.size)]
        await together(
            registry.download_blob(ref, p.digest, layout.new_blob_path(p.digest), size=p.size)
            for p in missing
        )
    await asyncio.to_thread(layout.add_bytes, data, item.media_type)
