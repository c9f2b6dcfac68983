"""What an image holds beside its packages: directories, accounts, keys, links, paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.node import FileConflictError, Node, TreeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.api.image import Path
    from plimsoll.api.imagecontents import Contents
    from plimsoll.api.imageprocess import Entrypoint
    from plimsoll.arch import Arch
    from plimsoll.builder.tree import Tree

_DIRECTORIES = (
    ("dev", 0o755),
    ("etc/apk/keys", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("tmp", 0o1777),
    ("usr/lib/apk/db", 0o755),
    ("usr/lib/apk/exec", 0o755),
    ("var/cache/apk", 0o755),
    ("var/cache/misc", 0o755),
)
_DEVICES = (
    ("zero", 1, 5, 0o666),
    ("urandom", 1, 9, 0o666),
    ("null", 1, 3, 0o666),
    ("random", 1, 8, 0o666),
    ("console", 5, 1, 0o620),
)
_OS_RELEASE = b"""NAME="Plimsoll image"
ID=plimsoll
PRETTY_NAME="Plimsoll image"
"""


def add_directories(tree: Tree) -> None:
    """The directories every image has, where no package brings them."""
    for path, mode in _DIRECTORIES:
        tree.directory(path, mode)


def add_devices(tree: Tree) -> None:
    """Device nodes, which the reference puts into every image (runtimes bring their own)."""
    for name, major, minor, mode in _DEVICES:
        tree.device(f"dev/{name}", major, minor, mode)


def add_package_settings(
    tree: Tree,
    arch: Arch,
    contents: Contents,
    keys: Iterable[tuple[str, str]],
    *,
    keep: bool = False,
) -> None:
    """What ``apk`` needs to go on in a running container: arch, repositories, keys.

    Args:
        tree: the image.
        arch: its architecture.
        contents: repositories.
        keys: (name, PEM) of the build's keyring.
        keep: the repositories that a base image names there.
    """
    tree.write("etc/apk/arch", f"{arch.apk}\n".encode())
    repositories = [
        *_repositories(tree, keep=keep),
        *contents.repositories,
        *contents.runtime_repositories,
    ]
    write_repositories(tree, repositories)
    for name, pem in keys:
        tree.write(f"etc/apk/keys/{name}", pem.encode())


def write_repositories(tree: Tree, repositories: Iterable[str]) -> None:
    """Write ``/etc/apk/repositories``."""
    # apk cannot read what lies in a registry; a PackageRepo has an HTTP view for that.
    lines = dict.fromkeys(text.strip().rstrip("/") for text in repositories if "oci://" not in text)
    tree.write("etc/apk/repositories", "".join(f"{line}\n" for line in lines).encode())


def _repositories(tree: Tree, *, keep: bool) -> list[str]:
    known = tree.resolve("etc/apk/repositories") if keep else None
    return tree.content(known).decode(errors="replace").splitlines() if known is not None else []


def add_runtime_keys(tree: Tree, contents: Contents) -> None:
    """Keys that the image trusts when it runs and the build did not.

    Raises:
        FileConflictError: one has the name of a key that is there already.
    """
    for key in contents.runtime_keyring:
        tree.write(runtime_key_path(tree, key.name), key.content.encode())


def runtime_key_path(tree: Tree, name: str) -> str:
    """Where a key that the image trusts when it runs goes.

    Raises:
        FileConflictError: there is a key of that name already.
    """
    path = f"etc/apk/keys/{name}"
    if tree.resolve(path) is not None:
        raise FileConflictError(
            f"runtime keyring entry {name!r}: /{path} is already in the image",
            hint="give the key another name, or leave it out if it is the same",
        )
    return path


def add_os_release(tree: Tree) -> None:
    """An ``/etc/os-release`` for images whose packages bring none."""
    if tree.resolve("etc/os-release") is None:
        tree.write("etc/os-release", _OS_RELEASE)


def add_services(tree: Tree, entrypoint: Entrypoint) -> None:
    """One folder per supervised service."""
    for name, command in sorted(entrypoint.services.items()):
        tree.write(f"sv/{name}/run", f"#!/bin/execlineb\n{command}\n".encode(), 0o755)


def add_busybox_links(tree: Tree) -> None:
    """Links for every applet, where busybox is and no other file is in the way.

    Raises:
        TreeError: a list of applets names what can be no path.
    """
    if tree.resolve("bin/busybox") is None:
        return
    for item in sorted(tree.children("etc/busybox-paths.d"), key=lambda n: n.path):
        node = tree.resolve(item.path)
        if node is None or node.kind not in {Type.FILE, Type.HARDLINK}:
            continue
        for line in tree.content(node).decode(errors="replace").split():
            path = line.strip("/")
            if not path.isprintable() or "\N{REPLACEMENT CHARACTER}" in path:
                raise TreeError(
                    f"/{item.path} names {line[:80]!r}, which can be no path",
                    hint="leave the package out that brings it, or report it to those who made it",
                )
            if path and tree.get(path) is None:
                tree.symlink(path, "/bin/busybox")


def apply_paths(tree: Tree, paths: Sequence[Path]) -> None:
    """Make the configuration's changes to the tree, in order.

    Raises:
        TreeError: one cannot be made.
    """
    for item in paths:
        try:
            _apply(tree, item)
        except TreeError as error:
            raise TreeError(f"path {item.path!r}: {error.message}", hint=error.hint) from None


def _apply(tree: Tree, item: Path) -> None:
    path = item.path.strip("/")
    owner = None
    if item.uid is not None or item.gid is not None:
        owner = (item.uid or 0, item.gid or 0)
    if item.type == "symlink":
        if (existing := tree.get(path)) is not None and existing.kind is not Type.SYMLINK:
            raise TreeError("a file is already there", hint="choose another path")
        tree.symlink(path, item.source, *(owner or (0, 0)))
        return
    if item.type == "directory":
        node = tree.directory(path)
    elif item.type == "permissions":
        node = _existing(tree, path)
    elif item.type == "hardlink":
        node = _second_file(tree, path, item.source)
    else:
        node = tree.write(path, item.content.encode())
    targets = [node]
    if item.recursive and item.type in {"directory", "permissions"}:
        targets += [n for n in tree.children(node.path) if n.kind is not Type.SYMLINK]
    for target in targets:
        tree.change(target, mode=item.permissions, owner=owner)


def _existing(tree: Tree, path: str) -> Node:
    if not tree.real(path, last=True):
        # No layer has an entry for the root itself, but it may be meant with all that is below.
        return tree.directory(path)
    node = tree.resolve(path)
    if node is None:
        raise TreeError("there is nothing at this path", hint="create it, or correct the path")
    return node


def _second_file(tree: Tree, path: str, source: str) -> Node:
    """A copy: a change of owner or mode must not reach the file it was made from."""
    node = tree.resolve(source)
    if node is None or node.kind is Type.DIRECTORY:
        raise TreeError(
            f"its source {source!r} is no file of the image",
            hint="name a file that a package brings",
        )
    if tree.get(path) is not None:
        raise TreeError("a file is already there", hint="choose another path")
    held = tree.held(node)
    # What is in the cache stays there, however large it is; files of base images are not.
    cached = held is not None and held[0].segment.size > 0
    content = b"" if cached else tree.content(node)
    made = tree.write(path, content, node.mode, node.uid, node.gid)
    if held is not None and cached:
        made.source = (node.source[0] if node.source else node.package, held[1])
    made.attributes = node.attributes if node.entry is None else node.entry.pax()
    return made
