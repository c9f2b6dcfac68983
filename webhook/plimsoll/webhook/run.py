"""The webhook process: everything started, followed, and let go in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import traceback
import uuid
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from plimsoll.kube.client import KubeClient
from plimsoll.webhook.access import OwnLogins, PullSecrets
from plimsoll.webhook.alerts import Alerts, read_receivers
from plimsoll.webhook.background import Background
from plimsoll.webhook.decide import Decider
from plimsoll.webhook.explain import trace
from plimsoll.webhook.lease import Leader
from plimsoll.webhook.metrics import Metrics
from plimsoll.webhook.registries import Registries
from plimsoll.webhook.server import AdmissionHandler, admission_app, health_app
from plimsoll.webhook.store import PolicyStore
from plimsoll.webhook.tls import SelfManaged, ServingCertificate, follow_files
from plimsoll.webhook.tracing import tracing_to
from plimsoll.webhook.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from plimsoll.kube.config import KubeConfig
    from plimsoll.webhook.settings import Settings

log = structlog.get_logger("plimsoll.webhook")


class _Stop(Exception):  # noqa: N818  ends the task group, no fault
    """Somebody asked the process to end."""


async def run(settings: Settings, config: KubeConfig, stop: asyncio.Event | None = None) -> None:
    """Serve until SIGTERM, SIGINT or ``stop``.

    Args:
        settings: all settings.
        config: where the API server is.
        stop: ends the webhook when set, for programs that embed it.
    """
    ending = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, ValueError):
            loop.add_signal_handler(number, ending.set)
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(
            KubeClient(config, agent="plimsoll-webhook", timeout=10.0)
        )
        tracing = tracing_to(settings.tracing)
        stack.callback(tracing.close)
        metrics = Metrics()
        registries = await stack.enter_async_context(
            Registries(
                insecure=settings.insecure_registries,
                seconds=settings.deadline,
                observe=metrics.registry_call,
                tracing=tracing,
            )
        )
        store = PolicyStore(
            api,
            config.namespace,
            sigstore=settings.sigstore_policies,
            default_trust_root=settings.default_trust_root,
            exception_namespaces=settings.exception_namespaces,
            allow_no_authorities=settings.allow_no_authorities,
        )
        secrets = PullSecrets(api, OwnLogins(), enabled=settings.pod_pull_secrets)
        verifier = Verifier(settings, registries, secrets, observe=trace)
        stack.push_async_callback(verifier.close)
        metrics.follow(verifier, store)
        serving = ServingCertificate()

        listening = asyncio.Event()

        def faults() -> list[str]:
            reasons = [] if serving.loaded.is_set() else ["there is no serving certificate yet"]
            if not reasons and not listening.is_set():
                reasons = ["its port is not open yet"]
            return [*reasons, "it is ending"] if ending.is_set() else reasons

        decider = Decider(settings, store, verifier, secrets)
        alerts = Alerts([] if settings.alerts is None else read_receivers(settings.alerts))
        metrics.alerts = alerts
        handler = AdmissionHandler(decider, metrics, alerts, tracing, ending.is_set)
        admission = web.AppRunner(
            admission_app(handler, pins=bool(settings.mutating_configuration)),
            access_log=None,
            shutdown_timeout=settings.timeout,
        )
        health = web.AppRunner(health_app(store, metrics, faults), access_log=None)
        for runner in (health, admission):
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
        await web.TCPSite(health, settings.host, settings.health_port).start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(store.run())
                if settings.tls_files is not None:
                    tasks.create_task(follow_files(serving, *settings.tls_files))
                else:
                    tasks.create_task(SelfManaged(api, settings, serving).run())
                tasks.create_task(_serve(settings, admission, serving, store, listening))
                tasks.create_task(beside(alerts.run))
                if settings.background:
                    leader = Leader(api, f"{settings.service}-background", _identity())
                    background = Background(api, settings, store, decider, leader, alerts)
                    metrics.findings = lambda: background.findings
                    tasks.create_task(beside(leader.run))
                    tasks.create_task(beside(background.run))
                tasks.create_task(_drain(ending, settings.drain_seconds))
        except* _Stop:
            log.info("ended")


async def beside(work: Callable[[], Awaitable[None]], pause: float = 10.0) -> None:
    """Do work that admission does not depend on: a defect of it is logged, and it begins anew.

    Args:
        work: ends by being cancelled only.
        pause: seconds before it begins anew.
    """
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  whatever it is, admission goes on
            place = traceback.extract_tb(error.__traceback__)[-1]
            # Not its words: they may name the address of a receiver of alerts.
            log.error("defect", kind=type(error).__name__, file=place.filename, line=place.lineno)  # noqa: TRY400
        await asyncio.sleep(pause)


def _identity() -> str:
    """Unlike that of any other process; in a cluster it begins with the pod's name."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def settle_memory() -> None:
    """Keep the garbage collector off what stays for good, and from looking after each request.

    A request's objects are freed as their last reference goes; cycles among them are few.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _drain(ending: asyncio.Event, seconds: float) -> None:
    """End the process some time after it was asked to.

    The API server goes on sending requests until it has noticed that the pod is gone.
    """
    await ending.wait()
    log.info("ending", drain=seconds)
    await asyncio.sleep(seconds)
    raise _Stop


async def _serve(
    settings: Settings,
    runner: web.AppRunner,
    serving: ServingCertificate,
    store: PolicyStore,
    listening: asyncio.Event,
) -> None:
    """Open the port once there is something to say and a certificate to say it with."""
    await serving.loaded.wait()
    await store.wait_ready()
    settle_memory()
    await web.TCPSite(runner, settings.host, settings.port, ssl_context=serving.context).start()
    listening.set()
    log.info("ready", port=settings.port, policies=len(store.policies.policies))
