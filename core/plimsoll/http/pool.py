"""Connections, kept apart by how near the addresses are that they may lead to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plimsoll.http.address import Guard, Reach, guarded_resolver, literal

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    import aiohttp


class Pool:
    """Sessions by the limit of the addresses that they connect to, made when first asked for.

    Args:
        connections: open connections in all.
        per_host: open connections per host.
        guard: decides about addresses; ``None`` lets through all.
        ca_file: PEM certificate authorities used instead of the system's.
    """

    def __init__(
        self, connections: int, per_host: int, guard: Guard | None, ca_file: Path | None
    ) -> None:
        self._connections = connections
        self._per_host = per_host
        self._guard = guard
        self._ca_file = ca_file
        self._sessions: dict[Reach, aiohttp.ClientSession] = {}
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def close(self) -> None:
        """Close all connections; nothing can be asked afterwards."""
        self._closed = True
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()
        if sessions:
            await asyncio.sleep(0)  # lets the transports finish closing

    def limit(self, host: str, sent_by: str | None) -> Reach:
        """How near the next address may be; refuses a literal address that is nearer."""
        if self._guard is None:
            return Reach.FORBIDDEN
        limit = Reach.PRIVATE
        if sent_by is not None:
            sender = urlsplit(sent_by).hostname or ""
            if self._guard.reach_of(sender) is Reach.PUBLIC:
                limit = Reach.PUBLIC
        address = literal(host)
        if address is not None:  # aiohttp asks no resolver about these
            self._guard.check(host, [address], limit)
        return limit

    def session(self, limit: Reach) -> aiohttp.ClientSession:
        """Connections are pooled per limit, so one made for a near address is not lent out."""
        found = self._sessions.get(limit)
        if found is not None:
            return found
        if self._closed:
            raise RuntimeError("this HTTP client is closed")
        import aiohttp  # noqa: PLC0415  slow to import

        resolver = None if self._guard is None else guarded_resolver(self._guard, limit)
        connector = aiohttp.TCPConnector(
            limit=self._connections, limit_per_host=self._per_host, resolver=resolver
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            requote_redirect_url=False,
            max_field_size=32 << 10,
            read_bufsize=256 << 10,
        )
        self._sessions[limit] = session
        return session

    def context(self) -> ssl.SSLContext:
        """How certificates are checked."""
        if self._tls is None:
            import ssl  # noqa: PLC0415  slow to import

            self._tls = ssl.create_default_context(cafile=self._ca_file)
        return self._tls
