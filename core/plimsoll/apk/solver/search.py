"""The complete search: finds a solution whenever there is one.

What to try next follows the same walk and the same preferences as the greedy pass, so a solution
differs from the greedy choices only where these contradict each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.facts import OnlyTagged
from plimsoll.apk.solver.preference import Preference
from plimsoll.apk.solver.problem import Problem
from plimsoll.apk.solver.sat import MOST_CONTRADICTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plimsoll.apk.solver.problem import Demand
    from plimsoll.apk.solver.relations import Candidate
    from plimsoll.apk.solver.sat import Clause
    from plimsoll.apk.solver.universe import Universe


class Search:
    """The search for one request.

    Args:
        world: the normalised request.
        universes: one per architecture; several must agree on what is asked for.
        extras: packages that must be there besides, with their universe.
        limit: most contradictions before ``solve`` gives up.
    """

    def __init__(
        self,
        world: Sequence[str],
        universes: Sequence[Universe],
        extras: Sequence[tuple[Universe, Candidate]] = (),
        *,
        limit: int = MOST_CONTRADICTIONS,
    ) -> None:
        self._problem = Problem(world, universes, extras, limit=limit)
        self._extras = extras

    def solve(self) -> list[list[Candidate]] | None:
        """The chosen packages of each universe, or ``None`` if there is no solution.

        Raises:
            LimitError: the problem is harder than the search is allowed to try.
        """
        while self._problem.sat.solve(self._decide):
            chosen = self._chosen()
            barred = [
                barred
                for place, packages in enumerate(chosen)
                for barred in self._bar_stray_tags(place, packages)
            ]
            if not barred:
                return chosen
            for literals, package in barred:
                self._problem.sat.add(literals, OnlyTagged(package))
        return None

    def core(self) -> list[Clause]:
        """After ``solve`` returned ``None``: clauses that contradict each other."""
        return self._problem.sat.core

    def _decide(self) -> int | None:
        """The preferred candidate for the next demand that nothing fulfils yet."""
        value = self._problem.sat.value
        unmet = [
            (sum(value[v] is None for v in demand.options), place)
            for place, demand in enumerate(self._problem.requested)
            if not any(value[v] for v in demand.options)
        ]
        if unmet:
            return self._best(self._problem.requested[min(unmet)[1]], {})
        chosen: dict[str, Candidate] = {}
        for _, demand in self._walk(chosen):
            if not any(value[v] for v in demand.options):
                return self._best(demand, chosen)
        return None

    def _best(self, demand: Demand, chosen: dict[str, Candidate]) -> int:
        value = self._problem.sat.value
        left = {c: v for v, c in demand.options.items() if value[v] is None}
        origins = {c.entry.origin: c.version for c in chosen.values() if c.entry.origin}
        wanted = demand.constraint
        return left[Preference(wanted.name, chosen, origins, pin=wanted.pin).best(left)]

    def _walk(self, chosen: dict[str, Candidate]) -> Iterator[tuple[int, Demand]]:
        """Depth first through what is true and asked for: each variable's demands.

        Packages on the way are put into ``chosen``.
        """
        value = self._problem.sat.value
        done: set[int] = set()
        for requested in self._problem.requested:
            stack = [v for v in requested.options if value[v]]
            while stack:
                variable = stack.pop()
                if variable in done:
                    continue
                done.add(variable)
                if package := self._problem.package(variable):
                    chosen[package.name] = package
                for demand in self._problem.demands.get(variable, ()):
                    yield variable, demand
                    stack += [v for v in demand.options if value[v]]

    def _chosen(self) -> list[list[Candidate]]:
        """What is true and asked for, per universe; true by chance is left out."""
        value = self._problem.sat.value
        true = {v for demand in self._problem.requested for v in demand.options if value[v]}
        for _, demand in self._walk({}):
            true.update(v for v in demand.options if value[v])
        found: list[list[Candidate]] = [[] for _ in self._problem.universes]
        for variable in sorted(true):
            place, package = self._problem.place(variable), self._problem.package(variable)
            if place is not None and package is not None:
                found[place].append(package)
        return found

    def _bar_stray_tags(
        self, place: int, packages: list[Candidate]
    ) -> Iterator[tuple[list[int], Candidate]]:
        """Clauses against packages of a tagged repository that no ``@tag`` item leads to.

        Such a package may come back only with one that would extend what the tag reaches.
        """
        for tag in sorted({p.tag for p in packages if p.tag}):
            inside, border = self._tag_reach(place, frozenset(packages), tag)
            for package in packages:
                variable = self._problem.variable(package)
                if package.tag == tag and package not in inside and variable is not None:
                    yield [-variable, *border], package

    def _tag_reach(
        self, place: int, packages: frozenset[Candidate], tag: str
    ) -> tuple[set[Candidate], list[int]]:
        """What ``@tag`` items reach in a solution, and the variables that would extend it."""
        universe = self._problem.universes[place]
        starts = [c for u, c in self._extras if u is universe and c.tag == tag]
        for wanted in self._problem.wanted.values():
            if wanted.pin == tag:
                starts += universe.matching(wanted)
        stack = [v for v in map(self._problem.variable, starts) if v is not None]
        inside: set[Candidate] = set()
        border: dict[int, None] = {}
        while stack:
            variable = stack.pop()
            package = self._problem.package(variable)
            if package is None or package in inside:
                continue
            if package not in packages:
                border[variable] = None
                continue
            inside.add(package)
            for demand in self._problem.demands.get(variable, ()):
                stack += demand.options
        return inside, list(border)
