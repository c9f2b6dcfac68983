"""Which of several candidates is the best: the reference's order of preference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.version import try_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plimsoll.apk.solver.relations import Candidate

_NOTHING: dict[str, str] = {}


class Preference:
    """Compares candidates for one requested name.

    It is no total order: a name provided without a version ties with every version of it, so
    the best is found by one pass in the order given, not by sorting.

    Args:
        name: the name looked for.
        chosen: what is already chosen, by package name.
        origins: origin → version of it that is already chosen.
        pin: tag to prefer; ``""`` prefers untagged repositories.
        like: prefer its repository and its origin before all else.
    """

    __slots__ = ("chosen", "like", "name", "origins", "pin")

    def __init__(
        self,
        name: str,
        chosen: Mapping[str, Candidate] | None = None,
        origins: Mapping[str, str] = _NOTHING,
        *,
        pin: str = "",
        like: Candidate | None = None,
    ) -> None:
        self.name = name
        self.chosen = chosen or {}
        self.origins = origins
        self.pin = pin
        self.like = like

    def best(self, candidates: Iterable[Candidate]) -> Candidate:
        """The first that none after it is preferred to.

        Raises:
            StopIteration: there are no candidates.
        """
        remaining = iter(candidates)
        best = next(remaining)
        for candidate in remaining:
            if candidate is not best and self.compare(candidate, best) < 0:
                best = candidate
        return best

    def compare(self, one: Candidate, other: Candidate) -> int:
        """Negative if ``one`` is preferred, positive if ``other`` is, 0 if nothing decides."""
        if self.like is not None and (difference := self._compare_likeness(one, other, self.like)):
            return difference
        if difference := self._compare_choices(one, other):
            return difference
        mine, its = one.carries(self.name), other.carries(self.name)
        if mine and its and (difference := _newer_first(mine, its)):
            return difference
        if one.name == other.name and (difference := _newer_first(one.version, other.version)):
            return difference
        return (
            other.entry.provider_priority - one.entry.provider_priority
            or _newer_first(one.version, other.version)
            or (one.name > other.name) - (one.name < other.name)
        )

    def _compare_choices(self, one: Candidate, other: Candidate) -> int:
        return (
            self._is_chosen(other) - self._is_chosen(one)
            or self._has_origin(other) - self._has_origin(one)
            or (other.tag == self.pin) - (one.tag == self.pin)
        )

    @staticmethod
    def _compare_likeness(one: Candidate, other: Candidate, like: Candidate) -> int:
        url, origin = like.repository.url, like.entry.origin
        return ((other.repository.url == url) - (one.repository.url == url)) or (
            other.entry.origin == origin
        ) - (one.entry.origin == origin)

    def _is_chosen(self, candidate: Candidate) -> bool:
        chosen = self.chosen.get(candidate.name)
        return chosen is not None and chosen.version == candidate.version

    def _has_origin(self, candidate: Candidate) -> bool:
        origin = candidate.entry.origin
        return bool(origin) and self.origins.get(origin) == candidate.version


def _newer_first(mine: str, its: str) -> int:
    """Negative if ``mine`` is the newer version; what is no version is older than any."""
    if mine == its:
        return 0
    one, other = try_version(mine), try_version(its)
    if one is None or other is None:
        return (one is None) - (other is None)
    return (one < other) - (one > other)
