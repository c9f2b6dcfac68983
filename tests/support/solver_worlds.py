"""Small random worlds for the solver, and the rules stated a second time, as plainly as possible.

Every subset of a universe is tried, so universes are kept to a few packages.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import hypothesis.strategies as st

from plimsoll.apk.index import Index, IndexEntry
from plimsoll.apk.solver import RepositoryIndex, UnsatisfiableError, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("a", "b", "c", "d")
VIRTUAL = ("v", "w")
OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "=": lambda have, want: have == want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    "~": lambda have, want: have == want,
}


def _always(_have: int, _want: int) -> bool:
    return True


@dataclass(frozen=True)
class Item:
    """A constraint: whole numbers for versions, so that they compare as such."""

    name: str
    operator: str = ""
    version: int = 0
    negated: bool = False
    tag: str = ""

    def __str__(self) -> str:
        version = f"{self.operator}{self.version}" if self.operator else ""
        return f"{'!' * self.negated}{self.name}{version}{'@' * bool(self.tag)}{self.tag}"


@dataclass(frozen=True)
class Pkg:
    name: str
    version: int
    depends: tuple[Item, ...] = ()
    provides: tuple[Item, ...] = ()
    origin: str = ""
    priority: int = 0
    install_if: tuple[str, ...] = ()
    tag: str = ""

    def entry(self) -> IndexEntry:
        return IndexEntry(
            self.name,
            str(self.version),
            checksum=b"x" * 20,
            depends=tuple(map(str, self.depends)),
            provides=tuple(map(str, self.provides)),
            origin=self.origin,
            provider_priority=self.priority,
            install_if=self.install_if,
        )


@st.composite
def items(
    draw: st.DrawFn, names: tuple[str, ...] = NAMES + VIRTUAL, *, negated: bool = True
) -> Item:
    name = draw(st.sampled_from(names))
    operator = draw(st.sampled_from(["", "", *OPERATORS]))
    version = draw(st.integers(1, 3)) if operator else 0
    return Item(name, operator, version, negated and draw(st.integers(0, 5)) == 5)


@st.composite
def universes_of_packages(draw: st.DrawFn) -> list[Pkg]:
    """Every name in some versions, and something that provides each virtual name."""
    universe: list[Pkg] = []
    for name in NAMES:
        for version in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3, unique=True)):
            provided = draw(st.lists(st.sampled_from(VIRTUAL), max_size=2, unique=True))
            provided += draw(st.lists(st.sampled_from(NAMES), max_size=1)) * draw(st.booleans())
            with_versions = [draw(st.integers(0, 2)) for _ in provided]
            universe.append(
                Pkg(
                    name,
                    version,
                    draw(st.lists(items(), max_size=3, unique=True).map(tuple)),
                    tuple(
                        Item(virtual, "=" if number else "", number)
                        for virtual, number in zip(provided, with_versions, strict=True)
                    ),
                    draw(st.sampled_from(["", "o"])),
                    draw(st.integers(0, 1)),
                )
            )
    return universe[:8]


universes = universes_of_packages()
worlds = st.lists(items(), min_size=1, max_size=3, unique=True)


def fulfils(package: Pkg, item: Item) -> bool:
    test = OPERATORS.get(item.operator, _always)
    if package.name == item.name and test(package.version, item.version):
        return True
    named = [p for p in package.provides if p.name == item.name]
    if not named or not item.operator:
        return bool(named)
    with_version = [p for p in named if p.operator]
    if with_version:
        return any(test(p.version, item.version) for p in with_version)
    return package.name != item.name and (
        test(package.version, item.version)
        or any(test(p.version, item.version) for p in package.provides if p.operator)
    )


def holds(world: list[Item], chosen: list[Pkg]) -> bool:
    """Whether ``chosen`` is a solution."""
    for package in (None, *chosen):
        for item in world if package is None else package.depends:
            met = [p for p in chosen if fulfils(p, item)]
            if (any(p is not package for p in met)) if item.negated else not met:
                return False
    for one, other in combinations(chosen, 2):
        for name in NAMES + VIRTUAL:
            both = [versions_of(package, name) for package in (one, other)]
            if all(both) and any(map(any, both)):
                return False
    return all(tag_allowed(world, chosen, package) for package in chosen if package.tag)


def versions_of(package: Pkg, name: str) -> list[int]:
    own = [package.version] if package.name == name else []
    return own + [p.version for p in package.provides if p.name == name]


def tag_allowed(world: list[Item], chosen: list[Pkg], package: Pkg) -> bool:
    reached: list[Pkg] = []
    wanted = [i for i in world if i.tag == package.tag and not i.negated]
    while wanted:
        item = wanted.pop()
        for found in chosen:
            if found not in reached and fulfils(found, item):
                reached.append(found)
                wanted += [i for i in found.depends if not i.negated]
    return package in reached


def exists(world: list[Item], universe: list[Pkg]) -> bool:
    return any(
        holds(world, list(chosen))
        for size in range(len(universe) + 1)
        for chosen in combinations(universe, size)
    )


def repositories(universe: list[Pkg]) -> list[RepositoryIndex]:
    return [
        RepositoryIndex(
            f"https://repo/{tag}",
            Index.from_entries(p.entry() for p in universe if p.tag == tag),
            tag or None,
        )
        for tag in ("", "t")
    ]


def attempt(world: list[Item], universe: list[Pkg]) -> list[Pkg] | None:
    try:
        resolution = resolve(map(str, world), repositories(universe))
    except UnsatisfiableError:
        return None
    by_key = {(p.name, str(p.version), p.tag): p for p in universe}
    return [by_key[p.name, p.version, p.tag] for p in resolution]


def exists_tagged(world: list[Item], universe: list[Pkg]) -> bool:
    """As ``exists``; an item of the request is met only from its own tag or from none."""
    return any(
        holds(world, list(chosen))
        and all(
            any(fulfils(p, i) and p.tag in {"", i.tag} for p in chosen)
            for i in world
            if not i.negated
        )
        for size in range(len(universe) + 1)
        for chosen in combinations(universe, size)
    )
