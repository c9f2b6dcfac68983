"""One reconciliation of an ImageBuild against a cluster: look, decide, write, act."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from plimsoll.api.imagebuild import ImageBuild, image_build
from plimsoll.kube.paths import path
from plimsoll.operator.children import look_at_jobs
from plimsoll.operator.objects import find_repositories
from plimsoll.operator.reconcile import reconcile
from plimsoll.operator.specs import explain
from plimsoll.operator.state import Observed

if TYPE_CHECKING:
    from datetime import timedelta

    from plimsoll.api.imagebuildstatus import ImageBuildStatus
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.carrier import Carrier
    from plimsoll.operator.metrics import Metrics
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.workqueue import Key

log = structlog.get_logger(__name__)
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """What a reconciliation leaves.

    Attributes:
        gone: the object is not there any more.
        requeue_after: look again at the latest then.
        repositories: names of PackageRepos that the object refers to.
        config_maps: names of ConfigMaps that it refers to.
    """

    gone: bool = False
    requeue_after: timedelta | None = None
    repositories: frozenset[str] = frozenset()
    config_maps: frozenset[str] = frozenset()


class ImageBuildController:
    """Reconciles ImageBuilds."""

    def __init__(
        self, kube: KubeClient, carrier: Carrier, settings: JobSettings, metrics: Metrics
    ) -> None:
        self._kube = kube
        self._carrier = carrier
        self._settings = settings
        self._metrics = metrics

    async def reconcile(self, key: Key) -> Done:
        """Look at one ImageBuild and do what is to be done.

        Raises:
            KubeError: the API server is not reachable, or somebody wrote in between (409).
        """
        body = await self._kube.find(path("ImageBuild", key.namespace, key.name))
        if body is None:
            self._carrier.forget(key)
            return Done(gone=True)
        desired, fault = read(body)
        observed = await self._observe(desired, fault, self._carrier.refused(key))
        now = datetime.now(UTC)
        # Nothing is awaited between the question for room and the answer.
        observed = replace(observed, room=self._carrier.room(key))
        plan = reconcile(desired, observed, now, self._settings)
        build = plan.status.build
        running = int(build is not None and build.state == "Running")
        _, again = await self._carrier.carry_out(
            key, body, desired.metadata, desired.status, plan, running, now
        )
        self._count(desired.status, plan.status)
        if again:
            return await self.reconcile(key)
        names = frozenset(use.name for use in desired.spec.repositories if use.name)
        source = desired.spec.image_from
        maps = frozenset({source.config_map.name} if source is not None else ())
        return Done(requeue_after=plan.requeue_after, repositories=names, config_maps=maps)

    async def _observe(self, desired: ImageBuild, fault: str, refused: str) -> Observed:
        namespace, spec = desired.metadata.namespace, desired.spec
        names = (use.name for use in spec.repositories)
        repositories = await find_repositories(self._kube, namespace, names)
        config_map: dict[str, str] | None = None
        if spec.image_from is not None:
            name = spec.image_from.config_map.name
            found = await self._kube.find(path("ConfigMap", namespace, name))
            config_map = None if found is None else dict(found.get("data") or {})
        return Observed(
            jobs=await look_at_jobs(self._kube, "ImageBuild", desired.metadata),
            repositories=repositories,
            config_map=config_map,
            fault=fault,
            refused=refused,
        )

    def _count(self, old: ImageBuildStatus, new: ImageBuildStatus) -> None:
        build = new.build
        if build is None or build.finished_at is None:
            return
        if old.build is not None and old.build.id == build.id and old.build.finished_at is not None:
            return
        self._metrics.builds.labels(build.state).inc()
        seconds = (build.finished_at - build.started_at).total_seconds()
        self._metrics.build_seconds.labels(build.state).observe(seconds)


def read(body: Body) -> tuple[ImageBuild, str]:
    """An ImageBuild as the API server gives it, and what is wrong with its spec.

    The CRD's schema is looser than the model. A spec that the model refuses is replaced by an
    empty one beside the fault, so that the object's state can still be told.
    """
    try:
        return image_build(body), ""
    except ValidationError as error:
        fault = explain(error)
    safe = {"image": {}, "output": {"repository": "unknown.invalid/unknown"}}
    for status in (body.get("status") or {}, {}):
        try:
            return image_build({**body, "spec": safe, "status": status}), fault
        except ValidationError:
            log.warning("status cannot be read", name=body["metadata"]["name"])
    raise ValueError(f"the metadata of {body['metadata'].get('name')} cannot be read")
