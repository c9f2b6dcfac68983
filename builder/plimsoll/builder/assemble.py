"""From verified packages to one architecture's finished image: layers, documents, SBOM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder import accounts
from plimsoll.builder.codec import codec_of
from plimsoll.builder.compat import compat_layer
from plimsoll.builder.compose import compose
from plimsoll.builder.groups import layer_groups
from plimsoll.builder.layers import make_layers
from plimsoll.builder.ociimage import (
    CREATED,
    ArchImage,
    creation_time,
    image_config,
    image_manifest,
    timestamp,
)
from plimsoll.builder.sbom import Subject, image_sbom
from plimsoll.oci.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.builder.compose import Recipe
    from plimsoll.builder.store import Store


def assemble(
    recipe: Recipe, store: Store, name: str, build_date: int, warn: Callable[[str], None]
) -> ArchImage:
    """Make the image.

    Args:
        recipe: what it is made of.
        store: where segments are kept.
        name: repository of the image, for its SBOM.
        build_date: least creation time, seconds since the epoch.
        warn: told what a person should look at.

    Raises:
        Error: the configuration cannot be fulfilled with these packages.
        CorruptEntryError: the cache was damaged; build again.
    """
    config, packages = recipe.config, recipe.packages
    codec = codec_of(config.compression)
    tree = compose(recipe)
    if recipe.compat:
        layers = [compat_layer(tree, store, codec)]
    else:
        groups = layer_groups([p.info for p in packages], config.layering)
        layers = make_layers(tree, groups, store, codec)
    created = creation_time((package.info.build_time for package in packages), build_date)
    notes = {**recipe.annotations, CREATED: timestamp(created)}
    document = image_config(
        config,
        recipe.arch,
        layers,
        user=accounts.run_as(tree, config.accounts),
        created=created,
        labels=notes,
    )
    manifest = image_manifest(document, layers, notes)
    subject = Subject(name, recipe.arch, digest_of(manifest), created, layers, config.vcs_url)
    return ArchImage(
        arch=recipe.arch,
        config=document,
        manifest=manifest,
        layers=tuple(layers),
        sbom=image_sbom(tree, subject, warn),
        created=created,
        packages=tuple((p.info.name, p.info.version) for p in packages),
    )
