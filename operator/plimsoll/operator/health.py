"""Probes and metrics over HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    import asyncio

    from plimsoll.operator.manager import Manager
    from plimsoll.operator.metrics import Metrics

#: Seconds that an object may wait for a worker before the process counts as stuck.
STUCK = 300.0


def application(manager: Manager, metrics: Metrics, ready: asyncio.Event) -> web.Application:
    """``/healthz``, ``/readyz``, ``/metrics``."""

    async def healthz(_: web.Request) -> web.Response:
        waited = manager.queue.waited()
        return web.json_response(
            {
                "queueDepth": len(manager.queue),
                "longestWaitSeconds": round(waited, 1),
                "lastEventAgeSeconds": round(time.monotonic() - manager.last_event, 1),
            },
            status=503 if waited > STUCK else 200,
        )

    async def readyz(_: web.Request) -> web.Response:
        if ready.is_set():
            return web.Response(text="ready\n")
        return web.Response(text="the watches have not started\n", status=503)

    async def measure(_: web.Request) -> web.Response:
        body = generate_latest(metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", measure),
        ]
    )
    return app
