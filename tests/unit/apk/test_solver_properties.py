"""Whatever the universe: a resolution keeps every rule, and is found whenever one exists."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from plimsoll.apk.solver import PackageNotFoundError, UnsatisfiableError, resolve, resolve_all
from solver_worlds import (
    NAMES,
    Item,
    Pkg,
    attempt,
    exists,
    exists_tagged,
    fulfils,
    holds,
    repositories,
    universes,
    worlds,
)


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
    turned = resolve_all(map(str, world), {a: repositories(archs[a]) for a in ("arm64", "amd64")})
    assert list(turned) == ["arm64", "amd64"]
    assert all(list(map(str, turned[arch])) == list(map(str, found[arch])) for arch in archs)


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


@given(worlds, universes, st.randoms(use_true_random=False))
def test_the_order_of_an_index_does_not_matter(world, universe, rnd):
    """Where all versions of a package have one priority, as they have in real repositories."""
    universe = [replace(p, priority=NAMES.index(p.name) % 2) for p in universe]
    chosen = attempt(world, universe)
    shuffled = attempt(world, rnd.sample(universe, len(universe)))
    assert (chosen and set(chosen)) == (shuffled and set(shuffled))


@given(worlds, universes)
def test_reasons_are_enough_and_none_too_many(world, universe):
    """What is named contradicts itself, without any one of it there is a solution."""
    try:
        resolve(map(str, world), repositories(universe))
    except PackageNotFoundError:
        return
    except UnsatisfiableError as error:
        reasons, hint = error.reasons, error.hint
    else:
        return
    named = [
        item
        for item in world
        if any(
            f"{reason} ".startswith((f"the request names {item} ", f"the request names {item},"))
            # A package may refuse the same in the same words.
            or (reason.startswith("the request") and f"({item})" in reason)
            for reason in reasons
        )
    ]
    assert not exists(named, universe)
    offered = hint.partition("leave out ")[2].partition(", or add")[0]
    for item in named:
        assert exists([i for i in named if i != item], universe)
        helps = exists([i for i in world if i != item], universe) and len(world) > 1
        assert helps == (str(item) in offered.replace(",", "").split())
    for way in hint.split(", or "):
        if way.startswith("ask for"):
            name = way.split()[2].strip(",")
            changed = [
                replace(i, operator="", version=0) if i.name == name and i in named else i
                for i in world
            ]
            assert exists(changed, universe)
