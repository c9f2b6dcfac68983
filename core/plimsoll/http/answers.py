"""What comes back from a server, and how long and how much it may be."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from plimsoll.http.errors import HttpError, TooLargeError, public_url
from plimsoll.http.retry import retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aiohttp

PROXY_LOGIN = "the proxy wants a login, or another: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a server may take, in seconds.

    Attributes:
        connect: to accept a connection, TLS included.
        idle: between two pieces of an answer, and before the first.
        total: for a whole exchange, to which ``size / min_rate`` is added where much is moved.
        min_rate: bytes per second below which a transfer counts as stuck, after ``total``.
    """

    connect: float = 10.0
    idle: float = 60.0
    total: float = 120.0
    min_rate: int = 32 << 10

    def for_size(self, size: int) -> float:
        """Seconds in which so many bytes must have been moved."""
        return self.total + size / self.min_rate


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer, its body within the limit that was asked for."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive."""
    body: bytes = field(repr=False)
    url: str = field(repr=False)
    """Where the answer came from, after redirects."""

    @property
    def etag(self) -> str | None:
        """The entity tag, to ask again with."""
        return self.headers.get("ETag")


@dataclass(frozen=True, slots=True)
class NotModified:
    """The server still has what the ``etag`` or date names."""

    etag: str | None


@asynccontextmanager
async def paced(response: aiohttp.ClientResponse, timeouts: Timeouts) -> AsyncIterator[None]:
    """Give up on a body that comes drop by drop, however large it may be.

    Raises:
        TimeoutError: fewer bytes came than ``timeouts`` ask for in the time that passed.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(None) as limit:

        def look() -> None:
            due = started + timeouts.for_size(response.content.total_bytes)
            if loop.time() < due:
                timers[0] = loop.call_at(due, look)
            else:
                limit.reschedule(loop.time())

        timers = [loop.call_at(started + timeouts.total, look)]
        try:
            yield
        finally:
            timers[0].cancel()


def require_status(response: aiohttp.ClientResponse, allowed: set[int]) -> None:
    """Raise ``HttpError`` with what the status means, unless it is one of ``allowed``."""
    if response.status in allowed:
        return
    where = public_url(str(response.url))
    hints = {
        401: "it wants credentials, or others",
        403: "the credentials do not allow this",
        404: "check the address",
        407: PROXY_LOGIN,
        429: "it is busy; try later",
    }
    raise HttpError(
        f"{where} answered {response.status} {response.reason or ''}".rstrip(),
        hint=hints.get(response.status),
        status=response.status,
        retry_after=retry_after_seconds(response.headers.get("Retry-After"), datetime.now(UTC)),
    )


async def read_bounded(response: aiohttp.ClientResponse, max_size: int) -> bytes:
    """Read a body; raises ``TooLargeError`` beyond ``max_size`` bytes."""
    where = public_url(str(response.url))
    if response.content_length is not None and response.content_length > max_size:
        raise TooLargeError(f"{where} sends {response.content_length} bytes, over {max_size}")
    pieces: list[bytes] = []
    total = 0
    async for piece in response.content.iter_any():
        total += len(piece)
        if total > max_size:
            raise TooLargeError(f"{where} sends more than {max_size} bytes")
        pieces.append(piece)
    return b"".join(pieces)
