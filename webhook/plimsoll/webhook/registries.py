"""Clients for registries: one pool of connections, one set of logins per client.

A client serves one host with one set of logins, so a slow registry holds up its own images only
and a login cannot reach another host.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from plimsoll.http import Http, RetryPolicy, Timeouts
from plimsoll.oci.registry import Registry
from plimsoll.webhook.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import aiohttp

    from plimsoll.webhook.access import Access

_CLIENTS = 512


class _Observed(Http):
    """A client that tells of each of its calls."""

    def __init__(
        self, observe: Callable[[str, float], None], tracing: Tracing, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._observe = observe
        self._tracing = tracing

    @asynccontextmanager
    async def exchange(
        self, method: str, url: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """See ``Http``."""
        begin, result = time.perf_counter(), "error"
        parts = urlsplit(url)
        with self._tracing.span(
            f"registry {method}", method=method, registry=parts.netloc.rpartition("@")[2]
        ) as span:
            try:
                async with super().exchange(method, url, **options) as response:
                    result = "404" if response.status == 404 else f"{response.status // 100}xx"
                    span.set(status=response.status)
                    yield response
            finally:
                self._observe(result, time.perf_counter() - begin)


def _nobody(result: str, seconds: float) -> None:
    """Take no note of a call."""


class Registries:
    """Hands out clients; use as an async context manager.

    Args:
        observe: is told of every call: how it ended (``2xx``, ``404``…, ``error``) and seconds.
        tracing: gets a span for each.
        insecure: hosts (with port) spoken to over plain HTTP; open even on loopback.
        per_host: requests to one registry at a time.
        seconds: for one request.
    """

    def __init__(
        self,
        *,
        insecure: frozenset[str] = frozenset(),
        per_host: int = 16,
        seconds: float = 10.0,
        observe: Callable[[str, float], None] = _nobody,
        tracing: Tracing | None = None,
    ) -> None:
        self._insecure = insecure
        self._per_host = per_host
        # Image names come from strangers: they must not make us ask the node or the cloud.
        self._http = _Observed(
            observe,
            tracing or Tracing(),
            timeouts=Timeouts(connect=min(3.0, seconds), idle=seconds, total=seconds),
            retry=RetryPolicy(attempts=2, base=0.2, longest=1.0),
            connections=512,
            per_host=per_host,
            allow_private=False,
            trusted_hosts=insecure,
            user_agent="plimsoll-webhook",
        )
        self._clients: OrderedDict[tuple[str, str], Registry] = OrderedDict()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._clients.clear()
        await self._http.close()

    def client(self, host: str, access: Access) -> Registry:
        """The client for one host with the logins of one tenant."""
        # The webhook's own logins may change, so their identity is part of the key.
        key = (host, access.fingerprint or f"own-{id(access.credentials)}")
        found = self._clients.get(key)
        if found is None:
            found = Registry(
                access.credentials,
                insecure=self._insecure,
                concurrency=self._per_host,
                http=self._http,
            )
            self._clients[key] = found
            if len(self._clients) > _CLIENTS:
                self._clients.popitem(last=False)
        self._clients.move_to_end(key)
        return found
