"""Who is told what a build does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.builder.lock import LockedPackage


@dataclass(slots=True)
class Events:
    """Who is told what happens; every one may be called from any thread."""

    say: Callable[[str], None] = lambda _: None
    warn: Callable[[str], None] = lambda _: None
    fetched: Callable[[LockedPackage], None] = lambda _: None
    cached: Callable[[LockedPackage], None] = lambda _: None
