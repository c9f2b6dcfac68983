"""Putting what was built into the index: one publication at a time for each architecture. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.api.imagebuildstatus import BuildFailure
from plimsoll.api.packagebuildstatus import AbiChange, PackagePublish, PackageRecord
from plimsoll.api.packagesteps import PackagePublishResult
from plimsoll.operator.packagejobs import job_name
from plimsoll.operator.packagerequest import identity
from plimsoll.operator.packageway import read
from plimsoll.operator.planning import merged_index
from plimsoll.operator.podspec import service_account
from plimsoll.operator.state import Create, Event
from plimsoll.operator.trigger import retry_delay

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from plimsoll.api.packagebuildstatus import PackageBuild
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagestatus import PackageRepoStatus
    from plimsoll.api.packagesteps import PackageCounts
    from plimsoll.operator.packageinputs import Inputs
    from plimsoll.operator.packagejobs import PackageJobs
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.state import Action, JobView

#: Most builds that one publication takes.
_MOST = 32
MAX_ABI = 64


@dataclass(frozen=True, slots=True)
class Publication:
    """The status after a look at what is published, and what to do."""

    status: PackageRepoStatus
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    trouble: str = ""
    trouble_reason: str = ""
    starting: bool = False


def active(status: PackageRepoStatus) -> list[PackagePublish]:
    """Publications with a Job."""
    return [each for each in status.publishing if each.failure is None]


def start(desired: PackageRepo, status: PackageRepoStatus, now: datetime) -> PackageRepoStatus:
    """The status with a publication of whatever waits for one. No plan runs."""
    if status.plan is None or status.planned is None:
        return status
    for arch in sorted({build.arch for build in status.builds} | {*status.planned.publish}):
        old = next((each for each in status.publishing if each.arch == arch), None)
        if old is not None and old.failure is None:
            continue
        chosen = _choose(status, arch)
        if old is not None and not _may_retry(old, chosen, now):
            continue
        if chosen or arch in status.planned.publish:
            status = _start(desired, status, arch, chosen, old, now)
        elif old is not None:
            others = [each for each in status.publishing if each.arch != arch]
            status = status.model_copy(update={"publishing": others})
    return status


def _may_retry(old: PackagePublish, chosen: list[PackageBuild], now: datetime) -> bool:
    if old.retry_at is not None:
        return now >= old.retry_at
    # What failed for good was without packages; these may fare better.
    return bool(chosen)


def _choose(status: PackageRepoStatus, arch: str) -> list[PackageBuild]:
    ready = [build for build in status.builds if build.arch == arch and build.state == "Built"]
    alone = [build for build in ready if build.alone]
    return alone[:1] or ready[:_MOST]


def _start(  # noqa: PLR0913, PLR0917  what a publication is
    desired: PackageRepo,
    status: PackageRepoStatus,
    arch: str,
    builds: list[PackageBuild],
    old: PackagePublish | None,
    now: datetime,
) -> PackageRepoStatus:
    plan, planned = status.plan, status.planned
    assert plan is not None  # noqa: S101  the caller looked
    assert planned is not None  # noqa: S101
    number = status.published + 1
    slug = arch.replace("/", "-")
    publish = PackagePublish(
        id=identity(desired, f"publish-{number}-{slug}"),
        number=number,
        arch=arch,
        request=plan.id,
        plan=planned.plan,
        builds=[build.id for build in builds],
        artifacts=[build.collected.artifact for build in builds if build.collected is not None],
        started_at=now.replace(microsecond=0),
        failures=old.failures if old is not None else 0,
    )
    others = [each for each in status.publishing if each.arch != arch]
    return status.model_copy(
        update={
            "published": number,
            "publishing": [*others, publish],
            "builds": _with_state(status, set(publish.builds), {"state": "Publishing"}),
        }
    )


def advance(  # noqa: PLR0913, PLR0917  everything that a Job's manifest is made from
    desired: PackageRepo,
    publish: PackagePublish,
    jobs: PackageJobs,
    inputs: Inputs,
    views: Mapping[str, JobView],
    settings: JobSettings,
    now: datetime,
) -> Publication:
    """Read what a publication ended with, or start its Job. ``desired`` has the present status."""
    status = desired.status
    view = views.get(job_name(publish.id, "publish"))
    if view is None:
        account = service_account(desired.metadata.namespace, settings.seal_account)
        actions = (Create(account), Create(jobs.publish(publish, inputs)))
        return Publication(status, actions, starting=True)
    if not view.finished:
        said = f"Job {view.name}: {view.trouble}" if view.trouble else ""
        starting = view.phase == "waiting"
        return Publication(
            status, trouble=said, trouble_reason=view.trouble_reason, starting=starting
        )
    result = read(view, "package-publish", PackagePublishResult, "publish")
    if isinstance(result, BuildFailure):
        return _failed(status, publish, result, now)
    return _published(status, publish, result, now)


def _published(
    status: PackageRepoStatus, publish: PackagePublish, result: PackagePublishResult, now: datetime
) -> Publication:
    at = now.replace(microsecond=0)
    done = [build for build in status.builds if build.id in publish.builds]
    known = {index.arch: index for index in status.indexes}
    changed = known.get(publish.arch)
    known[publish.arch] = merged_index(changed, result.index, at)
    indexes = [known[arch] for arch in sorted(known)]
    records = [_record(build, publish, at) for build in done]
    planned = status.planned
    if planned is not None:
        left = [arch for arch in planned.publish if arch != publish.arch]
        planned = planned.model_copy(update={"publish": left})
    events = [
        Event("Normal", "PackagePublished", f"{build.name}-{build.version} for {build.arch}")
        for build in done
    ]
    events += [
        Event("Warning", "AbiChanged", f"{build.name}-{build.version} for {build.arch}: {said}")
        for build in done
        if build.collected is not None
        for said in build.collected.abi[:4]
    ]
    if changed is None or changed.digest != result.index.digest:
        text = f"{publish.arch} has {result.index.packages} packages"
        events.append(Event("Normal", "IndexChanged", text))
    return Publication(
        status.model_copy(
            update={
                "indexes": indexes,
                "packages": sum(index.packages for index in indexes),
                "planned": planned,
                "publishing": [each for each in status.publishing if each.id != publish.id],
                "builds": [build for build in status.builds if build.id not in publish.builds],
                "history": [*records, *status.history],
                "abi": _abi(status, done),
                "counts": _counts(status, len(done)),
                "plan_again": status.plan_again or bool(done) or result.removed > 0,
                "last_checked": at,
            }
        ),
        events=tuple(events),
    )


def _failed(
    status: PackageRepoStatus, publish: PackagePublish, failure: BuildFailure, now: datetime
) -> Publication:
    """After a fault that may pass: the same again, later. Else the packages are to blame.

    Several are tried one by one; a single one has failed. Without any, a person must look.
    """
    at = now.replace(microsecond=0)
    ids = set(publish.builds)
    failures = publish.failures + 1
    ended = publish.model_copy(update={"failure": failure, "failures": failures})
    rest = [each for each in status.publishing if each.id != publish.id]
    if failure.retryable:
        ended = ended.model_copy(update={"retry_at": at + retry_delay(failures)})
        changes: dict[str, object] = {"state": "Built"}
        publishing = [*rest, ended]
    elif len(ids) > 1:
        changes = {"state": "Built", "alone": True}
        publishing = rest
    else:
        changes = {"state": "Failed", "failure": failure, "failed_at": at}
        publishing = rest if ids else [*rest, ended]
    final = not failure.retryable and len(ids) == 1
    reason = "PackageFailed" if final else "PublishFailed"
    said = f"{publish.arch}, publish: {failure.message}"
    return Publication(
        status.model_copy(
            update={
                "publishing": publishing,
                "builds": _with_state(status, ids, changes),
                "plan_again": status.plan_again or final,
            }
        ),
        events=(Event("Warning", reason, said),),
    )


def _with_state(
    status: PackageRepoStatus, ids: set[str], changes: Mapping[str, object]
) -> list[PackageBuild]:
    return [
        build.model_copy(update=dict(changes)) if build.id in ids else build
        for build in status.builds
    ]


def _counts(status: PackageRepoStatus, done: int) -> PackageCounts | None:
    """What the last plan counted, as it is now."""
    counts = status.counts
    if counts is None:
        return None
    published = min(counts.published + done, counts.total)
    return counts.model_copy(update={"published": published, "ready": max(counts.ready - done, 0)})


def _record(build: PackageBuild, publish: PackagePublish, at: datetime) -> PackageRecord:
    return PackageRecord(
        id=build.id,
        name=build.name,
        arch=build.arch,
        version=build.version,
        state="Published",
        finished_at=at,
        published_by=publish.id,
    )


def _abi(status: PackageRepoStatus, done: list[PackageBuild]) -> list[AbiChange]:
    """What the last published version of each package takes away."""
    names = {(build.name, build.arch) for build in done}
    kept = [change for change in status.abi if (change.name, change.arch) not in names]
    new = [
        AbiChange(
            name=build.name,
            arch=build.arch,
            version=build.version,
            changes=build.collected.abi[:8],
        )
        for build in done
        if build.collected is not None and build.collected.abi
    ]
    return [*new, *kept][:MAX_ABI]
