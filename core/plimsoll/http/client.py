"""The one HTTP client of Plimsoll: bounded, patient within limits, silent about secrets."""

from __future__ import annotations

import asyncio
import io
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from plimsoll.http import transport
from plimsoll.http.address import Guard
from plimsoll.http.answers import (
    NotModified,
    Response,
    Timeouts,
    paced,
    read_bounded,
    require_status,
)
from plimsoll.http.download import Download, download_limit, save
from plimsoll.http.errors import HttpError, public_url
from plimsoll.http.pool import Pool
from plimsoll.http.proxy import proxy_for, proxy_hosts
from plimsoll.http.retry import RetryPolicy, retrying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    import aiohttp

    Body = bytes | Callable[[], AsyncIterator[bytes]]
    """What is sent; a function is called anew for every attempt and redirect."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 10
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-vault-token"})


class Http:
    """A pool of connections; use as an async context manager.

    Proxies come from the environment (``https_proxy``, ``no_proxy``…), certificate authorities
    from OpenSSL's defaults (``SSL_CERT_FILE``, ``SSL_CERT_DIR``) or ``ca_file``.

    Args:
        timeouts: how long a server may take.
        retry: how often to try again.
        connections: open connections in all.
        per_host: open connections per host.
        allow_private: whether to follow anywhere. ``False`` refuses loopback, link-local and
            metadata addresses, and private addresses that a public server sends us to.
        trusted_hosts: hosts that are open nevertheless, because the user configured them. A
            proxy resolves names itself: through one, only literal addresses are checked.
        ca_file: PEM certificate authorities used instead of the system's.
        user_agent: sent with every request.
        environ: where proxies are read from.
    """

    def __init__(  # noqa: PLR0913  settings, all by name, all optional
        self,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        connections: int = 64,
        per_host: int = 16,
        allow_private: bool = True,
        trusted_hosts: frozenset[str] = frozenset(),
        ca_file: Path | None = None,
        user_agent: str = "plimsoll",
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.retry = retry or RetryPolicy()
        self._environ = os.environ if environ is None else environ
        guard = None if allow_private else Guard(trusted_hosts | proxy_hosts(self._environ))
        self._pool = Pool(connections, per_host, guard, ca_file)
        self._always = {"Accept-Encoding": "identity", "User-Agent": user_agent}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; nothing can be asked afterwards."""
        await self._pool.close()

    @asynccontextmanager
    async def exchange(  # noqa: PLR0913  one request has that many parts
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        size: int = 0,
        sent_by: str | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request, follow redirects, and show the answer; no retries.

        Whatever goes wrong on the way or while the body is read inside the ``async with`` is
        raised as ``HttpError``; a status is not judged.

        Args:
            method: HTTP method.
            url: http or https; user information in it becomes basic authentication.
            headers: those that carry secrets are dropped when a redirect leaves the host.
            body: what is sent. A redirect that would lose it is an error.
            size: bytes that will be moved, for the total timeout.
            sent_by: URL of the server that told us of ``url``, for the address check.
        """
        current, given = transport.split_userinfo(url, headers)
        previous = sent_by
        async with transport.translated(current):
            for _ in range(_MAX_REDIRECTS + 1):
                # What is sent takes its time; an answer must begin soon afterwards.
                patience = self.timeouts.for_size(0 if body is None else size)
                async with asyncio.timeout(patience):
                    with transport.sound_host(current):
                        response = await self._send(method, current, given, body, size, previous)
                async with response:
                    location = response.headers.get("Location")
                    if response.status not in _REDIRECTS or location is None:
                        async with paced(response, self.timeouts):
                            yield response
                        return
                    target = transport.redirect_target(current, location)
                    if response.status not in {307, 308} and method not in {"GET", "HEAD"}:
                        raise HttpError(
                            f"{public_url(current)} answered {method} with a redirect "
                            f"({response.status})",
                            status=response.status,
                        )
                if transport.origin(target) != transport.origin(current):
                    given = {k: v for k, v in given.items() if k.lower() not in _SECRET_HEADERS}
                previous, current = current, target
            raise HttpError(f"{public_url(url)} redirects more than {_MAX_REDIRECTS} times")

    async def fetch(  # noqa: PLR0913  one request has that many parts
        self,
        method: str,
        url: str,
        *,
        max_size: int,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        size: int = 0,
        sent_by: str | None = None,
    ) -> Response:
        """Like ``exchange``, with the body read.

        Raises:
            TooLargeError: if it has more than ``max_size`` bytes.
            HttpError: for everything but the status, which is not judged.
        """
        async with self.exchange(
            method, url, headers=headers, body=body, size=size + max_size, sent_by=sent_by
        ) as response:
            data = b"" if method == "HEAD" else await read_bounded(response, max_size)
            return Response(response.status, response.headers, data, str(response.url))

    async def get(
        self,
        url: str,
        *,
        max_size: int,
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
    ) -> Response | NotModified:
        """GET with retries.

        Args:
            url: where.
            max_size: bytes allowed.
            headers: further headers.
            etag: of what is there already; if it is still current, ``NotModified`` comes back.
            last_modified: the same for servers without entity tags.

        Raises:
            HttpError: no connection, too slow, too large, or any status but 200 and 304.
        """
        asked = dict(headers or {})
        if etag is not None:
            asked["If-None-Match"] = etag
        elif last_modified is not None:
            asked["If-Modified-Since"] = last_modified
        conditional = etag is not None or last_modified is not None

        async def once() -> Response | NotModified:
            async with self.exchange("GET", url, headers=asked, size=max_size) as response:
                if response.status == 304 and conditional:
                    return NotModified(response.headers.get("ETag", etag))
                require_status(response, {200})
                data = await read_bounded(response, max_size)
                return Response(200, response.headers, data, str(response.url))

        return await retrying(once, self.retry)

    async def get_bytes(
        self, url: str, *, max_size: int, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """GET with retries: the body of a 200; raises as ``get`` does."""
        answer = await self.get(url, max_size=max_size, headers=headers)
        if isinstance(answer, NotModified):
            raise HttpError(f"{public_url(url)} answered 304 to a plain request", status=304)
        return answer.body

    async def download(  # noqa: PLR0913  all but two by name
        self,
        url: str,
        path: Path,
        *,
        expected_size: int | None = None,
        max_size: int | None = None,
        digest: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Download:
        """Save a URL as ``path``, atomically; a broken transfer goes on where it stopped.

        Args:
            url: where.
            path: the file, in an existing directory; it appears only when complete.
            expected_size: bytes it must have.
            max_size: bytes it may have, whatever is expected.
            digest: ``sha256:…`` (or another algorithm of hashlib) that it must have.
            headers: further headers.

        Raises:
            HttpError: no connection, too slow, too large, too short, or any status but 200.
            DigestError: other bytes than ``digest`` names.
            StorageError: the file cannot be written.
        """
        limit = download_limit(public_url(url), expected_size, max_size)

        @asynccontextmanager
        async def open_at(extra: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
            merged = {**(headers or {}), **extra}
            async with self.exchange("GET", url, headers=merged, size=limit) as response:
                require_status(response, {200, 206, 416})
                yield response

        return await save(
            open_at,
            path,
            what=public_url(url),
            expected_size=expected_size,
            max_size=limit,
            digest=digest,
            policy=self.retry,
        )

    async def _send(  # noqa: PLR0913, PLR0917  the parts of one request
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        size: int,
        sent_by: str | None,
    ) -> aiohttp.ClientResponse:
        import aiohttp  # noqa: PLC0415  slow to import
        from yarl import URL  # noqa: PLC0415  comes with aiohttp

        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise HttpError(f"{public_url(url)} is no http or https URL")
        proxy, proxy_headers = transport.proxy_settings(proxy_for(url, self._environ))
        # A tunnel's opening carries the proxy's credentials; without one the request does.
        tunnelled = parts.scheme == "https"
        timeout = aiohttp.ClientTimeout(
            total=self.timeouts.for_size(size),
            connect=None,
            sock_connect=self.timeouts.connect,
            sock_read=self.timeouts.idle,
        )
        return await self._pool.session(self._pool.limit(parts.hostname, sent_by)).request(
            method,
            URL(url, encoded=True),
            headers={**self._always, **headers, **({} if tunnelled else proxy_headers)},
            data=body() if callable(body) else _readable(body),
            allow_redirects=False,
            timeout=timeout,
            proxy=proxy,
            proxy_headers=proxy_headers if tunnelled else None,
            ssl=self._pool.context() if tunnelled else True,
        )


def _readable(body: bytes | None) -> bytes | io.BytesIO | None:
    """Long bytes as a file, which aiohttp sends piece by piece."""
    return io.BytesIO(body) if body is not None and len(body) > 1 << 16 else body


__all__ = ["Http", "NotModified", "Response", "Timeouts"]
