"""The operator as a process: watches, workers and probes together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import kopf
import structlog
from aiohttp import web

from plimsoll.errors import Error
from plimsoll.http import Http
from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.kube.errors import KubeError
from plimsoll.operator import wiring
from plimsoll.operator.carrier import Carrier
from plimsoll.operator.configmaps import watch_config_maps
from plimsoll.operator.controller import ImageBuildController
from plimsoll.operator.faults import Faults
from plimsoll.operator.follow import Follower, Inspector
from plimsoll.operator.health import application
from plimsoll.operator.manager import Manager
from plimsoll.operator.metrics import Metrics
from plimsoll.operator.packagecontroller import PackageBuilder
from plimsoll.operator.recorder import Recorder
from plimsoll.operator.repositories import PackageRepoController
from plimsoll.operator.slots import Slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plimsoll.operator.settings import Settings

_KINDS = {"imagebuilds", "packagerepos"}
_PATIENCE = 60.0

log = structlog.get_logger(__name__)


class NotInstalledError(Error):
    """The cluster does not know our kinds."""

    reason = "NotInstalled"


async def serve(settings: Settings, *, stop: asyncio.Event | None = None) -> None:
    """Run until SIGTERM, SIGINT or ``stop``.

    Raises:
        NotInstalledError: the CustomResourceDefinitions are missing.
        KubeError: the API server is not there.
    """
    config = KubeConfig.load()
    ready = asyncio.Event()
    metrics = Metrics()
    async with (
        KubeClient(config, agent=wiring.AGENT) as kube,
        Http(allow_private=False, trusted_hosts=frozenset(settings.jobs.trusted_hosts)) as http,
    ):
        recorder = Recorder(kube)
        slots = Slots(settings.most_builds, settings.most_builds_in_namespace)
        manager = Manager(
            {
                "ImageBuild": ImageBuildController(
                    kube, Carrier("ImageBuild", kube, recorder, slots), settings.jobs, metrics
                ),
                "PackageRepo": PackageRepoController(
                    kube,
                    Follower(kube, recorder, Inspector(http)),
                    PackageBuilder(
                        kube, Carrier("PackageRepo", kube, recorder, slots), settings.jobs, metrics
                    ),
                ),
            },
            Faults(kube, recorder),
            metrics,
            workers=settings.workers,
            resync=settings.resync,
        )
        async with _listening(manager, metrics, ready, settings.port):
            await _wait_for_kinds(kube)
            workers = asyncio.create_task(manager.run())
            maps = asyncio.create_task(watch_config_maps(kube, manager, settings.namespaces))
            try:
                await _watch(manager, config, settings, workers, ready, stop)
            finally:
                workers.cancel()
                maps.cancel()
                await asyncio.gather(workers, maps, return_exceptions=True)


async def _watch(  # noqa: PLR0913, PLR0917  what kopf is started with
    manager: Manager,
    config: KubeConfig,
    settings: Settings,
    workers: asyncio.Task[None],
    ready: asyncio.Event,
    stop: asyncio.Event | None,
) -> None:
    stop = stop or asyncio.Event()
    # Without workers the watches are for nothing.
    workers.add_done_callback(lambda _: stop.set())
    await kopf.operator(
        registry=wiring.registry(manager, config),
        settings=wiring.settings(),
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        ready_flag=ready,
        stop_flag=stop,
    )
    if workers.done():
        workers.result()


@asynccontextmanager
async def _listening(
    manager: Manager, metrics: Metrics, ready: asyncio.Event, port: int
) -> AsyncIterator[None]:
    runner = web.AppRunner(application(manager, metrics, ready), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()


async def _wait_for_kinds(kube: KubeClient) -> None:
    """Wait until the API server serves our kinds; it may be installing them."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    while True:
        missing = _KINDS
        try:
            answer = await kube.get("/apis/plimsoll.dev/v1alpha1")
            missing = _KINDS - {item["name"] for item in answer.get("resources", [])}
        except KubeError as error:
            if loop.time() >= end and error.status != 404:
                raise
            log.warning("waiting for the API server", error=error.message)
        if not missing:
            return
        if loop.time() >= end:
            raise NotInstalledError(
                f"the cluster does not know {', '.join(sorted(missing))} of plimsoll.dev",
                hint="apply crds/, or install the chart with crds.enabled=true",
            )
        await asyncio.sleep(1)
