"""Waiting for a condition, never for a while."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True)
class Pending:
    """Not yet; ``state`` is what was seen, for the message if time runs out."""

    state: Any

    def __bool__(self) -> bool:
        return False


def wait_until(
    what: str, check: Callable[[], T | Pending], *, seconds: float, interval: float = 0.2
) -> T:
    """Call ``check`` until it returns something else than :class:`Pending`; return that.

    Raises:
        TimeoutError: time is up; the text holds the last state.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if not isinstance(found, Pending):
            return found
        if time.monotonic() > deadline:
            state = json.dumps(found.state, indent=1, default=str)
            raise TimeoutError(f"waited {seconds:.0f} s for {what}; last seen: {state}")
        time.sleep(interval)
