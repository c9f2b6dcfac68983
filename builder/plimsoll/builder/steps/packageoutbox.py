"""The outbox: hands the files of a build to the collect step, and ends.

It runs beside nothing but files that untrusted steps left: no login, no token of the cluster. Who
knows the path may read them; it is served until the collector says that it has them.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING

from plimsoll.builder.steps.packagetar import ArchiveError, scan, stream
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp import web

MIN_TOKEN = 16


class OutboxError(Error):
    """An outbox that nobody emptied."""

    reason = "OutboxNotCollected"


async def serve_outbox(  # noqa: PLR0913  (settings, by name)
    folder: Path,
    token: str,
    *,
    host: str = "",
    port: int = 0,
    patience: float = 3600,
    ready: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve a directory as a tar at ``/TOKEN`` until somebody deletes it there.

    Args:
        folder: what is served.
        token: of at least 16 characters.
        host: address to listen on; all if empty.
        port: 0 for a free one.
        patience: seconds after which nobody is waited for.
        ready: gets the port once requests are answered.

    Raises:
        OutboxError: the time is over.
    """
    from aiohttp import web  # noqa: PLC0415  (start-up time)

    if len(token) < MIN_TOKEN:
        raise OutboxError(f"the token has fewer than {MIN_TOKEN} characters")
    done = asyncio.Event()

    @web.middleware
    async def guarded(request: web.Request, handler: Callable[..., object]) -> web.StreamResponse:
        given = request.path.removeprefix("/")
        if request.path == "/healthz":
            return web.Response(text="ok\n")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return web.Response(status=404, text="not found\n")
        answer = handler(request)
        return await answer  # type: ignore[misc,no-any-return]  # aiohttp's handlers are

    async def show(request: web.Request) -> web.StreamResponse:
        return await _show(request, folder)

    async def delete(request: web.Request) -> web.Response:
        del request
        done.set()
        return web.Response(status=204)

    app = web.Application(middlewares=[guarded])
    app.router.add_get("/{path:.*}", show, allow_head=False)
    app.router.add_delete("/{path:.*}", delete)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host or None, port)
        await site.start()
        ready(runner.addresses[0][1])
        async with asyncio.timeout(patience):
            await done.wait()
    except TimeoutError:
        raise OutboxError(
            f"nobody fetched the output within {patience:.0f} s", hint="build the package again"
        ) from None
    finally:
        await runner.cleanup()


async def _show(request: web.Request, folder: Path) -> web.StreamResponse:
    from aiohttp import web  # noqa: PLC0415  (start-up time)

    try:
        entries = await asyncio.to_thread(scan, folder)
    except (ArchiveError, OSError) as error:
        return web.Response(status=422, text=f"{error}\n")
    response = web.StreamResponse(headers={"Content-Type": "application/x-tar"})
    await response.prepare(request)
    pieces = stream(folder, entries)
    while True:
        try:
            piece = await asyncio.to_thread(_some, pieces)
        except ArchiveError as error:
            # What was sent so far has no end, so nobody takes it for the whole.
            print(f"error: {error}", flush=True)  # noqa: T201  (a Job's log)
            if request.transport is not None:
                request.transport.abort()
            return response
        if not piece:
            break
        await response.write(piece)
    await response.write_eof()
    return response


def _some(pieces: object) -> bytes:
    """The next pieces, up to a sensible size for one write."""
    out = bytearray()
    for piece in pieces:  # type: ignore[attr-defined]  # an iterator
        out += piece
        if len(out) >= 1 << 18:
            break
    return bytes(out)
