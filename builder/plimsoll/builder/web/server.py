"""A page of this package, shown to a browser on this machine."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

_TYPES = {"graph.html": "text/html", "graph.css": "text/css", "graph.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def graph_page(data: dict[str, Any], own: Callable[[str], bool]) -> web.Application:
    """The page that draws packages.

    Args:
        data: ``title`` and, by architecture, ``packages``, ``edges`` and ``why``.
        own: whether a ``Host`` header names this server; others are refused, so that no page of
            somebody else can read what is shown here.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        if not own(request.host):
            raise web.HTTPForbidden(text="this page is for this machine only\n")
        answer: web.StreamResponse = await handler(request)
        answer.headers.update(_HEADERS)
        return answer

    async def page(request: web.Request) -> web.Response:
        name = request.match_info.get("name") or "graph.html"
        if name not in _TYPES:
            raise web.HTTPNotFound
        text = files("plimsoll.builder.web").joinpath(name).read_text()
        return web.Response(text=text, content_type=_TYPES[name])

    async def graph(_: web.Request) -> web.Response:
        return web.json_response(data)

    app = web.Application(middlewares=[guard])
    app.router.add_get("/graph.json", graph)
    app.router.add_get("/{name:[a-z.]*}", page)
    return app
