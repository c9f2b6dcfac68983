"""Choosing packages for images on base images, whose packages are there and cannot be exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.index import Index
from plimsoll.apk.solver import RepositoryIndex, UnsatisfiableError, resolve_all
from plimsoll.apk.version import try_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from plimsoll.apk.solver import Resolution
    from plimsoll.apk.version import Version
    from plimsoll.arch import Arch
    from plimsoll.builder.basecache import Base


def resolve_on(
    bases: Mapping[Arch, Base],
    world: Sequence[str],
    indexes: Mapping[Arch, Sequence[RepositoryIndex]],
    *,
    exact: bool = False,
) -> dict[Arch, Resolution]:
    """Choose the packages of all architectures together.

    The packages of base images take part, each asked for at the version that it has.

    Args:
        bases: architecture → its base image; empty if there is none.
        world: what is asked for.
        indexes: architecture → its repositories.
        exact: as for ``resolve``.

    Raises:
        UnsatisfiableError: there is no solution, and why.
        Error: as for ``resolve_all``.
    """
    requests = {
        arch: [*world, *(f"{p.info.name}={p.info.version}" for p in bases[arch].packages)]
        if arch in bases
        else list(world)
        for arch in indexes
    }
    joint = {
        arch: [_index(bases[arch]), *own] if arch in bases else own for arch, own in indexes.items()
    }
    if len({frozenset(request) for request in requests.values()}) > 1:
        brought = {p.info.name for base in bases.values() for p in base.packages}
        return _apart(requests, joint, brought)
    request = next(iter(requests.values()), list(world))
    solved = resolve_all(request, {arch.apk: own for arch, own in joint.items()}, exact=exact)
    return {arch: solved[arch.apk] for arch in indexes}


def _index(base: Base) -> RepositoryIndex:
    return RepositoryIndex(
        base.name, Index.from_entries(base.entries, source=f"base image {base.name}")
    )


def _apart(
    requests: dict[Arch, list[str]],
    indexes: Mapping[Arch, Sequence[RepositoryIndex]],
    brought: AbstractSet[str],
) -> dict[Arch, Resolution]:
    """One architecture after the other, where their base images hold different packages.

    What comes on top has one version on all: where it would not, the lowest that was chosen is
    asked for, until nothing differs.

    Args:
        requests: what is asked for, with what the base image holds.
        indexes: repositories, that of the base image first.
        brought: names of packages of any base image.

    Raises:
        UnsatisfiableError: one has no solution, or they have none in common.
    """
    differing: dict[str, dict[Arch, str]] = {}
    while True:
        try:
            solved = {
                arch: resolve_all(request, {arch.apk: indexes[arch]})[arch.apk]
                for arch, request in requests.items()
            }
        except UnsatisfiableError as error:
            if not differing:
                raise
            raise _no_common(differing) from error
        differing = _differing(solved, brought)
        if not differing:
            return solved
        for name, versions in differing.items():
            lowest = min(versions.values(), key=_order)
            for arch in versions:
                requests[arch].append(f"{name}={lowest}")


def _differing(
    solved: Mapping[Arch, Resolution], brought: AbstractSet[str]
) -> dict[str, dict[Arch, str]]:
    """Packages with more than one version: name → architecture → version."""
    found: dict[str, dict[Arch, str]] = {}
    for arch, resolution in solved.items():
        for candidate in resolution.packages:
            if candidate.name not in brought:
                found.setdefault(candidate.name, {})[arch] = candidate.version
    return {name: own for name, own in found.items() if len(set(own.values())) > 1}


def _order(text: str) -> tuple[bool, Version | str]:
    version = try_version(text)
    return (True, version) if version is not None else (False, text)


def _no_common(differing: Mapping[str, Mapping[Arch, str]]) -> UnsatisfiableError:
    name, versions = next(iter(differing.items()))
    shown = ", ".join(f"{version} for {arch}" for arch, version in versions.items())
    return UnsatisfiableError(
        f"the base image holds different packages for different architectures, and with them "
        f"{name} has no version in common: {shown}",
        hint="build one architecture at a time with --arch, or ask for a version that fits all",
    )
