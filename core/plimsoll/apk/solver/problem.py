"""The request and what it can reach, stated as clauses.

Every package that the request can reach becomes a variable, every need a clause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.facts import Asked, Forbidden, Needs, SameEverywhere
from plimsoll.apk.solver.relations import satisfies
from plimsoll.apk.solver.rivals import Rivals
from plimsoll.apk.solver.sat import MOST_CONTRADICTIONS, Sat
from plimsoll.apk.version import Constraint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.apk.solver.facts import Fact
    from plimsoll.apk.solver.relations import Candidate
    from plimsoll.apk.solver.universe import Universe


class Demand:
    """A clause in the form that decisions need: some package must fulfil ``constraint``.

    Attributes:
        options: variable → the candidate it stands for (on one of its architectures).
    """

    __slots__ = ("constraint", "options")

    def __init__(self, constraint: Constraint, options: dict[int, Candidate]) -> None:
        self.constraint = constraint
        self.options = options


class Problem:
    """One request over one architecture, or over several that must agree on what is asked for.

    Args:
        world: the normalised request.
        universes: one per architecture.
        extras: packages that must be there besides, with their universe.
        limit: most contradictions of one search.

    Attributes:
        wanted: the items of the request that are not negated: as written → as read.
        requested: what the request demands.
        demands: variable → what it demands if it is true.
    """

    def __init__(
        self,
        world: Sequence[str],
        universes: Sequence[Universe],
        extras: Sequence[tuple[Universe, Candidate]] = (),
        *,
        limit: int = MOST_CONTRADICTIONS,
    ) -> None:
        self.universes = tuple(universes)
        self.sat = Sat(self._excluded_by, limit=limit)
        self.requested: list[Demand] = []
        self.demands: dict[int, list[Demand]] = {}
        self._packages: tuple[dict[int, Candidate], ...] = tuple({} for _ in universes)
        self._found: tuple[list[tuple[int, Candidate]], ...] = tuple([] for _ in universes)
        self._variables: dict[Candidate, int] = {}
        self._place: list[int | None] = [None]
        read = {text: Constraint.parse(text) for text in world}
        self.wanted = {text: c for text, c in read.items() if not c.negated}
        self._pins = frozenset(c.pin for c in read.values()) | {""}
        for text, constraint in self.wanted.items():
            self._request(text, constraint)
        for universe, package in extras:
            self._require(universe, package)
        for place in range(len(self.universes)):
            self._explore(place)
        for text, constraint in read.items():
            if constraint.negated:
                self._forbid(text, constraint)
        self._rivals = tuple(map(Rivals, self._packages))

    def package(self, variable: int) -> Candidate | None:
        """The package a variable stands for; ``None`` for an auxiliary one."""
        place = self._place[variable]
        return None if place is None else self._packages[place][variable]

    def place(self, variable: int) -> int | None:
        """The place of its universe among ``universes``; ``None`` for an auxiliary variable."""
        return self._place[variable]

    def variable(self, package: Candidate) -> int | None:
        """The variable of a package, if the request can reach it."""
        return self._variables.get(package)

    def _request(self, text: str, constraint: Constraint) -> None:
        allowed = {"", constraint.pin}
        found = [
            {self._add(c, place): c for c in universe.matching(constraint) if c.tag in allowed}
            for place, universe in enumerate(self.universes)
        ]
        for universe, options in zip(self.universes, found, strict=True):
            self.sat.add(options, Asked(text, universe, tuple(options.values())))
        if len(found) == 1:
            self.requested.append(Demand(constraint, found[0]))
            return
        # One more variable for each package and version that all could agree on.
        agreed: dict[tuple[str, str], tuple[int, Candidate]] = {}
        for candidate in found[0].values():
            key = (candidate.name, candidate.version)
            if key not in agreed:
                agreed[key] = (self._new(None), candidate)
        for (name, version), (choice, candidate) in agreed.items():
            for universe, options in zip(self.universes, found, strict=True):
                same = {v: c for v, c in options.items() if (c.name, c.version) == (name, version)}
                fact = SameEverywhere(text, candidate, "" if same else universe.arch)
                self.sat.add((-choice, *same), fact)
                self.demands.setdefault(choice, []).append(Demand(constraint, same))
        options = dict(agreed.values())
        self.sat.add(options, SameEverywhere(text, None))
        self.requested.append(Demand(constraint, options))

    def _require(self, universe: Universe, package: Candidate) -> None:
        text = f"{package.name}={package.version}"
        options = {self._add(package, self.universes.index(universe)): package}
        self.sat.add(options, Asked(text, universe, (package,)))
        self.requested.append(Demand(Constraint.read(text), options))

    def _new(self, place: int | None) -> int:
        self._place.append(place)
        return self.sat.variable()

    def _add(self, candidate: Candidate, place: int) -> int:
        variable = self._variables.get(candidate)
        if variable is None:
            variable = self._variables[candidate] = self._new(place)
            self._packages[place][variable] = candidate
            self._found[place].append((variable, candidate))
        return variable

    def _explore(self, place: int) -> None:
        """Add the needs of every package that can be reached."""
        universe = self.universes[place]
        # Grows while it is walked.
        for variable, package in self._found[place]:
            for text, need in package.needs.items():
                if need.negated or satisfies(package, need):
                    continue
                options = {
                    self._add(c, place): c for c in universe.matching(need) if c.tag in self._pins
                }
                fact = Needs(package, text, universe, tuple(options.values()))
                self.sat.add((-variable, *options), fact)
                self.demands.setdefault(variable, []).append(Demand(need, options))

    def _forbid(self, text: str, constraint: Constraint) -> None:
        for packages in self._packages:
            for variable, package in packages.items():
                if satisfies(package, constraint):
                    self.sat.add((-variable,), Forbidden(text, package))

    def _excluded_by(self, variable: int) -> Sequence[tuple[int, Fact]]:
        place = self._place[variable]
        return () if place is None else self._rivals[place].of(variable)
