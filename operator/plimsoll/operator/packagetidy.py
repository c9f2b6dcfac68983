"""What is removed: Jobs that nobody waits for, and those that the history no longer knows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.operator.state import Delete

if TYPE_CHECKING:
    from plimsoll.api.packagerepo import PackageRepo
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
