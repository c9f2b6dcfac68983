"""The order in which the packages of a solution are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.preference import Preference
from plimsoll.apk.solver.relations import is_triggered, satisfies
from plimsoll.apk.version import Constraint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plimsoll.apk.solver.relations import Candidate
    from plimsoll.apk.solver.universe import Universe


class Layout:
    """Walks a solution as the greedy pass would: what a package needs comes before it.

    Args:
        world: the normalised request.
        packages: a solution for it.
    """

    def __init__(self, world: Sequence[str], packages: Sequence[Candidate]) -> None:
        read = map(Constraint.parse, world)
        self._wanted = [c for c in read if not c.negated]
        self._packages = packages
        self._holders: dict[str, list[Candidate]] = {}
        for package in packages:
            for name in package.claims():
                self._holders.setdefault(name, []).append(package)

    def order(self) -> list[Candidate]:
        """All packages of the solution, each once."""
        order: dict[Candidate, None] = {}
        for _, below in self.groups():
            order |= dict.fromkeys(below)
        # What is left was brought by install_if.
        for package in self._packages:
            order |= dict.fromkeys(self._below(package))
        return list(order)

    def groups(self) -> Iterator[tuple[Constraint, list[Candidate]]]:
        """Each item of the request with everything it leads to, itself last."""
        for wanted in self._wanted:
            below: dict[Candidate, None] = {}
            for package in self._fulfilling(wanted):
                below |= dict.fromkeys(self._below(package))
            yield wanted, list(below)

    def triggered(self, universe: Universe) -> Iterator[Candidate]:
        """Packages that are not here though what one item needs fulfils their ``install_if``."""
        here = {p.name for p in self._packages}
        for wanted, group in self.groups():
            tops = self._fulfilling(wanted)
            present = {p.name: p for p in group if p not in tops}
            for name in present:
                for candidate in universe.conditional_on(name):
                    if (
                        candidate.name not in here
                        and candidate not in universe.excluded
                        and candidate.tag in {"", wanted.pin}
                        and all(is_triggered(t, present) for t in candidate.entry.install_if)
                    ):
                        yield candidate

    def _fulfilling(self, wanted: Constraint) -> list[Candidate]:
        found = [p for p in self._holders.get(wanted.name, ()) if satisfies(p, wanted)]
        if len(found) > 1:
            best = Preference(wanted.name, pin=wanted.pin).best(found)
            found.sort(key=lambda package: (package is not best, package.name))
        return found

    def _below(self, top: Candidate) -> list[Candidate]:
        """Everything ``top`` leads to, children before parents."""
        order: list[Candidate] = []
        done = {top}
        stack = [(top, self._children(top))]
        while stack:
            package, children = stack[-1]
            child = next(children, None)
            if child is None:
                stack.pop()
                order.append(package)
            elif child not in done:
                done.add(child)
                stack.append((child, self._children(child)))
        return order

    def _children(self, package: Candidate) -> Iterator[Candidate]:
        found = [
            (self._fulfilling(need), text)
            for text, need in package.needs.items()
            if not need.negated and not satisfies(package, need)
        ]
        for children, _ in sorted(found, key=lambda item: (len(item[0]), item[1])):
            yield from children
