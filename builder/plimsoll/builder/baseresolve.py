"""Choosing packages for images on base images, whose packages are there and cannot be exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.index import Index
from plimsoll.apk.solver import RepositoryIndex, UnsatisfiableError, resolve_all
from plimsoll.apk.version import try_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from plimsoll.apk.records import IndexEntry
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

    The packages of base images take part: each is asked for, and no repository has another.

    Args:
        bases: architecture → its base image; empty if there is none.
        world: what is asked for.
        indexes: architecture → its repositories.
        exact: as for ``resolve``.

    Raises:
        UnsatisfiableError: there is no solution, and why.
        Error: as for ``resolve_all``.
    """
    held = {
        arch: {p.info.name: p.info.version for p in base.packages} for arch, base in bases.items()
    }
    requests = {arch: [*world, *held.get(arch, ())] for arch in indexes}
    joint = {
        arch: _on_top(bases[arch], held[arch].keys(), own) if arch in bases else own
        for arch, own in indexes.items()
    }
    try:
        if len({frozenset(own.items()) for own in held.values()}) > 1:
            return _apart(requests, joint, {name for own in held.values() for name in own})
        request = next(iter(requests.values()), list(world))
        solved = resolve_all(request, {arch.apk: own for arch, own in joint.items()}, exact=exact)
    except UnsatisfiableError as error:
        shown = {f"{name}-{version}" for own in held.values() for name, version in own.items()}
        if involved := [text for text in sorted(shown) if text in error.message]:
            error.hint = (
                f"the base image holds {', '.join(involved)}, and what it holds stays: ask for "
                "what goes with it, or take another base image"
            )
        raise
    return {arch: solved[arch.apk] for arch in indexes}


def _on_top(
    base: Base, held: AbstractSet[str], repositories: Sequence[RepositoryIndex]
) -> list[RepositoryIndex]:
    """The repositories, without what the base image holds, behind the base image."""
    index = Index.from_entries(base.entries, source=f"base image {base.name}")
    rest = (RepositoryIndex(r.url, _Rest(r.index, held), r.tag) for r in repositories)
    return [RepositoryIndex(base.name, index), *rest]


class _Rest(Index):
    """An index without some packages: a base image holds others of these names."""

    def __init__(self, index: Index, held: AbstractSet[str]) -> None:
        super().__init__(b"", source=index.source, description=index.description)
        self._index = index
        self._held = held

    def names(self) -> list[str]:
        return [name for name in self._index.names() if name not in self._held]

    def named(self, name: str) -> list[IndexEntry]:
        return [] if name in self._held else self._index.named(name)

    def providers(self, name: str) -> list[IndexEntry]:
        return self._others(self._index.providers(name))

    def provided_names(self) -> list[str]:
        return self._index.provided_names()

    def conditional_on(self, name: str) -> list[IndexEntry]:
        return self._others(self._index.conditional_on(name))

    def _others(self, entries: list[IndexEntry]) -> list[IndexEntry]:
        return [entry for entry in entries if entry.name not in self._held]


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
