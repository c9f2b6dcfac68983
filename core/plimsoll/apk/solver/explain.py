"""Why there is no solution: the fewest facts that contradict each other, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.advice import advice, fewest
from plimsoll.apk.solver.facts import (
    Asked,
    Excludes,
    Forbidden,
    Needs,
    OnlyTagged,
    SameEverywhere,
)
from plimsoll.apk.solver.hints import listing, near_names, why_not
from plimsoll.apk.solver.model import PackageNotFoundError, UnsatisfiableError
from plimsoll.apk.version import Constraint, Operator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plimsoll.apk.solver.facts import Fact
    from plimsoll.apk.solver.relations import Candidate
    from plimsoll.apk.solver.sat import Clause
    from plimsoll.apk.solver.universe import Universe

#: More reasons than this are cut in the middle of the message; ``reasons`` has all.
_MOST_REASONS = 16


def explain(
    world: Sequence[str], universes: Sequence[Universe], core: Sequence[Clause]
) -> UnsatisfiableError:
    """The error that says why a request has no solution.

    Args:
        world: the normalised request.
        universes: the architectures it was tried for.
        core: clauses that contradict each other, from ``Search.core``.
    """
    facts = fewest(world, universes, core)
    where = " and ".join(u.arch for u in universes if u.arch)
    for fact in facts:
        if isinstance(fact, Asked) and not fact.candidates:
            name = Constraint.parse(fact.text).name
            if not fact.universe.candidates(name):
                urls = listing([r.url for r in fact.universe.repositories]) or "no repository"
                return PackageNotFoundError(
                    f"there is no package {name} in {urls}{f' for {where}' if where else ''}",
                    reasons=[f"nothing is called {name} or provides it"],
                    hint=near_names(name, fact.universe),
                )
    several = len(universes) > 1
    reasons = list(dict.fromkeys(_tell(_from_the_request(world, facts), several=several)))
    told = "\n- ".join(("", *_shortened(reasons)))
    return UnsatisfiableError(
        f"no packages fulfil the request{f' for {where}' if where else ''}:{told}",
        reasons=reasons,
        hint=advice(world, universes, facts),
    )


def _shortened(reasons: Sequence[str]) -> list[str]:
    if len(reasons) <= _MOST_REASONS:
        return list(reasons)
    half = _MOST_REASONS // 2
    left_out = len(reasons) - 2 * half
    return [*reasons[:half], f"({left_out} more such steps)", *reasons[-half:]]


def _from_the_request(world: Sequence[str], facts: Sequence[Fact]) -> list[Fact]:
    """The facts in the order of a walk from the request; what excludes comes last."""
    asked = [f for f in facts if isinstance(f, Asked)]
    asked.sort(key=lambda f: world.index(f.text) if f.text in world else len(world))
    needs: dict[Candidate, list[Needs]] = {}
    for fact in reversed(facts):
        if isinstance(fact, Needs):
            needs.setdefault(fact.package, []).append(fact)
    order: list[Fact] = []
    for first in asked:
        order.append(first)
        queue = list(first.candidates)
        for package in queue:
            for fact in needs.pop(package, ()):
                order.append(fact)
                queue += fact.candidates
    order += [fact for rest in needs.values() for fact in rest]
    order += [f for f in facts if isinstance(f, Forbidden)]
    order += [f for f in facts if isinstance(f, SameEverywhere)]
    order += [f for f in facts if isinstance(f, Excludes | OnlyTagged)]
    return order


def _tell(facts: Sequence[Fact], *, several: bool) -> Iterator[str]:
    """One sentence for each fact, or for facts that say the same of several versions."""
    for fact in facts:
        match fact:
            case Asked(universe=universe):
                sentence = f"the request names {fact.text}{_offer(fact)}"
                yield f"on {universe.arch} {sentence}" if several else sentence
            case Needs(universe=universe):
                sentence = f"{_needing(fact, facts)} {fact.text}{_offer(fact)}"
                yield f"on {universe.arch} {sentence}" if several else sentence
            case Excludes():
                yield _exclusion(fact)
            case _:
                yield from _condition(fact)


def _needing(fact: Needs, facts: Iterable[Fact]) -> str:
    """``a-1 needs`` or, where several versions need the same, ``versions 1 and 2 of a need``."""
    key = (fact.package.name, fact.text, fact.universe)
    versions = [
        f.package.version
        for f in facts
        if isinstance(f, Needs) and (f.package.name, f.text, f.universe) == key
    ]
    if len(versions) == 1:
        return f"{fact.package} needs"
    return f"versions {listing(versions)} of {fact.package.name} need"


def _condition(fact: Forbidden | SameEverywhere | OnlyTagged) -> Iterator[str]:
    match fact:
        case Forbidden(text, package):
            yield f"the request refuses {package} ({text})"
        case SameEverywhere(text, None):
            yield f"what fulfils {text} must be the same version on every architecture"
        case SameEverywhere(text, package, absent):
            if absent:
                yield f"on {absent} {package} does not fulfil {text}"
        case OnlyTagged(package):
            yield (
                f"{package} is of the repository tagged @{package.tag}, which serves only what "
                f"is asked for with @{package.tag}"
            )


def _offer(fact: Asked | Needs) -> str:
    """What could fulfil it, where that is not plain from its name."""
    if not fact.candidates:
        return f", but {why_not(Constraint.read(fact.text), fact.universe)}"
    wanted = Constraint.read(fact.text)
    offers = [str(c) for c in fact.candidates]
    if wanted.operator is Operator.ANY and all(c.name == wanted.name for c in fact.candidates):
        return ""
    if len(offers) == 1:
        return f" (only {offers[0]} fulfils it)"
    return f" ({listing(offers, 'or')})"


def _exclusion(fact: Excludes) -> str:
    one, other = fact.one, fact.other
    if fact.refuses:
        return f"{one} refuses {other.name} ({fact.refuses})"
    if one.name == other.name:
        return f"{one.name} can be installed in one version only"
    return f"{one.name} and {other.name} both provide {fact.name}, which only one package may"
