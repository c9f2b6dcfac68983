"""Whose file a path is where two packages bring it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from plimsoll.apk.version import Constraint
from plimsoll.builder.node import FileConflictError, described

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.builder.node import Installed, Node


def wins(packages: Sequence[Installed], existing: Node, newcomer: Node) -> bool:
    """Whether the newcomer's file takes the place of the existing one.

    Raises:
        FileConflictError: both own the path, and nothing says whose it is.
    """
    old = packages[existing.package].package.info
    if not old.name:
        # It lies in a base image and belongs to no package there.
        return True
    if _same(existing, newcomer):
        return False
    new = packages[newcomer.package].package.info
    if replaces(old.replaces, new.name, new.version):
        return False
    same_origin = new.origin and new.origin == old.origin
    if not same_origin and not replaces(new.replaces, old.name, old.version):
        refuse(packages, existing, newcomer)
    return True


def refuse(packages: Sequence[Installed], existing: Node, newcomer: Node) -> NoReturn:
    """Name both packages and the path.

    Raises:
        FileConflictError: always.
    """
    old = packages[existing.package].package.info
    new = packages[newcomer.package].package.info
    if existing.kind is newcomer.kind and old.name:
        what = f"packages {old.name} and {new.name} both own /{newcomer.path}, and differ"
    else:
        what = (
            f"/{newcomer.path} is {described(existing)} in {_holder(old.name)} and "
            f"{described(newcomer)} in package {new.name}"
        )
    raise FileConflictError(
        what,
        hint=f"leave one of the two out, or let {new.name} declare 'replaces: {old.name}'",
    )


def _holder(name: str) -> str:
    return f"package {name}" if name else "the base image"


def replaces(declared: Iterable[str], name: str, version: str) -> bool:
    """Whether a package with these ``replaces`` may overwrite files of the other one."""
    for text in declared:
        constraint = Constraint.read(text)
        if constraint.name == name and constraint.accepts(version):
            return True
    return False


def _same(one: Node, other: Node) -> bool:
    a, b = one.entry, other.entry
    if a is None or b is None or a.type != b.type or not a.sha1:
        return False
    return a.sha1 == b.sha1 and a.link == b.link
