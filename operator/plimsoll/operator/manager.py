"""Takes keys from the queue and reconciles them, with errors waited out."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from plimsoll.errors import Error
from plimsoll.kube.errors import KubeError
from plimsoll.operator.workqueue import Key, Workqueue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.operator.controller import Done
    from plimsoll.operator.metrics import Metrics

FIRST_DELAY = 0.2
LAST_DELAY = 300.0

log = structlog.get_logger(__name__)


class Controller(Protocol):
    """Reconciles the objects of one kind."""

    async def reconcile(self, key: Key) -> Done:
        """Look at one object and do what is to be done."""


class Teller(Protocol):
    """Tells people of an object that cannot be reconciled."""

    async def tell(self, key: Key, error: Exception) -> None:
        """Say why."""

    def forget(self, key: Key) -> None:
        """It can be reconciled again, or is gone."""


class Manager:
    """The queue, its workers, and who refers to which PackageRepo and ConfigMap.

    Args:
        controllers: by kind.
        faults: is told what cannot be reconciled.
        workers: objects reconciled at the same time.
        resync: seconds after which every object is looked at again, even with no event.
    """

    def __init__(
        self,
        controllers: Mapping[str, Controller],
        faults: Teller,
        metrics: Metrics,
        *,
        workers: int,
        resync: float,
    ) -> None:
        self.queue = Workqueue()
        self.last_event = time.monotonic()
        self._controllers = controllers
        self._faults = faults
        self._metrics = metrics
        self._workers = workers
        self._resync = resync
        self._failures: dict[Key, int] = {}
        self._references: dict[Key, frozenset[str]] = {}
        self._config_maps: dict[Key, frozenset[str]] = {}
        for kind in controllers:
            metrics.failing.labels(kind).set_function(partial(self._failing, kind))
        metrics.queue.set_function(lambda: len(self.queue))

    def notice(self, key: Key) -> None:
        """Something happened to an object."""
        self.last_event = time.monotonic()
        self._metrics.last_event.set_to_current_time()
        self.queue.add(key)

    def notice_repository(self, namespace: str, name: str) -> None:
        """Something happened to a PackageRepo: those who use it look too."""
        self.notice(Key("PackageRepo", namespace, name))
        for user, names in self._references.items():
            if user.namespace == namespace and name in names:
                self.queue.add(user)

    def notice_config_map(self, namespace: str, name: str) -> None:
        """Something happened to a ConfigMap: those who use it look."""
        for user, names in self._config_maps.items():
            if user.namespace == namespace and name in names:
                self.queue.add(user)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._reconcile(key)
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        started = time.monotonic()
        try:
            done = await self._controllers[key.kind].reconcile(key)
        except Exception as error:
            # One object that we cannot cope with must not stop the others.
            if not isinstance(error, Error):
                log.exception("reconciliation failed", object=str(key))
            self._again(key, error)
            await self._faults.tell(key, error)
        else:
            self._failures.pop(key, None)
            self._faults.forget(key)
            self._after(key, done)
            self._metrics.results.labels(key.kind, "done").inc()
        finally:
            self._metrics.seconds.labels(key.kind).observe(time.monotonic() - started)

    def _after(self, key: Key, done: Done) -> None:
        if done.gone:
            self._references.pop(key, None)
            self._config_maps.pop(key, None)
            return
        self._references[key] = done.repositories
        self._config_maps[key] = done.config_maps
        wait = self._resync * random.uniform(0.9, 1.0)  # noqa: S311  spreads load
        if done.requeue_after is not None:
            wait = min(wait, done.requeue_after.total_seconds())
        self.queue.add_after(key, max(wait, 0.05))

    def _again(self, key: Key, error: Exception) -> None:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(FIRST_DELAY * 2 ** min(count - 1, 20), LAST_DELAY)
        # Somebody wrote or deleted it in between; another look tells.
        conflict = isinstance(error, KubeError) and error.status in {404, 409}
        self._metrics.results.labels(key.kind, "conflict" if conflict else "error").inc()
        if not conflict:
            said = str(error) if isinstance(error, Error) else repr(error)
            log.warning("trying again", object=str(key), error=said, seconds=delay)
        self.queue.add_after(key, delay)

    def _failing(self, kind: str) -> int:
        return sum(key.kind == kind for key in self._failures)
