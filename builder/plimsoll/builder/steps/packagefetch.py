"""Getting the output of a build from its outbox: bounded in size and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plimsoll.builder.steps.packageunpack import Limits, OutputError
from plimsoll.http import Http, HttpError, RetryPolicy, Timeouts

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds that fetching may take.
PATIENCE = 1800
_NO_PROXY = {"no_proxy": "*"}


async def fetch_output(
    url: str, token: str, path: Path, *, limits: Limits | None = None, patience: float = PATIENCE
) -> None:
    """Save what an outbox serves.

    Raises:
        OutputError: it is too large or too slow, or the outbox says that it cannot be had.
        HttpError: the outbox cannot be reached.
    """
    most = (limits or Limits()).size
    try:
        async with _client() as http, asyncio.timeout(patience):
            await _require(http, f"{url.rstrip('/')}/{token}", path, most)
    except TimeoutError:
        raise OutputError(f"the output of the build did not come within {patience:.0f} s") from None


async def _require(http: Http, place: str, path: Path, most: int) -> None:
    from plimsoll.http import TooLargeError  # noqa: PLC0415  (one use)

    try:
        await http.download(place, path, max_size=most)
    except TooLargeError:
        raise OutputError(
            f"the build left more than {most} bytes", hint="split the package"
        ) from None
    except HttpError as error:
        # The message must not show the token.
        if error.status == 422:
            answer = await http.fetch("GET", place, max_size=4096)
            text = answer.body.decode(errors="replace").strip()
            raise OutputError(f"the output of the build cannot be packed: {text[:300]}") from None
        raise OutboxUnavailableError(
            f"the outbox of the build did not answer as it must ({error.status or 'no answer'})",
            retryable=not error.status,
        ) from None


class OutboxUnavailableError(HttpError):
    """An outbox that cannot be asked."""

    reason = "OutboxUnavailable"


async def delete_output(url: str, token: str) -> None:
    """Let an outbox end.

    Raises:
        HttpError: it cannot be reached.
    """
    async with _client() as http:
        await http.fetch("DELETE", f"{url.rstrip('/')}/{token}", max_size=4096)


def _client() -> Http:
    # The address is that of a Pod, given by the operator; no proxy knows the way there.
    return Http(
        environ=_NO_PROXY,
        retry=RetryPolicy(attempts=3),
        timeouts=Timeouts(total=PATIENCE, idle=120),
    )
