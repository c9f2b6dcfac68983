"""Which objects a policy is about: ``spec.match``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.policy import MatchResource


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label (``matchLabels`` is ``In`` with one value)."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy the condition, with the meaning of Kubernetes selectors."""
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of object, by plural name, and the labels it must have."""

    resource: str
    requirements: tuple[Requirement, ...] = ()

    def concerns(self, resource: str, labels: Mapping[str, str]) -> bool:
        """Whether an object is meant."""
        return self.resource == resource and all(r.holds(labels) for r in self.requirements)


def compile_target(match: MatchResource) -> Target:
    """Compile one entry of ``spec.match``, checked before."""
    selector = match.selector
    requirements: list[Requirement] = []
    if selector is not None:
        requirements += [
            Requirement(key, "In", frozenset({value}))
            for key, value in (selector.match_labels or {}).items()
        ]
        requirements += [
            Requirement(entry.key, entry.operator, frozenset(entry.values))
            for entry in selector.match_expressions or []
        ]
    return Target(match.resource or "", tuple(requirements))
