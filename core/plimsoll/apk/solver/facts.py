"""What a clause of the complete search says, for the explanation when there is no solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plimsoll.apk.solver.relations import Candidate
    from plimsoll.apk.solver.universe import Universe


@dataclass(frozen=True, slots=True)
class Asked:
    """The request names ``text``, which any of ``candidates`` fulfils."""

    text: str
    universe: Universe
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Forbidden:
    """The request says ``!name`` and that hits ``package``."""

    text: str
    package: Candidate


@dataclass(frozen=True, slots=True)
class Needs:
    """``package`` needs ``text``, which any of ``candidates`` fulfils."""

    package: Candidate
    text: str
    universe: Universe
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Excludes:
    """Two packages cannot be together: both hold ``name``, or one says ``refuses``."""

    one: Candidate
    other: Candidate
    name: str
    refuses: str = ""


@dataclass(frozen=True, slots=True)
class SameEverywhere:
    """What fulfils ``text`` must be one version on every architecture.

    With a package: if it is that one, then everywhere; ``absent_on`` names an architecture where
    that package does not fulfil it. Without: it is one of these.
    """

    text: str
    package: Candidate | None
    absent_on: str = ""


@dataclass(frozen=True, slots=True)
class OnlyTagged:
    """``package`` of a tagged repository serves only what is asked for with that tag."""

    package: Candidate


Fact = Asked | Forbidden | Needs | Excludes | SameEverywhere | OnlyTagged
