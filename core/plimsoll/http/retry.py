"""Trying again: exponential, jittered, and as the server wishes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from tenacity import RetryCallState

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long to try.

    Attributes:
        attempts: calls in all, the first included.
        base: upper bound of the first pause in seconds; it doubles each time.
        longest: longest pause in seconds. A server that asks for more is not waited for.
    """

    attempts: int = 5
    base: float = 0.5
    longest: float = 30.0


NO_RETRY = RetryPolicy(attempts=1)


async def retrying(
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    progressed: Callable[[], bool] = lambda: False,
) -> T:
    """Call until it succeeds, fails for good, or the policy is exhausted.

    Only an ``Error`` that says ``retryable`` is tried again; its ``retry_after`` is honoured.

    Args:
        call: made anew for every attempt.
        policy: limits.
        progressed: asked after a failure; true starts the count of attempts anew.

    Raises:
        Error: the last one.
    """
    import tenacity  # noqa: PLC0415  only programs that talk to a network pay for it

    failures = 0

    def stop(state: RetryCallState) -> bool:
        nonlocal failures
        failures = 1 if progressed() else failures + 1
        wait = _asked_wait(state)
        return failures >= policy.attempts or (wait is not None and wait > policy.longest)

    backoff = tenacity.wait_random_exponential(multiplier=policy.base, max=policy.longest)

    def pause(state: RetryCallState) -> float:
        return max(backoff(state), _asked_wait(state) or 0.0)

    retry = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_may_pass),
        stop=stop,
        wait=pause,
        before_sleep=_tell,
        reraise=True,
    )

    async def attempt() -> T:  # tenacity awaits only what is declared a coroutine function
        return await call()

    return await retry(attempt)


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header (RFC 9110 §10.2.3): seconds or a date; else ``None``."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  rare, and slow to import

    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=now.tzinfo)
    return max(0.0, (when - now).total_seconds())


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Error) and error.retryable


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _asked_wait(state: RetryCallState) -> float | None:
    value = getattr(_failure(state), "retry_after", None)
    return value if isinstance(value, float) else None


def _tell(state: RetryCallState) -> None:
    pause = state.next_action.sleep if state.next_action is not None else 0.0
    _log.info("trying again in %.1f s: %s", pause, _failure(state))
