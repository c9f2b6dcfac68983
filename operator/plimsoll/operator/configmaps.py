"""Notices changed ConfigMaps: names only, so that a cluster full of them costs no memory.

Nothing depends on it: those that objects refer to are looked at once a minute all the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from plimsoll.kube.errors import KubeError
from plimsoll.kube.paths import path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.manager import Manager

_SECONDS = 240
_PAUSE = 5.0

log = structlog.get_logger(__name__)


async def watch_config_maps(kube: KubeClient, manager: Manager, namespaces: Sequence[str]) -> None:
    """Tell the manager of every change, until cancelled.

    Args:
        kube: the cluster.
        manager: is told.
        namespaces: to watch; all if empty.
    """
    async with asyncio.TaskGroup() as group:
        for namespace in namespaces or ("",):
            group.create_task(_follow(kube, manager, namespace))


async def _follow(kube: KubeClient, manager: Manager, namespace: str) -> None:
    while True:
        try:
            await _watch(kube, manager, namespace)
        except KubeError as error:
            if error.status == 403:
                log.warning("ConfigMaps are not watched", error=error.message)
                return
            log.info("watching ConfigMaps again", error=error.message)
            await asyncio.sleep(_PAUSE)


async def _watch(kube: KubeClient, manager: Manager, namespace: str) -> None:
    where = path("ConfigMap", namespace)
    version = (await kube.get(f"{where}?limit=1"))["metadata"]["resourceVersion"]
    while version:
        query = f"?watch=1&allowWatchBookmarks=true&timeoutSeconds={_SECONDS}"
        events = kube.watch(
            f"{where}{query}&resourceVersion={version}", seconds=_SECONDS, metadata_only=True
        )
        async for event in events:
            if event.get("type") == "ERROR":
                raise KubeError("the version to go on from is not known any more", status=410)
            about = event["object"]["metadata"]
            version = about["resourceVersion"]
            if event["type"] != "BOOKMARK":
                manager.notice_config_map(about["namespace"], about["name"])
