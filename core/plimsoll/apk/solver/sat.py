"""A small clause-learning SAT solver (CDCL) that remembers why.

Variables are the numbers 1…n, literals a number or its negative. It differs from a general one in
three ways that package resolution needs: pairs that exclude each other are asked for when a
variable becomes true and never stored; the caller decides what to try next, so the first solution
found is the preferred one; and each learned clause keeps its parents, so that a contradiction
can be traced to the clauses that the caller stated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


#: Bounds the time that a hostile index can cost.
MOST_CONTRADICTIONS = 5_000


class LimitError(Exception):
    """The search met more contradictions than it was allowed."""


class Clause:
    """At least one of ``literals`` holds.

    Attributes:
        fact: what the caller says it stands for; ``None`` for a learned clause.
        parents: of a learned clause: the clauses it follows from.
    """

    __slots__ = ("fact", "literals", "parents")

    def __init__(
        self, literals: Sequence[int], fact: Any = None, parents: Sequence[Clause] = ()
    ) -> None:
        self.literals = list(literals)
        self.fact = fact
        self.parents = tuple(parents)


def _no_exclusions(_: int) -> tuple[()]:
    return ()


class Sat:
    """One problem.

    Args:
        exclusions: for a variable that has become true, the variables that must be false with
            it, each with the fact that says so.
        limit: most contradictions before ``solve`` gives up.

    Attributes:
        value: variable → true, false, or ``None`` while open. Index 0 is unused.
        trail: the literals that hold now, in the order in which they came to hold.
        contradictions: how many ``solve`` has met so far.
        core: after ``solve`` returned false: the stated clauses that contradict each other.
    """

    def __init__(
        self,
        exclusions: Callable[[int], Iterable[tuple[int, Any]]] = _no_exclusions,
        *,
        limit: int = MOST_CONTRADICTIONS,
    ) -> None:
        self.value: list[bool | None] = [None]
        self.core: list[Clause] = []
        self.trail: list[int] = []
        self.contradictions = 0
        #: Literal → whether it holds; open ones are left out.
        self._truth: dict[int, bool] = {}
        self._exclusions = exclusions
        self._limit = limit
        self._level: list[int] = [0]
        self._reason: list[Clause | None] = [None]
        self._watchers: dict[int, list[Clause]] = {}
        self._marks: list[int] = []
        self._seen = 0
        self._contradiction: Clause | None = None

    def variable(self) -> int:
        """A new variable."""
        self.value.append(None)
        self._level.append(0)
        self._reason.append(None)
        return len(self.value) - 1

    def add(self, literals: Iterable[int], fact: Any) -> None:
        """State a clause. Only before ``solve``, or after it has returned."""
        self._backtrack(0)
        clause = Clause(tuple(dict.fromkeys(literals)), fact)
        # Watched literals should not be false already: those go last.
        clause.literals.sort(key=lambda literal: self._holds(literal) is False)
        self._attach(clause)

    def solve(self, decide: Callable[[], int | None]) -> bool:
        """Look for a solution.

        Args:
            decide: the next literal to assume, of an open variable; ``None`` once every clause
                holds if all open variables are false.

        Raises:
            LimitError: too many contradictions.
        """
        allowed = self.contradictions + self._limit
        while True:
            conflict = self._contradiction or self._propagate()
            if conflict is None:
                literal = decide()
                if literal is None:
                    return True
                self._marks.append(len(self.trail))
                self._assign(literal, None)
                continue
            if not self._marks:
                self._contradiction = conflict
                self.core = self._trace(conflict)
                return False
            self.contradictions += 1
            if self.contradictions > allowed:
                raise LimitError
            learned, level = self._analyse(conflict)
            self._backtrack(level)
            self._attach(learned)

    def _holds(self, literal: int) -> bool | None:
        return self._truth.get(literal)

    def _attach(self, clause: Clause) -> None:
        """Watch two literals; the first is assigned if it is the only one left."""
        literals = clause.literals
        if not literals or self._holds(literals[0]) is False:
            self._contradiction = self._contradiction or clause
            return
        for literal in literals[:2]:
            self._watchers.setdefault(literal, []).append(clause)
        if self._holds(literals[0]) is None and (
            len(literals) == 1 or self._holds(literals[1]) is False
        ):
            self._assign(literals[0], clause)

    def _assign(self, literal: int, reason: Clause | None) -> None:
        variable = abs(literal)
        self.value[variable] = literal > 0
        self._truth[literal], self._truth[-literal] = True, False
        self._level[variable] = len(self._marks)
        self._reason[variable] = reason
        self.trail.append(literal)

    def _propagate(self) -> Clause | None:
        """Draw all consequences; returns a clause that is broken by them."""
        while self._seen < len(self.trail):
            literal = self.trail[self._seen]
            self._seen += 1
            conflict = self._propagate_clauses(-literal)
            if conflict is None and literal > 0:
                conflict = self._propagate_exclusions(literal)
            if conflict is not None:
                return conflict
        return None

    def _propagate_exclusions(self, variable: int) -> Clause | None:
        for other, fact in self._exclusions(variable):
            if self.value[other] is None:
                self._assign(-other, Clause((-other, -variable), fact))
            elif self.value[other]:
                return Clause((-other, -variable), fact)
        return None

    def _propagate_clauses(self, false: int) -> Clause | None:
        watching = self._watchers.get(false)
        if not watching:
            return None
        kept: list[Clause] = []
        holds = self._truth.get  # most of the time of a hard search is spent here
        for position, clause in enumerate(watching):
            literals = clause.literals
            if literals[0] == false and len(literals) > 1:
                literals[0], literals[1] = literals[1], literals[0]
            if holds(literals[0]):
                kept.append(clause)
                continue
            for k in range(2, len(literals)):
                if holds(literals[k]) is not False:
                    literals[1], literals[k] = literals[k], literals[1]
                    self._watchers.setdefault(literals[1], []).append(clause)
                    break
            else:
                kept.append(clause)
                if holds(literals[0]) is False:
                    self._watchers[false] = kept + watching[position + 1 :]
                    return clause
                self._assign(literals[0], clause)
        self._watchers[false] = kept
        return None

    def _analyse(self, conflict: Clause) -> tuple[Clause, int]:
        """Learn from a contradiction: the clause of the first unique implication point."""
        level = len(self._marks)
        parents: list[Clause] = [conflict]
        seen: set[int] = set()
        lower: list[int] = []
        open_here = 0
        position = len(self.trail)
        clause: Clause = conflict
        while True:
            for literal in clause.literals:
                variable = abs(literal)
                if variable in seen or self._holds(literal) is not False:
                    continue
                seen.add(variable)
                if self._level[variable] == level:
                    open_here += 1
                elif self._level[variable] > 0:
                    lower.append(literal)
                else:
                    parents += self._trace_clauses(variable)
            while True:
                position -= 1
                pivot = self.trail[position]
                if abs(pivot) in seen and self._level[abs(pivot)] == level:
                    break
            open_here -= 1
            if not open_here:
                break
            reason = self._reason[abs(pivot)]
            assert reason is not None  # noqa: S101  # only the decision has none, and it is last
            clause = reason
            parents.append(clause)
        lower.sort(key=lambda literal: -self._level[abs(literal)])
        back = self._level[abs(lower[0])] if lower else 0
        return Clause((-pivot, *lower), parents=parents), back

    def _backtrack(self, level: int) -> None:
        if len(self._marks) <= level:
            return
        for literal in self.trail[self._marks[level] :]:
            self.value[abs(literal)] = None
            del self._truth[literal], self._truth[-literal]
            self._reason[abs(literal)] = None
        del self.trail[self._marks[level] :]
        del self._marks[level:]
        self._seen = len(self.trail)

    def _trace_clauses(self, variable: int) -> list[Clause]:
        """The clauses that fix a variable before any decision."""
        found: dict[int, Clause] = {}
        queue = [variable]
        done = {variable}
        while queue:
            reason = self._reason[queue.pop()]
            if reason is None:
                continue
            found[id(reason)] = reason
            for literal in reason.literals:
                if abs(literal) not in done:
                    done.add(abs(literal))
                    queue.append(abs(literal))
        return list(found.values())

    def _trace(self, conflict: Clause) -> list[Clause]:
        """The stated clauses a contradiction without any decision follows from."""
        queue = [conflict]
        for literal in conflict.literals:
            queue += self._trace_clauses(abs(literal))
        stated: dict[int, Clause] = {}
        done: set[int] = set()
        while queue:
            clause = queue.pop()
            if id(clause) in done:
                continue
            done.add(id(clause))
            if clause.parents:
                queue += clause.parents
            else:
                stated[id(clause)] = clause
        return list(stated.values())
