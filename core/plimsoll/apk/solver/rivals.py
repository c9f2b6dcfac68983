"""Which packages cannot be together, found when one of them is first tried.

Stating every pair beforehand would cost the square of the number of versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.facts import Excludes
from plimsoll.apk.solver.relations import clash, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plimsoll.apk.solver.relations import Candidate


class Rivals:
    """The exclusions among the packages of one architecture.

    Args:
        packages: variable → package.
    """

    def __init__(self, packages: Mapping[int, Candidate]) -> None:
        self._packages = packages
        self._claimants: dict[str, list[int]] = {}
        self._refusers: dict[str, list[int]] = {}
        self._known: dict[int, list[tuple[int, Excludes]]] = {}
        for variable, package in packages.items():
            for name in package.claims():
                self._claimants.setdefault(name, []).append(variable)
            for need in package.needs.values():
                if need.negated:
                    self._refusers.setdefault(need.name, []).append(variable)

    def of(self, variable: int) -> list[tuple[int, Excludes]]:
        """The variables that must be false where ``variable`` is true, and why."""
        known = self._known.get(variable)
        if known is None:
            known = self._known[variable] = list(self._find(variable))
        return known

    def _find(self, variable: int) -> Iterator[tuple[int, Excludes]]:
        package = self._packages[variable]
        held = tuple(package.claims())
        refused = (need.name for need in package.needs.values() if need.negated)
        near = dict.fromkeys(v for n in (*held, *refused) for v in self._claimants.get(n, ()))
        near |= dict.fromkeys(v for n in held for v in self._refusers.get(n, ()))
        near.pop(variable, None)
        for other in near:
            if fact := excludes(package, self._packages[other]):
                yield other, fact


def excludes(one: Candidate, other: Candidate) -> Excludes | None:
    """Why two packages cannot be together, or ``None``."""
    if name := clash(one, other):
        return Excludes(one, other, name)
    if text := refusal(one, other):
        return Excludes(one, other, "", text)
    if text := refusal(other, one):
        return Excludes(other, one, "", text)
    return None
