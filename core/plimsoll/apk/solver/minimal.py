"""The fewest of some contradicting clauses that still contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.sat import LimitError, Sat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.apk.solver.sat import Clause

#: Contradictions allowed in one try to do without a clause.
_TRY_LIMIT = 1_000
#: More clauses than this are left as they are.
_MOST_CLAUSES = 600


def minimise(core: Sequence[Clause]) -> list[Clause]:
    """A part of ``core`` that still contradicts itself and of which nothing can be left out.

    Args:
        core: clauses with at most one negative literal beside positive ones.
    """
    # What was found last is farthest from the request: try to do without it first.
    clauses = sorted(core, key=lambda c: -max((abs(v) for v in c.literals), default=0))
    if len(clauses) > _MOST_CLAUSES:
        return clauses
    position = 0
    while position < len(clauses):
        fewer = _Trial(clauses[:position] + clauses[position + 1 :]).contradiction()
        if fewer is None:
            position += 1
        else:
            clauses = fewer
    return clauses


class _Trial:
    """Whether some clauses can all hold."""

    def __init__(self, clauses: Sequence[Clause]) -> None:
        self._clauses = clauses
        self._sat = Sat(limit=_TRY_LIMIT)
        self._always: list[list[int]] = []
        self._demands: dict[int, list[list[int]]] = {}
        self._met = 0
        self._contradictions = 0
        for _ in range(max((abs(v) for c in clauses for v in c.literals), default=0)):
            self._sat.variable()
        for place, clause in enumerate(clauses):
            self._sat.add(clause.literals, place)
            positive = [v for v in clause.literals if v > 0]
            negative = [-v for v in clause.literals if v < 0]
            if positive and negative:
                self._demands.setdefault(negative[0], []).append(positive)
            elif positive:
                self._always.append(positive)

    def contradiction(self) -> list[Clause] | None:
        """The clauses that cannot hold together; ``None`` if all can, or it is too hard to say."""
        try:
            if self._sat.solve(self._decide):
                return None
        except LimitError:
            return None
        return [self._clauses[place] for place in sorted(c.fact for c in self._sat.core)]

    def _decide(self) -> int | None:
        if self._contradictions != self._sat.contradictions:
            self._contradictions = self._sat.contradictions
            self._met = 0
        if not self._met and (literal := self._unmet(self._always)):
            return literal
        # What was met before still is: only a contradiction takes anything back.
        while self._met < len(self._sat.trail):
            if literal := self._unmet(self._demands.get(self._sat.trail[self._met], ())):
                return literal
            self._met += 1
        return None

    def _unmet(self, demands: Sequence[list[int]]) -> int | None:
        value = self._sat.value
        for positive in demands:
            if not any(value[v] for v in positive):
                # Not all can be false: that would have been met as a contradiction.
                return next(v for v in positive if value[v] is None)
        return None
