"""From packages and a configuration to the finished file tree of one architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.builder import accounts, certificates, database, ldcache, record, rootfs, sysusers
from plimsoll.builder.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.arch import Arch
    from plimsoll.builder.basecache import Base
    from plimsoll.builder.cachedpackage import CachedPackage


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one architecture's image is made of.

    Attributes:
        config: the configuration, its includes resolved.
        annotations: all annotations of the image.
        keys: (name, PEM) of the build's keyring, which the image gets too.
        compat: for ``compose_compat``: the tree that the reference makes.
        base: what the image is built on.
    """

    arch: Arch
    config: ImageConfiguration
    packages: Sequence[CachedPackage]
    annotations: dict[str, str]
    keys: Sequence[tuple[str, str]] = ()
    compat: bool = False
    base: Base | None = None


def compose(recipe: Recipe) -> Tree:
    """Make the file tree.

    Raises:
        FileConflictError: two packages own one path.
        TreeError, AccountError, CertificateError: the configuration asks for what cannot be.
    """
    base = recipe.base
    below = [base.others, *base.packages] if base else []
    packages = [*below, *recipe.packages]
    config = record.public(recipe.config)
    tree = Tree(packages)
    versions = [f"{p.info.name}={p.info.version}" for p in packages if p.info.name]
    database.add_database(tree, versions, base.folder if base else database.FOLDER)
    rootfs.add_directories(tree)
    rootfs.add_package_settings(
        tree, recipe.arch, config.contents, recipe.keys, keep=base is not None
    )
    accounts.add_accounts(tree, config.accounts)
    sysusers.add_declared(tree)
    locked = record.locked(config, recipe.arch.oci, versions, recipe.annotations)
    tree.write(record.PATH, record.dump(locked), 0o444)
    rootfs.add_os_release(tree)
    rootfs.apply_paths(tree, config.paths)
    accounts.check_run_as(tree, config.accounts)
    certificates.add_certificates(tree, config.certificates)
    rootfs.add_runtime_keys(tree, config.contents)
    rootfs.add_services(tree, config.entrypoint)
    rootfs.add_busybox_links(tree)
    ldcache.add_loader_cache(tree, recipe.arch)
    return tree
