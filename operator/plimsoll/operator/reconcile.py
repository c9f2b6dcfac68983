"""What to do about one ImageBuild: a pure function of what is wanted and what there is.

Level-based: it looks at the state, never at what happened. Whatever the operator forgot in a
restart is in the status and in the Jobs, so the same Jobs are taken up again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from plimsoll.api.imagebuildstatus import Build, BuildInputs, BuildRecord, VariantBuild
from plimsoll.api.meta import CANCEL, REQUESTED_AT
from plimsoll.operator import conditions, sources
from plimsoll.operator.jobs import build_id
from plimsoll.operator.outcome import succeeded
from plimsoll.operator.progress import Run
from plimsoll.operator.specs import InvalidSpecError, MissingError
from plimsoll.operator.state import Action, Delete, Observed, Plan
from plimsoll.operator.supply import NOTHING, supply_of
from plimsoll.operator.trigger import next_schedule, retry_delay, scan_hash, trigger

if TYPE_CHECKING:
    from plimsoll.api.imagebuild import ImageBuild
    from plimsoll.api.imagebuildstatus import ImageBuildStatus
    from plimsoll.operator.progress import Progress
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.sources import Configuration, Repositories
    from plimsoll.operator.supply import Supply
    from plimsoll.operator.trigger import Trigger

#: How soon to look again at a Job whose pod does not start: no event tells why.
TROUBLE_INTERVAL = timedelta(seconds=10)
#: How soon to look again at things that no watch covers, such as the ConfigMap of ``imageFrom``.
UNWATCHED_INTERVAL = timedelta(minutes=1)
MAX_HISTORY = 50


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an ImageBuild: what the summary in the conditions is made from.

    Attributes:
        crowded: a build would start if not as many as may run did already.
        supply: what its PackageRepos lack.
    """

    desired: ImageBuild
    now: datetime
    configuration: Configuration | None = None
    invalid: InvalidSpecError | None = None
    missing: MissingError | None = None
    progress: Progress | None = None
    crowded: bool = False
    supply: Supply = NOTHING


def reconcile(
    desired: ImageBuild, observed: Observed, now: datetime, settings: JobSettings
) -> Plan[ImageBuildStatus]:
    """Decide what to do next.

    Args:
        desired: the object, with the status that was written last.
        observed: the world around it.
        now: the present time, UTC.
        settings: how Jobs run.
    """
    if desired.metadata.deletion_timestamp is not None:
        return Plan(status=desired.status)
    before = desired.status
    configuration: Configuration | None = None
    repositories: Repositories | None = None
    invalid: InvalidSpecError | None = None
    missing: MissingError | None = None
    try:
        configuration = sources.configuration(desired, observed)
        next_schedule(desired)
        repositories = sources.repositories(desired.spec.repositories, observed.repositories)
    except InvalidSpecError as error:
        invalid = error
    except MissingError as error:
        missing = error

    actions: tuple[Action, ...] = ()
    progress: Progress | None = None
    crowded = False
    status = before
    if _running(status) and _cancelled(desired):
        status = _end(desired, status, "Cancelled", now)
        desired = desired.model_copy(update={"status": status})
    if _running(status) and _superseded(desired, observed, configuration, invalid):
        status = _end(desired, status, "Cancelled", now)
    if configuration is not None and invalid is None:
        desired = desired.model_copy(update={"status": status})
        if not _running(status) and repositories is not None and not desired.spec.suspend:
            why = trigger(desired, configuration, repositories, now)
            crowded = why is not None and observed.room is not None and observed.room < 1
            if why is not None and not crowded:
                status = _start(desired, configuration, repositories, why, now)
                desired = desired.model_copy(update={"status": status})
        if _running(status) and status.build is not None:
            run = Run(desired, status.build, configuration, repositories, observed, settings)
            progress = run.advance()
            status, actions = _after(desired, progress, now)

    desired = desired.model_copy(update={"status": status})
    look = Look(desired, now, configuration, invalid, missing, progress, crowded)
    look = replace(look, supply=_supply(look, observed))
    scheduled = None if invalid or desired.spec.suspend else next_schedule(desired)
    status = status.model_copy(
        update={
            "observed_generation": desired.metadata.generation,
            "conditions": conditions.summarize(look),
            "next_schedule": scheduled,
        }
    )
    look = replace(look, desired=desired.model_copy(update={"status": status}))
    return Plan(
        status=status,
        actions=(*actions, *_clean(desired, observed)),
        events=conditions.events(before, status, look),
        requeue_after=TROUBLE_INTERVAL if crowded else _requeue(look),
    )


def _supply(look: Look, observed: Observed) -> Supply:
    if look.configuration is None:
        return NOTHING
    archs = {arch.oci for arch in look.configuration.archs}
    return supply_of(look.desired.spec.repositories, observed.repositories, archs)


def _running(status: ImageBuildStatus) -> bool:
    return status.build is not None and status.build.state == "Running"


def _cancelled(desired: ImageBuild) -> bool:
    """Whether somebody asked that the running build ends, and it has not been sealed yet."""
    build = desired.status.build
    asked = desired.metadata.annotations.get(CANCEL)
    return build is not None and not build.is_sealed and asked == build.id


def _superseded(
    desired: ImageBuild,
    observed: Observed,
    configuration: Configuration | None,
    invalid: InvalidSpecError | None,
) -> bool:
    """Whether the running build makes something that nobody wants any more."""
    build = desired.status.build
    if build is None or build.is_sealed:
        # Its tags are about to move; the next build will move them again.
        return False
    if invalid is not None:
        return True
    if configuration is None:
        return False
    if build.inputs.configuration != configuration.hash:
        return True
    # Jobs cannot be changed, so trouble with one may be what the new spec is to end.
    troubled = any(job.trouble for job in observed.jobs if job.build == build.id)
    return build.inputs.generation != desired.metadata.generation and troubled


def _start(
    desired: ImageBuild,
    configuration: Configuration,
    repositories: Repositories,
    why: Trigger,
    now: datetime,
) -> ImageBuildStatus:
    status = desired.status
    asked = desired.metadata.annotations.get(REQUESTED_AT)
    number = (status.build.number if status.build else 0) + 1
    inputs = BuildInputs(
        generation=desired.metadata.generation,
        configuration=configuration.hash,
        repositories=repositories.hash,
        output=desired.spec.output.repository,
        scan=scan_hash(desired.spec),
        requested_at=asked,
    )
    build = Build(
        id=build_id(desired, number, inputs),
        number=number,
        reason=why.reason,
        message=why.message,
        state="Running",
        started_at=now.replace(microsecond=0),
        inputs=inputs,
        force=why.force,
        variants=[VariantBuild(name=each.name) for each in configuration.variants],
    )
    failures = status.failures if why.reason == "Retry" else 0
    return status.model_copy(
        update={
            "build": build,
            "retry_at": None,
            "failures": failures,
            "last_handled_reconcile_at": asked or status.last_handled_reconcile_at,
        }
    )


def _after(
    desired: ImageBuild, progress: Progress, now: datetime
) -> tuple[ImageBuildStatus, tuple[Action, ...]]:
    """The status after one look at the running build."""
    status = desired.status.model_copy(update={"build": progress.build})
    build = progress.build
    if progress.failure is not None:
        failures = status.failures + 1
        retry = now.replace(microsecond=0) + retry_delay(failures)
        status = status.model_copy(
            update={
                "build": build.model_copy(update={"failure": progress.failure}),
                "failures": failures,
                "retry_at": retry if progress.failure.retryable else None,
            }
        )
        return _end(desired, status, "Failed", now), ()
    if progress.unchanged:
        status = status.model_copy(update={"failures": 0})
        return _end(desired, status, "Unchanged", now), ()
    if progress.promoted is None:
        return status, progress.actions
    return _end(desired, succeeded(status, build, progress.promoted), "Succeeded", now), ()


def _end(
    desired: ImageBuild, status: ImageBuildStatus, state: str, now: datetime
) -> ImageBuildStatus:
    """The status after the running build ended, with an entry in the history."""
    assert status.build is not None  # noqa: S101  the callers looked
    build = status.build.model_copy(
        update={"state": state, "finished_at": now.replace(microsecond=0)}
    )
    record = BuildRecord.model_validate(build.model_dump(include=set(BuildRecord.model_fields)))
    keep = min(desired.spec.retention.builds, MAX_HISTORY)
    return status.model_copy(update={"build": build, "history": [record, *status.history][:keep]})


def _clean(desired: ImageBuild, observed: Observed) -> list[Action]:
    """Stop the Jobs of ended builds; remove what the history no longer knows."""
    status, namespace = desired.status, desired.metadata.namespace
    current = status.build.id if status.build is not None and _running(status) else ""
    kept = {record.id for record in status.history} | {current}
    actions: list[Action] = []
    for gone in sorted({job.build for job in observed.jobs} - kept):
        # The Jobs go last: they are what tells that there is something to remove.
        actions.append(Delete("ConfigMap", namespace, gone))
        actions += [
            Delete("Job", namespace, job.name) for job in observed.jobs if job.build == gone
        ]
    actions += [
        Delete("Job", namespace, job.name)
        for job in observed.jobs
        if job.build in kept and job.build != current and not job.finished
    ]
    return actions


def _requeue(look: Look) -> timedelta | None:
    desired, status = look.desired, look.desired.status
    progress, missing, now = look.progress, look.missing, look.now
    waits: list[timedelta] = []
    if progress is not None and progress.phase:
        waits.append(TROUBLE_INTERVAL if progress.starting else UNWATCHED_INTERVAL)
    if missing is not None or desired.spec.image_from is not None:
        waits.append(UNWATCHED_INTERVAL)
    if not desired.spec.suspend:
        waits += [
            max(at - now, timedelta(seconds=1))
            for at in (status.retry_at, status.next_schedule)
            if at is not None
        ]
    return min(waits, default=None)
