"""What can go wrong with a Git repository."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class GitError(Error):
    """A repository cannot be had, or does not hold what was asked for."""

    reason = "GitFailed"


class GitBusyError(GitError):
    """A repository cannot be had now; the same call may succeed later."""

    retryable = True


class NotSignedError(Error):
    """A commit or tag is not signed by anybody who may."""

    reason = "NotSigned"


@asynccontextmanager
async def time_limit(seconds: float, what: str) -> AsyncIterator[None]:
    """Give up what takes too long in all, however busy a server looks.

    Raises:
        GitBusyError: it did.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise GitBusyError(f"{what} takes longer than {seconds:.0f} s", hint="try later") from None
