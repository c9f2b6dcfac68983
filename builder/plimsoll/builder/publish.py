"""Pushing a finished image with all its architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder.concurrently import run_all
from plimsoll.builder.output import push_image
from plimsoll.oci.digest import digest_of
from plimsoll.oci.model import OCI_INDEX

if TYPE_CHECKING:
    from collections.abc import Sequence

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
