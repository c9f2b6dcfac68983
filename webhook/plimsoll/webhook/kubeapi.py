"""The few calls of the Kubernetes API that the webhook makes, over one pooled aiohttp session.

The full client would cost most of the webhook's memory and start-up time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import yaml

from plimsoll.webhook.errors import KubeApiError, NotConfiguredError
from plimsoll.webhook.memfile import memory_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MAX_ANSWER = 64 * 1024 * 1024
_MAX_EVENT = 4 * 1024 * 1024
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class KubeConfig:
    """How to reach an API server.

    Attributes:
        server: base URL.
        tls: trust and, where used, the client certificate.
        token: a fixed bearer token.
        token_file: a file that holds the token; read again for every request, as it rotates.
        namespace: of this process.
    """

    server: str
    tls: ssl.SSLContext
    token: str = ""
    token_file: Path | None = None
    namespace: str = "default"

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> KubeConfig:
        """``KUBECONFIG`` if it is set, else the pod's own ServiceAccount.

        Raises:
            NotConfiguredError: if there is neither.
        """
        env = os.environ if environ is None else environ
        if env.get("KUBECONFIG"):
            return cls.from_file(Path(env["KUBECONFIG"]))
        host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (_SERVICE_ACCOUNT / "token").exists():
            raise NotConfiguredError(
                "no Kubernetes API server is known",
                hint="run in a pod with a ServiceAccount token, or set KUBECONFIG",
            )
        server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        return cls(
            server=server,
            tls=ssl.create_default_context(cafile=_SERVICE_ACCOUNT / "ca.crt"),
            token_file=_SERVICE_ACCOUNT / "token",
            namespace=(_SERVICE_ACCOUNT / "namespace").read_text().strip(),
        )

    @classmethod
    def from_file(cls, path: Path) -> KubeConfig:
        """Read the current context of a kubeconfig file (tokens and client certificates).

        Raises:
            NotConfiguredError: if it cannot be read or asks for another kind of login.
        """
        try:
            config = yaml.safe_load(path.read_text())
            named = {
                kind: {item["name"]: item[kind] for item in config[f"{kind}s"]}
                for kind in ("cluster", "user", "context")
            }
            context = named["context"][config["current-context"]]
            cluster, user = named["cluster"][context["cluster"]], named["user"][context["user"]]
            return cls(
                server=cluster["server"].rstrip("/"),
                tls=_tls(cluster, user, path.parent),
                token=user.get("token", ""),
                token_file=path.parent / user["tokenFile"] if "tokenFile" in user else None,
                namespace=context.get("namespace", "default"),
            )
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
            raise NotConfiguredError(f"{path} cannot be used as a kubeconfig: {error!r}") from error

    def authorization(self) -> dict[str, str]:
        """The header that says who we are."""
        token = self.token_file.read_text().strip() if self.token_file else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}


class KubeApi:
    """A session with one API server; use as an async context manager.

    Args:
        config: where it is.
        timeout: seconds for one call that is no watch.
    """

    def __init__(self, config: KubeConfig, *, timeout: float = 10.0) -> None:
        self.config = config
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self.config.tls, limit=32)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "plimsoll-webhook"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str) -> dict[str, Any]:
        """GET one object or list.

        Raises:
            KubeApiError: with the status; 0 where there was no answer.
        """
        return await self._call("GET", path)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST an object; raises as ``get`` does (409: it exists)."""
        return await self._call("POST", path, body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT an object; with its resourceVersion, 409 tells that somebody was faster."""
        return await self._call("PUT", path, body)

    async def merge(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH by JSON merge (RFC 7386)."""
        return await self._call("PATCH", path, body, _MERGE_PATCH)

    async def json_patch(self, path: str, operations: list[dict[str, Any]]) -> dict[str, Any]:
        """PATCH by JSON patch (RFC 6902); 409 or 422 tell that a ``test`` failed."""
        return await self._call("PATCH", path, operations, _JSON_PATCH)

    async def watch(self, path: str, *, seconds: int) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of a watch until the server ends it.

        Args:
            path: with ``watch=1`` and the rest of the query.
            seconds: when the server will end it; some more without a sign of life is an error.

        Raises:
            KubeApiError: refused, broken or silent.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=seconds + 30)
        async with self._request("GET", path, limits=timeout) as response:
            await _require_success(response, path)
            pending = bytearray()
            async for piece in response.content.iter_any():
                pending += piece
                *lines, rest = pending.split(b"\n")
                pending = bytearray(rest)
                if len(pending) > _MAX_EVENT:
                    raise KubeApiError(f"{path}: an event of more than {_MAX_EVENT} bytes")
                for line in lines:
                    if line.strip():
                        yield _object(bytes(line), path)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | list[dict[str, Any]] | None = None,
        kind: str = "",
    ) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        data = None if body is None else json.dumps(body).encode()
        async with self._request(
            method, path, limits=timeout, data=data, kind=kind or "application/json"
        ) as response:
            await _require_success(response, path)
            return _object(await _read(response, path), path)

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        limits: aiohttp.ClientTimeout,
        data: bytes | None = None,
        kind: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("the session is not open")
        headers = {"Accept": "application/json", **self.config.authorization()}
        if data is not None:
            headers["Content-Type"] = kind
        try:
            async with self._session.request(
                method,
                f"{self.config.server}{path}",
                headers=headers,
                data=data,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            words = str(error) or type(error).__name__
            raise KubeApiError(f"{method} {path} at the Kubernetes API: {words}") from error


async def _require_success(response: aiohttp.ClientResponse, path: str) -> None:
    if response.status < 300:
        return
    message = (await response.content.read(4096)).decode(errors="replace")
    try:
        message = json.loads(message)["message"]
    except (ValueError, KeyError, TypeError):
        message = message[:200]
    raise KubeApiError(
        f"the Kubernetes API answered {response.status} to {path}: {message}",
        status=response.status,
    )


async def _read(response: aiohttp.ClientResponse, path: str) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > _MAX_ANSWER:
            raise KubeApiError(f"{path}: an answer of more than {_MAX_ANSWER} bytes")
    return bytes(data)


def _object(data: bytes, path: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise KubeApiError(f"{path}: the answer is no JSON") from error
    if not isinstance(value, dict):
        raise KubeApiError(f"{path}: the answer is no object")
    return value


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    authority = _bytes(cluster, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = (
        _bytes(user, "client-certificate", folder),
        _bytes(user, "client-key", folder),
    )
    if certificate and key:
        with memory_files(certificate, key) as (certificate_file, key_file):
            context.load_cert_chain(certificate_file, key_file)
    return context


def _bytes(holder: Mapping[str, Any], key: str, folder: Path) -> bytes:
    if f"{key}-data" in holder:
        return base64.b64decode(holder[f"{key}-data"])
    return (folder / holder[key]).read_bytes() if key in holder else b""
