"""Stands before a real server and does to its traffic what bad networks and bad servers do."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

Action = Callable[["FaultProxy", web.Request], Awaitable[web.StreamResponse]]

_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}


@dataclass
class Seen:
    """One request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: int = 0


@dataclass
class _Rule:
    method: str
    path: re.Pattern[str]
    action: Action
    times: int


@dataclass
class FaultProxy:
    """Forwards to ``upstream`` whatever no rule catches."""

    upstream: str
    host: str = ""
    seen: list[Seen] = field(default_factory=list)
    rules: list[_Rule] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: asyncio.Event = field(default_factory=asyncio.Event)
    session: aiohttp.ClientSession | None = None

    def on(self, method: str, path: str, action: Action, times: int = 1_000_000) -> None:
        """Do ``action`` for the next ``times`` requests whose path and query ``path`` finds."""
        self.rules.append(_Rule(method, re.compile(path), action, times))

    def count(self, method: str, path: str = "") -> int:
        """How many such requests arrived."""
        return sum(s.method == method and re.search(path, s.path) is not None for s in self.seen)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one request."""
        self.seen.append(Seen(request.method, request.raw_path, dict(request.headers)))
        for rule in self.rules:
            if rule.times and rule.method == request.method and rule.path.search(request.raw_path):
                rule.times -= 1
                return await rule.action(self, request)
        return await forward(self, request)

    def upstream_request(
        self, request: web.Request, body: AsyncIterator[bytes] | bytes
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Open the same request at the real server."""
        assert self.session is not None
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP}
        if request.content_length is not None:
            headers["Content-Length"] = str(request.content_length)
        return self.session.request(
            request.method,
            URL(f"http://{self.upstream}{request.raw_path}", encoded=True),
            headers=headers,
            data=body if request.body_exists else None,
            allow_redirects=False,
        )


@contextlib.asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncIterator[FaultProxy]:
    """Run one on a free loopback port; ``upstream`` is ``host:port``."""
    proxy = FaultProxy(upstream)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    proxy.host = f"{host}:{port}"
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        proxy.session = session
        try:
            yield proxy
        finally:
            proxy.released.set()
            await runner.cleanup()


async def forward(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
    """Pass the request on and the answer back, unchanged."""
    seen = proxy.seen[-1]

    async def body() -> AsyncIterator[bytes]:
        async for piece in request.content.iter_any():
            seen.body += len(piece)
            yield piece

    async with proxy.upstream_request(request, body()) as answer:
        response = _copy(answer)
        response.content_length = answer.content_length
        await response.prepare(request)
        if request.method != "HEAD":
            async for piece in answer.content.iter_any():
                await response.write(piece)
        await response.write_eof()
        return response


def _copy(answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status)
    for name, value in answer.headers.items():
        if name.lower() not in _HOP:
            response.headers.add(name, value)
    return response


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Action:
    """Answer with a status, whatever was asked."""

    async def action(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
        del proxy
        with contextlib.suppress(ConnectionError):
            await request.read()
        return web.Response(status=code, headers=headers, body=body)

    return action


async def hang(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
    """Say nothing until the proxy ends."""
    proxy.hanging.set()
    await request.read()
    await proxy.released.wait()
    return web.Response(status=503)


async def endless(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
    """Answer 200 and never stop sending."""
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while not proxy.released.is_set():
            await response.write(bytes(1 << 16))
    return response


def drip(seconds: float) -> Action:
    """Announce what the real server has, and send it byte by byte with pauses."""

    async def action(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
        async with proxy.upstream_request(request, b"") as answer:
            data = await answer.read()
            response = _copy(answer)
            response.content_length = len(data)
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                for byte in data:
                    await response.write(bytes([byte]))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(proxy.released.wait(), seconds)
            return response

    return action


def cut_download(after: int) -> Action:
    """Pass on ``after`` bytes of the answer's body, then break the connection."""

    async def action(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
        async with proxy.upstream_request(request, b"") as answer:
            data = await answer.read()
            response = _copy(answer)
            response.content_length = len(data)
            await response.prepare(request)
            await response.write(data[:after])
            _abort(request)
            return response

    return action


def cut_upload(after: int) -> Action:
    """Pass on ``after`` bytes of the request's body, then break both connections."""

    async def action(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
        async def body() -> AsyncIterator[bytes]:
            left = after
            async for piece in request.content.iter_any():
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    break
            await asyncio.sleep(0.05)  # lets the real server store what came
            raise ConnectionResetError("cut")

        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            async with proxy.upstream_request(request, body()):
                pass
        _abort(request)
        return web.Response(status=500)

    return action


async def lose_answer(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
    """Let the real server do it, and break the connection before its answer."""
    data = await request.read()
    async with proxy.upstream_request(request, data) as answer:
        await answer.read()
    _abort(request)
    return web.Response(status=500)


async def corrupt(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
    """Change one byte of the answer."""
    async with proxy.upstream_request(request, b"") as answer:
        data = bytearray(await answer.read())
        data[len(data) // 2] ^= 1
        response = _copy(answer)
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(bytes(data))
        return response


def with_headers(**headers: str) -> Action:
    """Pass the answer on with further headers (``_`` stands for ``-``)."""

    async def action(proxy: FaultProxy, request: web.Request) -> web.StreamResponse:
        async with proxy.upstream_request(request, b"") as answer:
            data = await answer.read()
            response = _copy(answer)
            for name, value in headers.items():
                response.headers[name.replace("_", "-")] = value
            response.content_length = len(data)
            await response.prepare(request)
            await response.write(data)
            return response

    return action


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
