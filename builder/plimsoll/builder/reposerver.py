"""A package repository of a registry as the HTTP tree that ``apk`` clients know.

Read-only, and without a cache of its own: files are streamed from the registry. Nothing here is
trusted by anybody: clients verify the signed index, and packages by it.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from plimsoll.builder.ocirepo import INDEX_FILE, INDEX_TYPE, PACKAGE_TYPE, file_tag
from plimsoll.errors import Error
from plimsoll.oci.errors import ImageNotFoundError
from plimsoll.oci.model import Descriptor, Manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import RegistryReader

#: Seconds for which a file's digest is believed without asking the registry again.
FRESH = {INDEX_TYPE: 2.0, PACKAGE_TYPE: 60.0}
#: Seconds that a client may take for one piece.
STALLED = 60.0
_ARCH = re.compile(r"[a-z0-9_]{1,32}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~:-]{0,510}\.apk")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_KNOWN = 4096


@dataclass(frozen=True, slots=True)
class _File:
    blob: Descriptor | None
    until: float


class RepositoryServer:
    """Answers the requests of ``apk`` clients.

    Args:
        registry: reads; many connections at once.
        repository: where the packages are.
        keys: file name → PEM of public keys, shown at the top.
    """

    def __init__(
        self, registry: RegistryReader, repository: Reference, keys: Mapping[str, bytes]
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._keys = dict(keys)
        self._known: dict[str, _File] = {}
        self._ready_until = 0.0

    def application(self) -> web.Application:
        """``/ARCH/APKINDEX.tar.gz``, ``/ARCH/FILE.apk``, keys, ``/healthz``, ``/readyz``."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/{arch}/{file}", self._file),
                web.get("/{key}", self._key),
            ]
        )
        return app

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        """Whether the registry answers."""
        if time.monotonic() > self._ready_until:
            try:
                await self._registry.resolve(self._repository.with_tag("ready"))
            except ImageNotFoundError:
                pass
            except Error as error:
                return web.Response(text=f"{error.message}\n", status=503)
            self._ready_until = time.monotonic() + 5
        return web.Response(text="ready\n")

    async def _key(self, request: web.Request) -> web.Response:
        pem = self._keys.get(request.match_info["key"])
        if pem is None:
            return _missing()
        return web.Response(body=pem, content_type="application/x-pem-file")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        arch, name = request.match_info["arch"], request.match_info["file"]
        if not _ARCH.fullmatch(arch) or not (name == INDEX_FILE or _FILE.fullmatch(name)):
            return _missing()
        kind = INDEX_TYPE if name == INDEX_FILE else PACKAGE_TYPE
        try:
            blob = await self._find(file_tag(arch, name), kind)
        except Error as error:
            return _unavailable(error)
        if blob is None:
            return _missing()
        return await self._answer(request, blob, kind)

    async def _find(self, tag: str, kind: str) -> Descriptor | None:
        """The blob of a file; ``None`` if there is none."""
        known = self._known.get(tag)
        if known is not None and time.monotonic() < known.until:
            return known.blob
        blob = None
        try:
            target = self._repository.with_tag(tag)
            top, data = await self._registry.get_manifest(target)
        except ImageNotFoundError:
            pass
        else:
            manifest = Manifest.parse(data, top.media_type, what=str(target))
            if len(manifest.layers) == 1 and manifest.layers[0].media_type == kind:
                blob = manifest.layers[0]
        if len(self._known) >= _KNOWN:
            self._known.clear()
        # What is missing may be published at any moment.
        patience = FRESH[kind] if blob is not None else FRESH[INDEX_TYPE]
        self._known[tag] = _File(blob, time.monotonic() + patience)
        return blob

    async def _answer(
        self, request: web.Request, blob: Descriptor, kind: str
    ) -> web.StreamResponse:
        etag = f'"{blob.digest}"'
        index = kind == INDEX_TYPE
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/gzip" if index else "application/vnd.apk",
            "Cache-Control": "no-cache" if index else "public, max-age=3600",
        }
        if _names(request.headers.get("If-None-Match", ""), etag):
            return web.Response(status=304, headers=headers)
        span = None
        if request.headers.get("If-Range", etag) == etag:
            span = _span(request.headers.get("Range", ""), blob.size)
        start, end = span or (0, blob.size)
        if span is not None and start >= end:
            headers["Content-Range"] = f"bytes */{blob.size}"
            return web.Response(status=416, headers=headers)
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
        response = web.StreamResponse(status=206 if span else 200, headers=headers)
        response.content_length = end - start
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        return await self._send(request, response, blob, (start, end))

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        blob: Descriptor,
        span: tuple[int, int],
    ) -> web.StreamResponse:
        try:
            async with self._registry.open_blob(self._repository, blob, *span) as pieces:
                first = await anext(pieces)
                await response.prepare(request)
                await _write(response, first, pieces)
        except (Error, TimeoutError) as error:
            if not response.prepared:
                return _unavailable(error)
            # The client sees that it did not get all, and asks for the rest.
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
        return response


async def _write(response: web.StreamResponse, first: bytes, pieces: AsyncIterator[bytes]) -> None:
    async with asyncio.timeout(STALLED):
        await response.write(first)
    async for piece in pieces:
        async with asyncio.timeout(STALLED):
            await response.write(piece)


def _names(header: str, etag: str) -> bool:
    """Whether ``If-None-Match`` names this file (RFC 9110, 13.1.2: weak comparison)."""
    given = [item.strip().removeprefix("W/") for item in header.split(",")]
    return etag in given or given == ["*"]


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of ``Range``; ``None`` for what is not served so.

    One range only (RFC 9110, 14.2 lets a server ignore all others); an empty one cannot be served.
    """
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(int(found[2]), size)
        return (size - length, size) if length else (size, size)
    start = min(int(found[1]), size)
    if found[2] and int(found[2]) < int(found[1]):
        return None
    return start, min(int(found[2]) + 1, size) if found[2] else size


def _missing() -> web.Response:
    return web.Response(status=404, text="there is no such file\n")


def _unavailable(error: BaseException) -> web.Response:
    print(f"error: {error}", flush=True)  # noqa: T201  (the log of the server)
    return web.Response(
        status=502, text="the registry does not answer as it must\n", headers={"Retry-After": "5"}
    )
