"""A list that follows the cluster: list, watch, and list again when the thread is lost."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import structlog

from plimsoll.kube.errors import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plimsoll.kube.client import KubeClient

_PAGE = 500
_WATCH_SECONDS = 290
_ABSENT_SECONDS = 30.0

log = structlog.get_logger("plimsoll.webhook.informer")


class GoneError(KubeError):
    """The server no longer knows the version that a watch continues from."""


class Informer:
    """All objects of one resource, of all namespaces.

    After the first list the last known objects stay in use however long the server is away.

    Args:
        api: the session.
        path: of the resource: ``/apis/GROUP/VERSION/PLURAL``.
        changed: called in the event loop after every change.
        optional: the resource may be unknown to the server; then there are no objects.
        backoff: seconds to wait after the first failure; doubled up to 32 times that.
    """

    def __init__(
        self,
        api: KubeClient,
        path: str,
        changed: Callable[[], None],
        *,
        optional: bool = False,
        backoff: float = 1.0,
    ) -> None:
        self.path = path
        self.synced = asyncio.Event()
        self.problem = "not listed yet"
        self._api = api
        self._changed = changed
        self._optional = optional
        self._backoff = backoff
        self._objects: dict[str, dict[str, Any]] = {}

    @property
    def objects(self) -> Mapping[str, dict[str, Any]]:
        """Objects by name (``NAMESPACE/NAME`` where they have one), as last seen."""
        return self._objects

    async def run(self) -> None:
        """Follow the resource until cancelled."""
        failures = 0
        while True:
            try:
                version = await self._list()
                failures = 0
                while True:
                    version = await self._watch(version)
            except GoneError:
                continue
            except KubeError as error:
                if error.status == 404 and self._optional:
                    self._replace({})
                    await asyncio.sleep(_ABSENT_SECONDS)
                    continue
                failures += 1
                self.problem = str(error)
                log.warning("cannot follow", path=self.path, error=str(error), failures=failures)
                pause = self._backoff * 2 ** min(failures - 1, 5)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  jitter only

    async def _list(self) -> str:
        objects: dict[str, dict[str, Any]] = {}
        token = ""
        while True:
            page = await self._api.get(
                f"{self.path}?limit={_PAGE}" + (f"&continue={token}" if token else "")
            )
            metadata = page.get("metadata") or {}
            objects |= {_key(item["metadata"]): item for item in page.get("items") or []}
            token = metadata.get("continue") or ""
            if not token:
                self._replace(objects)
                return str(metadata.get("resourceVersion") or "")

    def _replace(self, objects: dict[str, dict[str, Any]]) -> None:
        changed = objects != self._objects or not self.synced.is_set()
        self._objects = objects
        self.problem = ""
        if changed:
            self._changed()
        self.synced.set()

    async def _watch(self, version: str) -> str:
        path = (
            f"{self.path}?watch=1&allowWatchBookmarks=true"
            f"&resourceVersion={version}&timeoutSeconds={_WATCH_SECONDS}"
        )
        async for event in self._api.watch(path, seconds=_WATCH_SECONDS):
            kind, item = event.get("type"), event.get("object") or {}
            if kind == "ERROR":
                if item.get("code") == 410:
                    raise GoneError(f"{self.path}: {item.get('message')}", status=410)
                raise KubeError(f"{self.path}: {item}", status=int(item.get("code") or 0))
            metadata = item.get("metadata") or {}
            version = str(metadata.get("resourceVersion") or version)
            if kind in {"ADDED", "MODIFIED"}:
                self._objects = {**self._objects, _key(metadata): item}
            elif kind == "DELETED":
                gone = _key(metadata)
                self._objects = {k: v for k, v in self._objects.items() if k != gone}
            else:
                continue
            self.problem = ""
            self._changed()
        return version


def _key(metadata: Mapping[str, Any]) -> str:
    namespace, name = metadata.get("namespace") or "", str(metadata["name"])
    return f"{namespace}/{name}" if namespace else name
