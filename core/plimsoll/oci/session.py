"""Requests to registries: the right scheme, logged in, tried again, judged."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from plimsoll.http import Http, HttpConnectionError, Response, RetryPolicy
from plimsoll.http.answers import read_bounded
from plimsoll.http.retry import NO_RETRY, retrying
from plimsoll.http.transport import origin
from plimsoll.oci.errors import RegistryError
from plimsoll.oci.failures import ERROR_BODY_LIMIT, raise_for, unwrapped
from plimsoll.oci.reference import is_loopback
from plimsoll.oci.token import Authorizer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aiohttp

    from plimsoll.http.client import Body
    from plimsoll.oci.auth import Credentials
    from plimsoll.oci.reference import Reference

#: Tries of one request that end in 401: no login yet, an expired token, and a few logins.
_MAX_REFUSALS: Final = 8


def pull_scope(ref: Reference) -> tuple[str, ...]:
    """The right to read a repository."""
    return (f"repository:{ref.repository}:pull",)


def push_scope(ref: Reference, *sources: str) -> tuple[str, ...]:
    """The right to write a repository, and to read those that blobs are mounted from."""
    reads = (f"repository:{source}:pull" for source in sources)
    return (f"repository:{ref.repository}:pull,push", *reads)


def delete_scope(ref: Reference) -> tuple[str, ...]:
    """The right to delete in a repository."""
    return (f"repository:{ref.repository}:delete,pull",)


class Session:
    """All that requests to registries have in common.

    Args:
        http: the client.
        credentials: logins.
        insecure: hosts (with port) that are spoken to over plain HTTP.
        concurrency: requests under way at once.
    """

    def __init__(
        self, http: Http, credentials: Credentials, insecure: frozenset[str], concurrency: int
    ) -> None:
        self.http = http
        self.fallback = asyncio.Lock()
        """Held while the index at a fallback tag is changed: one client does not race itself."""
        self._insecure = insecure
        self._authorizer = Authorizer(http, credentials, insecure)
        self._slots = asyncio.Semaphore(concurrency)
        self._bases: dict[str, str] = {}
        self._finding: dict[str, asyncio.Lock] = {}

    async def url(self, ref: Reference, path: str) -> str:
        """The address of ``path`` (``manifests/latest``) in the repository."""
        return f"{await self.base(ref)}/v2/{ref.repository}/{path}"

    async def base(self, ref: Reference) -> str:
        """``https://HOST``, or ``http://HOST`` where that is allowed.

        A registry on this machine is asked for TLS first; all others get plain HTTP only if the
        user listed them.
        """
        host = ref.registry
        known = self._bases.get(host)
        if known is not None:
            return known
        if host in self._insecure:
            return f"http://{host}"
        if not is_loopback(host):
            return f"https://{host}"
        async with self._finding.setdefault(host, asyncio.Lock()):
            if host not in self._bases:
                self._bases[host] = await self._find_base(ref)
            return self._bases[host]

    async def _find_base(self, ref: Reference) -> str:
        secure, plain = f"https://{ref.registry}", f"http://{ref.registry}"
        with unwrapped(ref):
            try:
                await self.http.fetch("GET", f"{secure}/v2/", max_size=ERROR_BODY_LIMIT)
            except HttpConnectionError as error:
                if not error.retryable:  # TLS it is, with a certificate that is not trusted
                    raise
                await self.http.fetch("GET", f"{plain}/v2/", max_size=ERROR_BODY_LIMIT)
                return plain
            return secure

    async def call(  # noqa: PLR0913  one request has that many parts
        self,
        ref: Reference,
        method: str,
        url: str,
        *,
        scopes: tuple[str, ...],
        what: str,
        allowed: frozenset[int] = frozenset({200}),
        max_size: int = ERROR_BODY_LIMIT,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        size: int = 0,
        policy: RetryPolicy | None = None,
    ) -> Response:
        """Send a request and read the answer, again if that may help.

        Args:
            ref: the repository it is about; decides the credentials.
            method: HTTP method.
            url: from ``url`` or from an answer of the registry.
            scopes: rights to ask a token server for.
            what: completes "when asked to …" in errors.
            allowed: statuses that are answers; any other raises.
            max_size: bytes allowed in the answer.
            headers: further headers.
            body: what is sent.
            size: bytes of ``body``.
            policy: instead of the client's own.

        Raises:
            RegistryError: one of its kinds.
        """

        async def once() -> Response:
            async with self.open(
                ref,
                method,
                url,
                scopes=scopes,
                what=what,
                allowed=allowed,
                headers=headers,
                body=body,
                size=size + max_size,
            ) as response:
                data = b"" if method == "HEAD" else await read_bounded(response, max_size)
                return Response(response.status, response.headers, data, str(response.url))

        return await retrying(once, self.http.retry if policy is None else policy)

    @asynccontextmanager
    async def open(  # noqa: PLR0913  one request has that many parts
        self,
        ref: Reference,
        method: str,
        url: str,
        *,
        scopes: tuple[str, ...],
        what: str,
        allowed: frozenset[int] = frozenset({200}),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        size: int = 0,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Like ``call``, once, with the body left to be read."""
        base = await self.base(ref)
        ours = origin(url) == origin(base)
        for _ in range(_MAX_REFUSALS):
            sent = await self._authorizer.header(ref, base, scopes) if ours else None
            given = {**(headers or {}), **({"Authorization": sent} if sent else {})}
            with unwrapped(ref):
                async with (
                    self._slots,
                    self.http.exchange(
                        method,
                        url,
                        headers=given,
                        body=body,
                        size=size,
                        sent_by=None if ours else base,
                    ) as response,
                ):
                    if response.status in allowed:
                        self._authorizer.worked(ref, scopes)
                        yield response
                        return
                    problem = b"" if method == "HEAD" else await _start_of(response)
                    status, answered = response.status, response.headers
            challenges = answered.getall("WWW-Authenticate", [])
            if (
                status == 401
                and ours
                and await self._authorizer.refused(ref, scopes, sent, challenges)
            ):
                continue
            hint = await self._authorizer.hint(ref) if status in {401, 403} else ""
            raise_for(ref, status, answered, problem, what=what, hint=hint)
        raise RegistryError(
            f"{ref.registry} refuses every login to {what}",
            hint=await self._authorizer.hint(ref),
            host=ref.registry,
            repository=ref.repository,
            status=401,
        )

    async def follow(self, ref: Reference, current: str, location: str | None, what: str) -> str:
        """The address that a ``Location`` or ``Link`` of the registry means.

        Raises:
            RegistryError: there is none, or it leads from https down to http on another host.
        """
        if not location:
            raise RegistryError(
                f"{ref.registry} did not say where to go on when asked to {what}",
                host=ref.registry,
                repository=ref.repository,
            )
        try:
            target = urljoin(current, location)
            now, then = urlsplit(current), urlsplit(target)
            if then.scheme == "http" and now.scheme == "https":
                if then.hostname == now.hostname:
                    # A registry that does not know of the TLS in front of it.
                    return then._replace(scheme="https", netloc=now.netloc).geturl()
                target = ""
        except ValueError:
            target = ""
        if not target:
            raise RegistryError(
                f"{ref.registry} sends us to an address we do not trust when asked to {what}",
                host=ref.registry,
                repository=ref.repository,
            )
        return target


async def _start_of(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of an error's body; the rest is not worth the wait."""
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) >= ERROR_BODY_LIMIT:
            break
    return bytes(data[:ERROR_BODY_LIMIT])


__all__ = ["NO_RETRY", "Session", "delete_scope", "pull_scope", "push_scope"]
