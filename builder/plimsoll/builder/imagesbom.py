"""The bill of materials of an image that exists, from its own database of installed packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder.layerfiles import LayerFiles, read_layers
from plimsoll.builder.ocibase import created_on
from plimsoll.builder.sbom import Subject, image_sbom
from plimsoll.builder.sbomsource import is_wanted, layer_contents

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.builder.imagesource import ImageSource
    from plimsoll.builder.sbomsource import Contents


async def image_contents(image: ImageSource, warn: Callable[[str], None]) -> Contents:
    """What is in an image.

    Args:
        image: it.
        warn: told if it has no database of installed packages.

    Raises:
        ImageSourceError, RegistryError: a layer cannot be read.
        InstalledFormatError: its database is damaged.
    """
    contents = layer_contents(await read_layers(image, LayerFiles(image.name, is_wanted)))
    if not contents.packages:
        warn(f"{image.name} has no database of APK packages; all its files belong to no package")
    return contents


async def sbom_of(
    image: ImageSource, name: str, warn: Callable[[str], None] = lambda _: None
) -> bytes:
    """The SPDX document of an image.

    Args:
        image: it.
        name: its repository, for package URLs.
        warn: told of what cannot be used.

    Raises:
        ImageSourceError, RegistryError, InstalledFormatError: it cannot be read.
        UnknownArchitectureError: it is for an architecture that APK packages do not know.
    """
    contents = await image_contents(image, warn)
    layers = [(layer.digest, layer.media_type) for layer in image.manifest.layers]
    created = created_on(image.document())
    subject = Subject(name, image.arch, image.descriptor.digest, created, layers)
    return image_sbom(contents, subject, warn)
