"""Whatever the universe: a resolution keeps every rule, and is found whenever one exists.

The rules are stated a second time here, as plainly as possible, and every subset of a small
universe is tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from plimsoll.apk.index import Index, IndexEntry
from plimsoll.apk.solver import RepositoryIndex, UnsatisfiableError, resolve, resolve_all

NAMES = ("a", "b", "c", "d")
VIRTUAL = ("v", "w")
OPERATORS = {
    "=": lambda have, want: have == want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    "~": lambda have, want: have == want,
}


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
def items(draw, names=NAMES + VIRTUAL, *, negated=True):
    name = draw(st.sampled_from(names))
    operator = draw(st.sampled_from(["", "", *OPERATORS]))
    version = draw(st.integers(1, 3)) if operator else 0
    return Item(name, operator, version, negated and draw(st.integers(0, 5)) == 5)


@st.composite
def universes(draw):
    """Every name in some versions, and something that provides each virtual name."""
    universe = []
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


universes = universes()
worlds = st.lists(items(), min_size=1, max_size=3, unique=True)


def fulfils(package: Pkg, item: Item) -> bool:
    test = OPERATORS.get(item.operator, lambda *_: True)
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


@given(worlds, universes)
def test_sound_and_complete(world, universe):
    chosen = attempt(world, universe)
    if chosen is None:
        assert not exists(world, universe)
    else:
        assert holds(world, chosen)


@given(worlds, universes, st.lists(st.booleans(), min_size=13, max_size=13))
def test_sound_and_complete_with_a_tagged_repository(world, universe, tagged):
    marks = iter(tagged)
    universe = [replace(p, tag="t" if next(marks) else "") for p in universe]
    world = [i if i.negated or not next(marks) else replace(i, tag="t") for i in world]
    chosen = attempt(world, universe)
    if chosen is None:
        assert not exists_tagged(world, universe)
    else:
        assert holds(world, chosen)


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


@given(worlds, universes, st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
def test_install_if_never_breaks_a_solution(world, universe, conditions):
    plain = attempt(world, universe)
    glue = replace(universe[0], name="glue", provides=(), install_if=tuple(conditions))
    chosen = attempt(world, [*universe, glue])
    assert (chosen is None) == (plain is None)
    if chosen is not None:
        assert holds(world, chosen)
        assert glue not in chosen or set(conditions) <= {p.name for p in chosen}


@given(worlds, universes, universes)
def test_several_architectures(world, one, other):
    """Only what both have counts, and what was asked for is the same on both."""
    common = {(p.name, p.version) for p in one} & {(p.name, p.version) for p in other}
    archs = {"amd64": one, "arm64": other}
    shared = {
        arch: [p for p in universe if (p.name, p.version) in common]
        for arch, universe in archs.items()
    }
    try:
        found = resolve_all(map(str, world), {a: repositories(u) for a, u in archs.items()})
    except UnsatisfiableError:
        assert not exists_jointly(world, shared["amd64"], shared["arm64"])
        return
    chosen = []
    for arch, universe in shared.items():
        by_key = {(p.name, str(p.version)): p for p in universe}
        chosen.append([by_key[p.name, p.version] for p in found[arch]])
        assert holds(world, chosen[-1])
    assert agree(world, *chosen)


def agree(world: list[Item], one: list[Pkg], other: list[Pkg]) -> bool:
    return all(
        {(p.name, p.version) for p in one if fulfils(p, item)}
        & {(p.name, p.version) for p in other if fulfils(p, item)}
        for item in world
        if not item.negated
    )


def exists_jointly(world: list[Item], one: list[Pkg], other: list[Pkg]) -> bool:
    solutions = [
        [
            list(chosen)
            for size in range(len(universe) + 1)
            for chosen in combinations(universe, size)
            if holds(world, list(chosen))
        ]
        for universe in (one, other)
    ]
    return any(agree(world, a, b) for a in solutions[0] for b in solutions[1])


@given(worlds, universes)
def test_same_input_same_packages_in_the_same_order(world, universe):
    assert attempt(world, universe) == attempt(list(reversed(world)), universe)


@pytest.mark.parametrize("size", [3, 30])
def test_a_long_way_back(size):
    """Only the oldest version of each package fits the next one; greedy takes the newest."""
    chain = [Pkg(f"p{n}", v, (Item(f"p{n + 1}", "=", v),)) for n in range(size) for v in (1, 2, 3)]
    end = [Pkg(f"p{size}", 1)]
    resolution = resolve(["p0"], repositories([*chain, *end]))
    assert {p.version for p in resolution} == {"1"}
    assert [p.name for p in resolution] == [f"p{n}" for n in range(size, -1, -1)]
    assert resolution.searched
