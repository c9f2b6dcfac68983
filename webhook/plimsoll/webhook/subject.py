"""An image that is being looked at, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plimsoll.oci.reference import Reference
    from plimsoll.webhook.access import Access
    from plimsoll.webhook.evaluate import PolicyVerdict
    from plimsoll.webhook.policies import CompiledPolicy, Format

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which evidence to read: what can make a difference to some policy."""

    formats: frozenset[Format]
    predicate_types: frozenset[str]

    @classmethod
    def by(cls, policies: Iterable[CompiledPolicy]) -> Wanted:
        """What these policies want together, so that evidence is read once for all of them."""
        every = list(policies)
        return cls(
            frozenset().union(*(policy.formats for policy in every)),
            frozenset().union(*(policy.predicate_types for policy in every)),
        )


@dataclass(slots=True)
class Stage:
    """What is being waited for, so that a missed deadline can name it."""

    what: str = "the webhook itself"


@dataclass(frozen=True, slots=True)
class Subject:
    """An image that is being looked at."""

    reference: Reference
    digest: str
    access: Access
    wanted: Wanted
    about: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    """The Kubernetes object that names it."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts on one image."""

    image: str
    """As written, with the digest it stands for."""

    digest: str
    verdicts: tuple[PolicyVerdict, ...]
