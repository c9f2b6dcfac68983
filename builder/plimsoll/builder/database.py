"""The installed database of an image, written as ``apk`` would have left it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.installed import (
    InstalledFile,
    InstalledPackage,
    write_scripts,
    write_triggers,
)
from plimsoll.apk.tarfmt import Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.apk.index import IndexEntry
    from plimsoll.builder.cachedpackage import CachedPackage
    from plimsoll.builder.node import Installed
    from plimsoll.builder.tree import Tree

FOLDER = "usr/lib/apk/db"


def index_entry(package: CachedPackage) -> IndexEntry:
    """What an index would say of a package, from the package itself."""
    return package.info.index_entry(package.checksum, package.size)


def record(installed: Installed) -> InstalledPackage:
    """The package with the files that it has in the image."""
    package = installed.package
    files = tuple(
        InstalledFile(
            entry.path,
            directory=entry.kind is Type.DIRECTORY,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            sha1=bytes.fromhex(entry.sha1),
        )
        for entry in package.entries
        if entry.path not in installed.lost
    )
    return InstalledPackage(index_entry(package), files)


def add_database(
    tree: Tree,
    world: Sequence[str],
    folder: str = FOLDER,
    *,
    exact: bool = False,
    script_time: int | None = None,
) -> None:
    """Write ``installed``, ``scripts.tar``, ``triggers``, ``lock`` and ``/etc/apk/world``.

    Args:
        tree: the image, with its packages and nothing else yet.
        world: what was asked for, ``name=version`` each.
        folder: where; a base image may have it elsewhere.
        exact: write records as the reference does.
        script_time: of all scripts; that of their package where it is not given.
    """
    packages = [installed.package for installed in tree.installed]
    entries = [index_entry(package) for package in packages]
    text = "".join(record(installed).to_text(exact=exact) for installed in tree.installed)
    triggers = zip(entries, (p.info.triggers for p in packages), strict=True)
    scripts = zip(entries, (p.scripts for p in packages), strict=True)
    tree.write(f"{folder}/installed", text.encode())
    tree.write(f"{folder}/lock", b"", 0o600)
    tree.write(f"{folder}/scripts.tar", write_scripts(scripts, script_time))
    tree.write(f"{folder}/triggers", write_triggers(triggers).encode())
    tree.write("etc/apk/world", "".join(f"{item}\n" for item in sorted(world)).encode())
    if tree.real("lib", last=True) != "usr/lib" and tree.get("lib/apk") is None:
        tree.symlink("lib/apk", "../usr/lib/apk")
