"""HTTP sessions with an API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from plimsoll.kube.config import KubeConfig


def open_session(config: KubeConfig, *, agent: str, limit: int = 32) -> aiohttp.ClientSession:
    """A session that proves who we are with each request; tokens rotate.

    Args:
        config: where the server is.
        agent: names the program in the server's audit log.
        limit: most connections at the same time; 0 for any number, which watches need.
    """

    async def authorize(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        request.headers.update(config.authorization())
        return await handler(request)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=config.tls, limit=limit),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": agent},
        middlewares=(authorize,),
    )
