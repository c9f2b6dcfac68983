"""What is kept of builds and what is removed, in the status and in the cluster. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.api.packagebuildstatus import PackageRecord
from plimsoll.operator.state import Delete

if TYPE_CHECKING:
    from datetime import datetime

    from plimsoll.api.packagebuildstatus import PackageBuild
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagestatus import PackageRepoStatus
    from plimsoll.operator.state import Action, PackagesObserved


def tidy(desired: PackageRepo, observed: PackagesObserved) -> list[Action]:
    """Stop the Jobs of what has ended; remove what is not kept."""
    status, namespace = desired.status, desired.metadata.namespace
    running = {build.id for build in status.builds if build.state != "Failed"}
    running |= {publish.id for publish in status.publishing if publish.failure is None}
    # The outbox of a package that is published ends by itself, and its log stays.
    running |= {record.id for record in status.history if record.state == "Published"}
    kept = {build.id for build in status.builds} | {each.id for each in status.publishing}
    kept |= {record.id for record in status.history}
    kept |= {record.published_by for record in status.history if record.published_by}
    if status.plan is not None:
        kept.add(status.plan.id)
        if status.plan.state == "Running":
            running.add(status.plan.id)
    if status.keys is not None:
        kept.add(status.keys.id)
        running.add(status.keys.id)
    needed = {build.request for build in status.builds} | {
        each.request for each in status.publishing
    }
    needed.add(status.plan.id if status.plan is not None else "")
    gone = [
        job
        for job in observed.jobs
        if job.build not in kept or (job.build not in running and not job.finished)
    ]
    # The Jobs go last: they are what tells that there is something to remove.
    requests = sorted({job.request for job in gone if job.request} - needed)
    maps: list[Action] = [Delete("ConfigMap", namespace, request) for request in requests]
    return [*maps, *(Delete("Job", namespace, job.name) for job in gone)]


def moved(status: PackageRepoStatus, url: str) -> PackageRepoStatus:
    """The status for this place: what lies elsewhere, or was somebody else's, is forgotten."""
    changes: dict[str, object] = {"url": url}
    if status.url not in {None, url}:
        changes |= {name: [] for name in ("indexes", "builds", "blocked", "publishing", "abi")}
        changes |= {"packages": None, "counts": None, "planned": None}
        changes["conditions"] = [each for each in status.conditions if each.type != "Ready"]
    return status.model_copy(update=changes)


def record(build: PackageBuild, state: str, now: datetime) -> PackageRecord:
    """A build as the history keeps it."""
    return PackageRecord.model_validate(
        {
            "id": build.id,
            "name": build.name,
            "arch": build.arch,
            "version": build.version,
            "state": state,
            "finished_at": now.replace(microsecond=0),
            "failure": build.failure,
        }
    )
