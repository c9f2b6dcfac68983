"""HTTP servers in the process of a test, which answer by a function."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


@contextlib.asynccontextmanager
async def served(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Answer every GET with ``handler`` on a free loopback port; yields the base URL."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def served_folder(root: Path) -> AsyncIterator[str]:
    """Serve the files of a folder; yields the base URL."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(root / request.match_info["path"])

    async with served(handle) as url:
        yield url
