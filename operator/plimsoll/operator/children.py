"""Looks at the Jobs of one of our objects, with their pods and what events say of those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plimsoll.kube.paths import path
from plimsoll.operator.observe import job_views, unstarted
from plimsoll.operator.podspec import owner_label

if TYPE_CHECKING:
    from plimsoll.api.meta import ObjectMeta
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.podspec import OwnerKind
    from plimsoll.operator.state import JobView

Body = dict[str, Any]


async def look_at_jobs(kube: KubeClient, kind: OwnerKind, owner: ObjectMeta) -> tuple[JobView, ...]:
    """Every Job of an object.

    Raises:
        KubeError: the API server is not reachable.
    """
    selector = f"{owner_label(kind)}={owner.uid}"
    jobs = await kube.list(path("Job", owner.namespace), labels=selector)
    pods = await kube.list(path("Pod", owner.namespace), labels=selector) if jobs else []
    events = {
        name: await _events(kube, owner.namespace, name)
        for name in [*unstarted(pods), *_without_pods(jobs, pods)]
    }
    return job_views(jobs, pods, events)


async def _events(kube: KubeClient, namespace: str, name: str) -> list[Body]:
    found = await kube.list(path("Event", namespace), fields=f"involvedObject.name={name}")
    return sorted(found, key=lambda event: str(event.get("lastTimestamp") or ""), reverse=True)


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
