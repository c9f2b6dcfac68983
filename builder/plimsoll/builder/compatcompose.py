"""The steps by which the reference makes a file tree, in its order and with its side effects."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder import database, record, rootfs
from plimsoll.builder.accounts import AccountError
from plimsoll.builder.compatcertificates import add_certificates, add_checksums, add_runtime_keys
from plimsoll.builder.compatloader import add_compat_loader_cache
from plimsoll.builder.compattree import CompatTree
from plimsoll.builder.node import Node, TreeError
from plimsoll.builder.ociimage import fixed_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.api.accounts import Accounts
    from plimsoll.api.image import ImageConfiguration, Path
    from plimsoll.api.imageprocess import Entrypoint
    from plimsoll.builder.compose import Recipe

_FIRST = (
    "etc/apk/arch",
    "etc/apk/repositories",
    "etc/apk/world",
    *(f"{database.FOLDER}/{name}" for name in ("installed", "lock", "scripts.tar", "triggers")),
)
_BUSYBOX = "/bin/busybox"


def compose_compat(recipe: Recipe, created: int, build_date: int) -> CompatTree:
    """Make the file tree that the reference makes.

    Args:
        recipe: what the image is made of.
        created: creation time of the image, seconds since the epoch.
        build_date: what was asked for as its least creation time.

    Raises:
        FileConflictError: two packages own one path.
        TreeError, AccountError, CertificateError: the configuration asks for what cannot be.
    """
    config = recipe.config
    tree = CompatTree(recipe.packages)
    versions = [f"{p.info.name}={p.info.version}" for p in recipe.packages]
    # These are there before any package, and what packages bring is not taken.
    for path in (*_FIRST, *(f"etc/apk/keys/{name}" for name, _ in recipe.keys)):
        tree.forget(path)
    fixed = fixed_time()
    database.add_database(
        tree, versions, exact=True, script_time=build_date if fixed is None else fixed
    )
    rootfs.add_package_settings(tree, recipe.arch, config.contents, recipe.keys)
    contents = config.contents
    rootfs.write_repositories(
        tree, sorted([*contents.repositories, *contents.runtime_repositories])
    )
    _add_accounts(tree, config.accounts)
    config = _settled(tree, config)
    locked = record.locked(config, recipe.arch.oci, versions, recipe.annotations)
    _create(tree, record.COMPAT_PATH, record.dump(locked, exact=True), 0o444)
    _apply_paths(tree, config.paths)
    add_certificates(tree, config.certificates, created)
    add_checksums(tree, created)
    add_runtime_keys(tree, config.contents, created)
    _add_services(tree, config.entrypoint)
    _add_busybox_links(tree)
    rootfs.add_devices(tree)
    add_compat_loader_cache(tree, recipe.arch)
    return tree


def _create(tree: CompatTree, path: str, content: bytes, mode: int) -> Node:
    node = tree.write(path, content)
    tree.change(node, mode=mode)
    return node


# -- accounts ---------------------------------------------------------------------------------


def _add_accounts(tree: CompatTree, accounts: Accounts) -> None:
    """Append users and groups; every user gets a home, those of packages too."""
    if accounts.groups:
        groups = [f"{g.groupname}:x:{g.gid}:{','.join(g.members)}" for g in accounts.groups]
        tree.write("etc/group", _text([*_lines(tree, "etc/group"), *groups]))
    users = [
        f"{u.username}:x:{u.uid}:{u.uid if u.gid is None else u.gid}:Account created by apko:"
        f"{u.homedir or f'/home/{u.username}'}:{u.shell or '/bin/sh'}"
        for u in accounts.users
    ]
    lines = [*_lines(tree, "etc/passwd"), *users]
    for line in lines:
        _add_home(tree, line)
    tree.write("etc/passwd", _text(lines))
    if accounts.users:
        shadow = [f"{user.username}:!:::::::" for user in accounts.users]
        tree.write("etc/shadow", _text([*_lines(tree, "etc/shadow"), *shadow]), 0o640)


def _add_home(tree: CompatTree, line: str) -> None:
    fields = line.split(":")
    if len(fields) != 7 or not (fields[2].isdecimal() and fields[3].isdecimal()):
        raise AccountError(
            f"/etc/passwd has the line {line[:80]!r}, which is no account",
            hint="leave out --compat, or the package that brings it",
        )
    home = fields[5]
    real = tree.real(home, last=True)
    node = tree.nodes.get(real)
    if home == "/dev/null" or not real:
        return
    if node is not None:
        if node.kind is not Type.DIRECTORY:
            raise AccountError(
                f"the home {home} of user {fields[0]} is there, and is no directory",
                hint="leave out --compat, or choose another home",
            )
        return
    if above := posixpath.dirname(real):
        tree.make_all(above, 0o755)
    tree.change(tree.make_all(real, 0o700), owner=(int(fields[2]), int(fields[3])))


def _lines(tree: CompatTree, path: str) -> list[str]:
    node = tree.resolve(path)
    if node is None or node.kind is Type.DIRECTORY:
        return []
    text = tree.content(node).decode(errors="surrogateescape")
    return [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def _settled(tree: CompatTree, config: ImageConfiguration) -> ImageConfiguration:
    """The configuration with what the reference fills in before it records it."""
    accounts = config.accounts
    numbers = [line.split(":")[:3] for line in _lines(tree, "etc/passwd")]
    run_as = next((uid for name, _, uid in numbers if name == accounts.run_as), accounts.run_as)
    users = [
        user.model_copy(update={"homedir": user.homedir or f"/home/{user.username}"})
        for user in accounts.users
    ]
    entrypoint = config.entrypoint
    if entrypoint.type == "service-bundle":
        entrypoint = entrypoint.model_copy(update={"command": "/bin/s6-svscan /sv"})
    return config.model_copy(
        update={
            "accounts": accounts.model_copy(update={"run_as": run_as, "users": users}),
            "entrypoint": entrypoint,
        }
    )


# -- paths ------------------------------------------------------------------------------------


def _apply_paths(tree: CompatTree, paths: list[Path]) -> None:
    for item in paths:
        try:
            _make(tree, item)
            _change(tree, item)
        except TreeError as error:
            raise TreeError(f"path {item.path!r}: {error.message}", hint=error.hint) from None


def _make(tree: CompatTree, item: Path) -> None:
    path = item.path.strip("/")
    if item.type == "permissions":
        return
    if item.type == "directory":
        tree.make_all(path, item.permissions)
        return
    if above := posixpath.dirname(path):
        tree.make_all(above, 0o755)
    if item.type == "symlink":
        if tree.get(path) is not None:
            raise TreeError("a file is already there", hint="choose another path")
        tree.symlink(path, item.source)
    elif item.type == "hardlink":
        source = tree.resolve(item.source)
        if source is None or source.kind is Type.DIRECTORY:
            raise TreeError(
                f"its source {item.source!r} is no file of the image",
                hint="name a file that a package brings",
            )
        tree.hardlink(path, source)
    elif item.type == "file":
        tree.write(path, item.content.encode())
    elif (there := tree.resolve(path)) is None or there.entry is None:
        # Of a package's file that is made "empty", the content stays.
        tree.write(path, b"")


def _change(tree: CompatTree, item: Path) -> None:
    """Set mode and owner, of what a link leads to where it is a link."""
    owner = None
    if item.uid is not None or item.gid is not None:
        owner = (item.uid or 0, item.gid or 0)
    real = tree.real(item.path, last=True)
    # The root itself is in no layer.
    node = tree.nodes.get(real) if real else Node("", Type.DIRECTORY, 0o755)
    if node is None:
        if item.type == "symlink":
            # The reference cannot make such a link at all.
            return
        raise TreeError("there is nothing at this path", hint="create it, or correct the path")
    targets = [node]
    if item.recursive and node.kind is Type.DIRECTORY:
        found = (tree.resolve(below.path) for below in tree.children(node.path))
        targets += [target for target in found if target is not None]
    for target in targets:
        tree.change(target, mode=item.permissions, owner=owner)


# -- links and services -----------------------------------------------------------------------


def _add_services(tree: CompatTree, entrypoint: Entrypoint) -> None:
    for name, command in sorted(entrypoint.services.items()):
        tree.make_all(f"sv/{name}", 0o777)
        tree.write(f"sv/{name}/run", f"#!/bin/execlineb\n{command}\n".encode(), 0o755)


def _add_busybox_links(tree: CompatTree) -> None:
    """Links for the applets that the package lists which is, or provides, busybox."""
    if tree.resolve(_BUSYBOX) is None:
        return
    package = ""
    for info in (installed.package.info for installed in tree.packages):
        if info.name == "busybox":
            package = info.name
            break
        if any("busybox" in text for text in info.provides):
            package = info.name
    listed = tree.resolve(f"etc/busybox-paths.d/{package}") if package else None
    if listed is None or listed.kind is Type.DIRECTORY:
        return
    for path in _applets(tree.content(listed).decode(errors="replace")):
        above, name = posixpath.split(path.strip("/"))
        if above:
            tree.make_all(above, 0o755)
        if name and tree.get(path) is None:
            tree.symlink(path, _BUSYBOX)


def _applets(text: str) -> Iterator[str]:
    return (line for line in text.split("\n") if line and line != _BUSYBOX)
