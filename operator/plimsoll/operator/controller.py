"""One reconciliation of an ImageBuild against a cluster: look, decide, write, act."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from plimsoll.api.imagebuild import ImageBuild, image_build
from plimsoll.api.packagerepo import PackageRepo
from plimsoll.kube.errors import KubeError
from plimsoll.kube.paths import path
from plimsoll.operator.observe import job_views, unstarted
from plimsoll.operator.podspec import owner_label
from plimsoll.operator.reconcile import reconcile
from plimsoll.operator.sources import explain
from plimsoll.operator.state import Create, Observed, Plan

if TYPE_CHECKING:
    from datetime import timedelta

    from plimsoll.api.imagebuildstatus import ImageBuildStatus
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.metrics import Metrics
    from plimsoll.operator.recorder import Recorder
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
    """

    gone: bool = False
    requeue_after: timedelta | None = None
    repositories: frozenset[str] = frozenset()


class ImageBuildController:
    """Reconciles ImageBuilds."""

    def __init__(
        self, kube: KubeClient, recorder: Recorder, settings: JobSettings, metrics: Metrics
    ) -> None:
        self._kube = kube
        self._recorder = recorder
        self._settings = settings
        self._metrics = metrics
        # What the API server refused last, told in the condition until it is accepted.
        self._refused: dict[Key, str] = {}

    async def reconcile(self, key: Key) -> Done:
        """Look at one ImageBuild and do what is to be done.

        Raises:
            KubeError: the API server is not reachable, or somebody wrote in between (409).
        """
        body = await self._kube.find(path("ImageBuild", key.namespace, key.name))
        if body is None:
            self._refused.pop(key, None)
            return Done(gone=True)
        desired, fault = read(body)
        observed = await self._observe(desired, fault, self._refused.get(key, ""))
        now = datetime.now(UTC)
        plan = reconcile(desired, observed, now, self._settings)
        await self._write(body, desired, plan)
        refusal = await self._act(plan)
        if refusal and refusal != self._refused.get(key):
            self._refused[key] = refusal
            return await self.reconcile(key)
        if not refusal:
            self._refused.pop(key, None)
        await self._recorder.post("ImageBuild", desired.metadata, plan.events, now)
        self._count(desired.status, plan.status)
        names = frozenset(use.name for use in desired.spec.repositories if use.name)
        return Done(requeue_after=plan.requeue_after, repositories=names)

    async def _observe(self, desired: ImageBuild, fault: str, refused: str) -> Observed:
        namespace, spec = desired.metadata.namespace, desired.spec
        selector = f"{owner_label('ImageBuild')}={desired.metadata.uid}"
        jobs = await self._kube.list(path("Job", namespace), labels=selector)
        pods = await self._kube.list(path("Pod", namespace), labels=selector) if jobs else []
        about = [*unstarted(pods), *_without_pods(jobs, pods)]
        events = {name: await self._events(namespace, name) for name in about}
        repositories = {}
        for use in spec.repositories:
            if use.name is not None:
                found = await self._kube.find(path("PackageRepo", namespace, use.name))
                if found is not None:
                    repositories[use.name] = PackageRepo.model_validate(found)
        config_map: dict[str, str] | None = None
        if spec.image_from is not None:
            name = spec.image_from.config_map.name
            found = await self._kube.find(path("ConfigMap", namespace, name))
            config_map = None if found is None else dict(found.get("data") or {})
        return Observed(
            jobs=job_views(jobs, pods, events),
            repositories=repositories,
            config_map=config_map,
            fault=fault,
            refused=refused,
        )

    async def _events(self, namespace: str, name: str) -> list[Body]:
        found = await self._kube.list(
            path("Event", namespace), fields=f"involvedObject.name={name}"
        )
        return sorted(found, key=lambda event: str(event.get("lastTimestamp") or ""), reverse=True)

    async def _write(self, body: Body, desired: ImageBuild, plan: Plan) -> None:
        new = _plain(plan.status)
        if new == _plain(desired.status) and body.get("status") is not None:
            return
        where = path("ImageBuild", desired.metadata.namespace, desired.metadata.name, "status")
        await self._kube.replace(where, {**body, "status": new})

    async def _act(self, plan: Plan) -> str:
        """Carry the plan out; the sentence of what the API server refused, if it did."""
        for action in plan.actions:
            try:
                if isinstance(action, Create):
                    manifest = action.manifest
                    where = path(manifest["kind"], manifest["metadata"]["namespace"])
                    await self._kube.create(where, manifest)
                else:
                    await self._kube.delete(path(action.kind, action.namespace, action.name))
            except KubeError as error:
                if error.status == 409 and isinstance(action, Create):
                    continue
                if error.retryable or not isinstance(action, Create):
                    raise
                name = f"{action.manifest['kind']} {action.manifest['metadata']['name']}"
                return f"{name} cannot be created: {error.message}"
        return ""

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


def _without_pods(jobs: list[Body], pods: list[Body]) -> list[str]:
    """Names of Jobs that have not ended and have no pod."""
    served = {
        reference.get("name")
        for pod in pods
        for reference in pod["metadata"].get("ownerReferences") or []
    }
    return [
        job["metadata"]["name"]
        for job in jobs
        if job["metadata"]["name"] not in served
        and not any(
            condition.get("type") in {"Complete", "Failed"} and condition.get("status") == "True"
            for condition in job.get("status", {}).get("conditions") or []
        )
    ]


def _plain(status: ImageBuildStatus) -> Body:
    data: Body = json.loads(status.model_dump_json(by_alias=True, exclude_none=True))
    return data
