"""From verified packages to one architecture's finished image: layers, documents, SBOM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.builder import accounts
from plimsoll.builder.codec import codec_of
from plimsoll.builder.compat import compat_layers
from plimsoll.builder.compatcompose import compose_compat
from plimsoll.builder.compose import compose
from plimsoll.builder.groups import layer_groups
from plimsoll.builder.layers import make_layers
from plimsoll.builder.ocibase import BASE_DIGEST, BASE_NAME, config_on, created_on
from plimsoll.builder.ociimage import (
    CREATED,
    ArchImage,
    creation_time,
    image_config,
    image_manifest,
    source_notes,
    timestamp,
)
from plimsoll.builder.sbom import Subject, image_sbom
from plimsoll.builder.sbomsource import tree_contents
from plimsoll.oci.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.builder.compose import Recipe
    from plimsoll.builder.store import Store
    from plimsoll.builder.tree import Tree


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
    times = [package.info.build_time for package in packages]
    if recipe.base:
        times.append(created_on(recipe.base.config))
    created = creation_time(times, build_date)
    tree: Tree
    if recipe.compat:
        tree = compose_compat(recipe, created, build_date)
        layers = compat_layers(tree, config.layering, store, codec)
    else:
        tree = compose(recipe)
        below = len(tree.packages) - len(packages)
        groups = [
            [number + below for number in group]
            for group in layer_groups([p.info for p in packages], config.layering)
        ]
        layers = make_layers(tree, groups, store, codec)
    notes = {**recipe.annotations, CREATED: timestamp(created)}
    if recipe.compat:
        notes |= source_notes(config.vcs_url)
    if recipe.base:
        named = {BASE_NAME: recipe.base.public_name, BASE_DIGEST: recipe.base.digest}
        notes |= {key: text for key, text in named.items() if text}
        document = config_on(recipe.base.config, layers, created=created, labels=notes)
        layers = [*recipe.base.layers, *layers]
    else:
        document = image_config(
            config,
            recipe.arch,
            layers,
            user=accounts.run_as(tree, config.accounts),
            created=created,
            labels=notes,
            exact=recipe.compat,
        )
    manifest = image_manifest(document, layers, notes)
    base = (recipe.base.public_name, recipe.base.digest) if recipe.base else None
    subject = Subject(
        name,
        recipe.arch,
        digest_of(manifest),
        created,
        [(f"sha256:{layer.digest}", layer.media_type) for layer in layers],
        config.vcs_url,
        base,
    )
    return ArchImage(
        arch=recipe.arch,
        config=document,
        manifest=manifest,
        layers=tuple(layers),
        sbom=image_sbom(tree_contents(tree), subject, warn),
        created=created,
        packages=tuple((p.package.info.name, p.package.info.version) for p in tree.installed),
    )
