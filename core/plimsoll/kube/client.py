"""The few calls of the Kubernetes API that we make, over one pooled aiohttp session.

Objects are plain dicts. The full client would cost most of a process's memory and start-up time.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import aiohttp

from plimsoll.kube.errors import KubeError
from plimsoll.kube.session import open_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from plimsoll.kube.config import KubeConfig

_MAX_ANSWER = 64 * 1024 * 1024
_MAX_EVENT = 4 * 1024 * 1024
_PAGE = 500
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class KubeClient:
    """A session with one API server; use as an async context manager.

    Args:
        config: where it is.
        agent: names the program in the server's audit log.
        timeout: seconds for one call.
    """

    def __init__(self, config: KubeConfig, *, agent: str, timeout: float = 30.0) -> None:
        self.config = config
        self._agent = agent
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = open_session(self.config, agent=self._agent)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str) -> dict[str, Any]:
        """GET one object.

        Raises:
            KubeError: with the status; 0 where there was no answer.
        """
        return await self._call("GET", path)

    async def find(self, path: str) -> dict[str, Any] | None:
        """GET one object; ``None`` if it is not there. Raises as ``get`` does."""
        try:
            return await self._call("GET", path)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, path: str, *, labels: str = "", fields: str = "") -> list[dict[str, Any]]:
        """GET a collection, page by page. Raises as ``get`` does.

        Args:
            path: of the collection.
            labels: a label selector.
            fields: a field selector.
        """
        query = {"limit": str(_PAGE), "labelSelector": labels, "fieldSelector": fields}
        items: list[dict[str, Any]] = []
        while True:
            text = urlencode({key: value for key, value in query.items() if value})
            page = await self._call("GET", f"{path}?{text}")
            items += page.get("items") or []
            query["continue"] = page.get("metadata", {}).get("continue", "")
            if not query["continue"]:
                return items

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST an object; raises as ``get`` does (409: it exists)."""
        return await self._call("POST", path, body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT an object; with its resourceVersion, 409 tells that somebody was faster."""
        return await self._call("PUT", path, body)

    async def merge(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH by JSON merge (RFC 7386); raises as ``get`` does."""
        return await self._call("PATCH", path, body, "application/merge-patch+json")

    async def delete(self, path: str) -> bool:
        """DELETE an object and, in the background, what it owns. False if it was not there."""
        try:
            await self._call("DELETE", path, {"propagationPolicy": "Background"})
        except KubeError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def json_patch(
        self, path: str, operations: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """PATCH by JSON patch (RFC 6902); 409 or 422 tell that a ``test`` failed."""
        return await self._call("PATCH", path, operations, "application/json-patch+json")

    async def watch(
        self, path: str, *, seconds: int, metadata_only: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a watch until the server ends it.

        Args:
            path: with ``watch=1`` and the rest of the query.
            seconds: when the server will end it; some more without a sign of life is an error.
            metadata_only: the objects have ``metadata`` and nothing else.

        Raises:
            KubeError: refused, broken or silent.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=seconds + 30)
        accept = _METADATA if metadata_only else _JSON
        async with self._request("GET", path, limits=limits, accept=accept) as response:
            if response.status >= 300:
                raise await _refusal(response, "GET", path)
            pending = bytearray()
            async for piece in response.content.iter_any():
                pending += piece
                *lines, rest = pending.split(b"\n")
                pending = bytearray(rest)
                if len(pending) > _MAX_EVENT:
                    raise KubeError(f"{path}: an event of more than {_MAX_EVENT} bytes")
                for line in lines:
                    if line.strip():
                        yield _object(bytes(line), f"GET {path}")

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        kind: str = "application/json",
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        async with self._request(method, path, data, kind) as response:
            if response.status >= 300:
                raise await _refusal(response, method, path)
            return _object(await _read(response, path), f"{method} {path}")

    @asynccontextmanager
    async def _request(  # noqa: PLR0913  what requests differ in
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        kind: str = "",
        *,
        limits: aiohttp.ClientTimeout | None = None,
        accept: str = _JSON,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("the session is not open")
        headers = {"Accept": accept}
        if data is not None:
            headers["Content-Type"] = kind
        try:
            async with self._session.request(
                method,
                f"{self.config.server}{path}",
                headers=headers,
                data=data,
                timeout=limits or self._timeout,
                allow_redirects=False,
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            words = str(error) or type(error).__name__
            raise KubeError(f"{method} {path} at the Kubernetes API: {words}") from error


async def _refusal(response: aiohttp.ClientResponse, method: str, path: str) -> KubeError:
    message = (await response.content.read(65536)).decode(errors="replace")
    try:
        message = json.loads(message)["message"]
    except (ValueError, KeyError, TypeError):
        message = message[:200]
    return KubeError(
        f"{method} {path.partition('?')[0]}: the Kubernetes API answered {response.status}: "
        f"{message}",
        status=response.status,
    )


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise KubeError(f"{what}: the answer is no JSON") from error
    if not isinstance(value, dict):
        raise KubeError(f"{what}: the answer is no object")
    return value


async def _read(response: aiohttp.ClientResponse, path: str) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > _MAX_ANSWER:
            raise KubeError(f"{path}: an answer of more than {_MAX_ANSWER} bytes")
    return bytes(data)
