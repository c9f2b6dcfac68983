"""The configurations of an image, by platform, for rules that ask for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from plimsoll.oci.errors import InvalidManifestError
from plimsoll.oci.model import Manifest, parse_manifest
from plimsoll.oci.strictjson import load_object

if TYPE_CHECKING:
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry

#: Platforms of one index that are looked at; an image with more is not judged by half of it.
PLATFORM_LIMIT: Final = 32
CONFIG_LIMIT: Final = 4 << 20


async def configurations(registry: Registry, image: Reference) -> dict[str, Any]:
    """``OS/ARCH[/VARIANT]`` → configuration (OCI image spec) of an image or of each in an index.

    Args:
        registry: the client.
        image: by digest.

    Raises:
        plimsoll.oci.errors.RegistryError: it cannot be read.
        InvalidManifestError: it is no image, or has too many platforms.
    """
    descriptor, data = await registry.get_manifest(image)
    found = parse_manifest(data, descriptor.media_type, what=str(image))
    if isinstance(found, Manifest):
        return dict([await _configuration(registry, image, found)])
    members = [
        one
        for one in found.manifests
        # Attestations that builders list beside images have no platform.
        if one.platform is not None and one.platform.os not in {"", "unknown"}
    ]
    if len(members) > PLATFORM_LIMIT:
        raise InvalidManifestError(f"{image} has more than {PLATFORM_LIMIT} platforms")

    async def member(digest: str) -> tuple[str, Any]:
        place = image.with_digest(digest)
        descriptor, content = await registry.get_manifest(place)
        manifest = Manifest.parse(content, descriptor.media_type, what=str(place))
        return await _configuration(registry, place, manifest)

    return dict(await asyncio.gather(*(member(one.digest) for one in members)))


async def _configuration(
    registry: Registry, image: Reference, manifest: Manifest
) -> tuple[str, Any]:
    blob = manifest.config
    if blob.size > CONFIG_LIMIT:
        raise InvalidManifestError(f"the configuration of {image} is too large")
    content = await registry.get_blob(image, blob.digest, blob.size)
    config = load_object(content, what=f"the configuration of {image}", max_size=CONFIG_LIMIT)
    platform = [config.get("os"), config.get("architecture"), config.get("variant")]
    return "/".join(str(part) for part in platform if part), config
