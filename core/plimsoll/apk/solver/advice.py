"""What helps where there is no solution: tried out, not guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.facts import Asked, Forbidden, Needs, OnlyTagged, SameEverywhere
from plimsoll.apk.solver.hints import listing
from plimsoll.apk.solver.minimal import minimise
from plimsoll.apk.solver.relations import satisfies
from plimsoll.apk.solver.sat import LimitError
from plimsoll.apk.solver.search import Search
from plimsoll.apk.version import Constraint, Operator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plimsoll.apk.solver.facts import Fact
    from plimsoll.apk.solver.relations import Candidate
    from plimsoll.apk.solver.sat import Clause
    from plimsoll.apk.solver.universe import Universe

#: Contradictions allowed in one try.
_TRY_LIMIT = 1_000
#: Of more items than these only the first are tried.
_MOST_ITEMS = 8


def fewest(
    world: Sequence[str], universes: Sequence[Universe], core: Sequence[Clause]
) -> list[Fact]:
    """Facts that contradict each other: none can be left out, and no item of the request either.

    Args:
        world: the normalised request.
        universes: the architectures it was tried for.
        core: clauses that contradict each other, from ``Search.core``.
    """
    facts: list[Fact] = [clause.fact for clause in minimise(core)]
    items = named(world, facts)
    if len(items) < 2:
        return facts
    for item in items[:_MOST_ITEMS]:
        # What is left out here may have hidden a shorter way to contradict the rest.
        rest = [other for other in items if other != item]
        search = Search(rest, universes, limit=_TRY_LIMIT)
        try:
            if search.solve() is None:
                return fewest(rest, universes, search.core())
        except LimitError:
            continue
    return facts


def named(world: Sequence[str], facts: Sequence[Fact]) -> list[str]:
    """The items of the request that facts speak of."""
    found = {f.text for f in facts if isinstance(f, Asked | SameEverywhere | Forbidden)}
    return [item for item in world if item in found]


def advice(world: Sequence[str], universes: Sequence[Universe], facts: Sequence[Fact]) -> str:
    """What to change about a request so that there is a solution.

    Args:
        world: the normalised request.
        universes: the architectures it was tried for.
        facts: why it has none, from ``fewest``.
    """
    items = named(world, facts)
    ways = [way for item in items[:_MOST_ITEMS] for way in _other_forms(item, world, universes)]
    ways += [_with_tag(f, world, universes) for f in facts if isinstance(f, OnlyTagged)]
    if len(world) > 1:
        spare = [i for i in items[:_MOST_ITEMS] if _solve([w for w in world if w != i], universes)]
        ways.append(f"leave out {listing(spare, 'or')}" if spare else "")
    ways += [_lack(fact) for fact in facts if isinstance(fact, Asked | Needs)]
    told = list(dict.fromkeys(filter(None, ways)))
    if told:
        return ", or ".join(told)
    if len(items) == 1:
        return f"{items[0]} cannot be had from these repositories: ask for another, or add one"
    return f"begin with {listing(items, 'or')}: there are other contradictions besides this one"


def _lack(fact: Asked | Needs) -> str:
    """Which package is missing, where that is the trouble."""
    wanted = Constraint.read(fact.text)
    if any(satisfies(c, wanted) for c in fact.universe.candidates(wanted.name)):
        return ""
    return f"add a repository that provides {wanted}"


def _other_forms(item: str, world: Sequence[str], universes: Sequence[Universe]) -> Iterator[str]:
    """The package of an item without its version, or from another repository."""
    wanted = Constraint.parse(item)
    if wanted.negated:
        return
    tags = {c.tag for u in universes for c in u.candidates(wanted.name)} - {wanted.pin}
    forms = [f"{item.partition('@')[0]}@{tag}" for tag in sorted(tags) if tag]
    if wanted.operator is not Operator.ANY:
        forms.append(f"{wanted.name}@{wanted.pin}" if wanted.pin else wanted.name)
    for form in forms:
        if found := _solve([form if other == item else other for other in world], universes):
            free = Constraint(wanted.name)
            would_be = [str(p) for packages in found for p in packages if satisfies(p, free)]
            yield f"ask for {form}, which would be {listing(would_be)}"


def _with_tag(fact: OnlyTagged, world: Sequence[str], universes: Sequence[Universe]) -> str:
    item = f"{fact.package.name}@{fact.package.tag}"
    return f"ask for {item}, too" if _solve([*world, item], universes) else ""


def _solve(world: Sequence[str], universes: Sequence[Universe]) -> list[list[Candidate]] | None:
    try:
        return Search(sorted(set(world)), universes, limit=_TRY_LIMIT).solve()
    except LimitError:
        return None
