"""One reconciliation of a PackageRepo that is built here: look, decide, write, act."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plimsoll.kube.paths import path
from plimsoll.operator.children import look_at_jobs
from plimsoll.operator.controller import Done
from plimsoll.operator.objects import find_repositories
from plimsoll.operator.packages import reconcile_packages
from plimsoll.operator.packagesession import RUNNING
from plimsoll.operator.state import PackagesObserved

if TYPE_CHECKING:
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagestatus import PackageRepoStatus
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.carrier import Carrier
    from plimsoll.operator.metrics import Metrics
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.workqueue import Key

Body = dict[str, Any]


class PackageBuilder:
    """Builds PackageRepos."""

    def __init__(
        self, kube: KubeClient, carrier: Carrier, settings: JobSettings, metrics: Metrics
    ) -> None:
        self._kube = kube
        self._carrier = carrier
        self._settings = settings
        self._metrics = metrics

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._carrier.forget(key)

    async def reconcile(self, key: Key, body: Body, desired: PackageRepo, fault: str) -> Done:
        """Do what is to be done.

        Args:
            key: of the object.
            body: the object as the API server gave it.
            desired: the same, read.
            fault: what is wrong with its spec, if it could not be read.

        Raises:
            KubeError: the API server is not reachable, or somebody wrote in between (409).
        """
        observed = await self._observe(desired, fault, self._carrier.refused(key))
        now = datetime.now(UTC)
        # Nothing is awaited between the question for room and the answer.
        observed = replace(observed, room=self._carrier.room(key))
        plan = reconcile_packages(desired, observed, now, self._settings)
        running = sum(build.state in RUNNING for build in plan.status.builds)
        body, again = await self._carrier.carry_out(
            key, body, desired.metadata, desired.status, plan, running, now
        )
        self._count(desired.status, plan.status)
        if again:
            later = desired.model_copy(update={"status": plan.status})
            return await self.reconcile(key, body, later, fault)
        packages = desired.spec.packages
        uses = packages.repositories if packages is not None else []
        names = frozenset(use.name for use in uses if use.name)
        sources = packages.sources if packages is not None else []
        maps = frozenset(source.config_map.name for source in sources if source.config_map)
        return Done(requeue_after=plan.requeue_after, repositories=names, config_maps=maps)

    async def _observe(self, desired: PackageRepo, fault: str, refused: str) -> PackagesObserved:
        namespace, packages = desired.metadata.namespace, desired.spec.packages
        uses = packages.repositories if packages is not None else []
        names = (use.name for use in uses)
        repositories = await find_repositories(self._kube, namespace, names)
        config_maps: dict[str, str] = {}
        for source in packages.sources if packages is not None else []:
            if source.config_map is not None:
                name = source.config_map.name
                found = await self._kube.find(path("ConfigMap", namespace, name))
                if found is not None:
                    config_maps[name] = contents_hash(found)
        return PackagesObserved(
            jobs=await look_at_jobs(self._kube, "PackageRepo", desired.metadata),
            repositories=repositories,
            config_maps=config_maps,
            fault=fault,
            refused=refused,
        )

    def _count(self, old: PackageRepoStatus, new: PackageRepoStatus) -> None:
        known = {record.id for record in old.history}
        for record in new.history:
            if record.id not in known:
                self._metrics.packages.labels(record.state).inc()


def contents_hash(config_map: Body) -> str:
    """Hash of what is in a ConfigMap."""
    facts = [config_map.get("data") or {}, config_map.get("binaryData") or {}]
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
