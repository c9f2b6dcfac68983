"""When packages are planned, and what a plan means for those that are being built. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from plimsoll.api.meta import REQUESTED_AT
from plimsoll.api.packagebuildstatus import PackageBuild
from plimsoll.api.packagestatus import PackagePlan, RepositoryIndex
from plimsoll.operator.packageinputs import polled
from plimsoll.operator.packagerequest import identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagestatus import PackageRepoStatus
    from plimsoll.api.packagesteps import PackagePlanResult, PublishedIndex, ReadyPackage
    from plimsoll.operator.packageinputs import Inputs
    from plimsoll.operator.sources import Repositories


def why(
    desired: PackageRepo, inputs: Inputs, repositories: Repositories, now: datetime
) -> str | None:
    """Why a plan shall start now, if one shall. None is running."""
    return next(_reasons(desired, inputs, repositories, now), None)


def _reasons(
    desired: PackageRepo, inputs: Inputs, repositories: Repositories, now: datetime
) -> Iterator[str]:
    status, last = desired.status, desired.status.plan
    if last is None:
        yield "first plan"
        return
    asked = desired.metadata.annotations.get(REQUESTED_AT)
    if asked and asked != last.requested_at:
        yield f"{REQUESTED_AT}: {asked}"
    if last.configuration != inputs.hash:
        yield "the spec, a ConfigMap or a key changed"
    if last.state == "Cancelled":
        yield "the last plan was cancelled"
    if last.repositories != repositories.hash and (
        last.state == "Failed" or any(hopeful(build) for build in status.builds)
    ):
        yield "a repository of build dependencies changed"
    if status.plan_again and _tells_more(status):
        yield "packages were published or failed"
    if status.retry_at is not None and now >= status.retry_at:
        yield f"{status.failures} failed in a row; trying again"
    due = next_look(desired, inputs)
    if due is not None and now >= due:
        yield "sources may have changed"


def _tells_more(status: PackageRepoStatus) -> bool:
    """Whether another plan would find something to build, or nothing else goes on."""
    counts = status.counts
    waiting = counts is None or counts.blocked > 0 or status.plan_partial
    return waiting or all(build.state == "Failed" for build in status.builds)


def next_look(desired: PackageRepo, inputs: Inputs) -> datetime | None:
    """When sources are looked at again that nobody tells about."""
    seconds, last = polled(inputs.spec), desired.status.plan
    if seconds is None or last is None:
        return None
    return last.started_at + timedelta(seconds=seconds)


def hopeful(build: PackageBuild) -> bool:
    """Whether a failed package may do better when other repositories change."""
    failed = build.failure
    return build.state == "Failed" and failed is not None and failed.step in {"prepare", "collect"}


def start(
    desired: PackageRepo, inputs: Inputs, repositories: Repositories, message: str, now: datetime
) -> PackageRepoStatus:
    """The status with a plan that runs."""
    status = desired.status
    asked = desired.metadata.annotations.get(REQUESTED_AT)
    number = (status.plan.number if status.plan else 0) + 1
    retry: Literal["Nothing", "Unpublished", "Everything"] = "Nothing"
    before = status.plan
    if asked and (before is None or asked != before.requested_at):
        retry = "Everything"
    elif before is not None and before.configuration != inputs.hash:
        retry = "Unpublished"
    plan = PackagePlan(
        id=identity(desired, f"plan-{number}", inputs.hash, repositories.hash, asked),
        number=number,
        message=message,
        generation=desired.metadata.generation,
        configuration=inputs.hash,
        repositories=repositories.hash,
        requested_at=asked,
        retry=retry,
        state="Running",
        started_at=now.replace(microsecond=0),
    )
    return status.model_copy(
        update={
            "plan": plan,
            "plan_again": False,
            "retry_at": None,
            "last_handled_reconcile_at": asked or status.last_handled_reconcile_at,
        }
    )


def known_failures(status: PackageRepoStatus) -> list[PackageBuild]:
    """What the plan that runs must not offer again."""
    plan = status.plan
    if plan is None or plan.retry == "Everything":
        return []
    return [
        build
        for build in status.builds
        if build.state == "Failed"
        and build.retry_at is None
        and not (hopeful(build) and build.repositories != plan.repositories)
        and not (unpublished(build) and plan.retry == "Unpublished")
    ]


def unpublished(build: PackageBuild) -> bool:
    """Whether a package was built, and only its publication failed."""
    return build.failure is not None and build.failure.step == "publish"


def merge(
    desired: PackageRepo, status: PackageRepoStatus, result: PackagePlanResult, now: datetime
) -> PackageRepoStatus:
    """The status after a plan has succeeded.

    What is built already with the same inputs goes on; what is not wanted any more is dropped.
    """
    plan = status.plan
    assert plan is not None  # noqa: S101  the caller looked
    offered = {(ready.name, ready.arch): ready for ready in result.ready}
    complete = result.counts.ready <= len(result.ready)
    all_failed = result.counts.failed <= len(result.failed)
    builds: list[PackageBuild] = []
    for build in status.builds:
        ready = offered.get((build.name, build.arch))
        if ready is None:
            failed = build.state == "Failed" and build.retry_at is None
            gone = all_failed if failed else complete
            if not gone or f"{build.name}/{build.arch}" in result.failed:
                builds.append(build)
        elif ready.inputs_hash == build.inputs_hash:
            del offered[build.name, build.arch]
            builds.append(_again(desired, build, plan, result.plan))
    builds += [_queued(desired, ready, plan, result.plan) for ready in offered.values()]
    finished = now.replace(microsecond=0)
    known = {index.arch: index for index in status.indexes}
    indexes = [
        merged_index(known.get(index.arch), index, finished)
        for index in result.indexes
        if index.digest
    ]
    return status.model_copy(
        update={
            "plan": plan.model_copy(update={"state": "Succeeded", "finished_at": finished}),
            "planned": result.model_copy(update={"ready": [], "blocked": [], "indexes": []}),
            "counts": result.counts,
            "plan_partial": not complete,
            "builds": builds,
            "blocked": result.blocked,
            "indexes": indexes,
            "packages": sum(index.packages for index in indexes),
            "failures": 0,
            "last_checked": finished,
        }
    )


def merged_index(
    known: RepositoryIndex | None, index: PublishedIndex, now: datetime
) -> RepositoryIndex:
    """An index as the status has it: seen first when its contents were."""
    if known is not None and known.digest == index.digest:
        return known
    return RepositoryIndex(
        arch=index.arch, digest=index.digest, packages=index.packages, verified_at=now
    )


def _again(
    desired: PackageRepo, build: PackageBuild, plan: PackagePlan, digest: str
) -> PackageBuild:
    """A package that is offered with the inputs it is built from, or failed with."""
    newer = {"plan": digest, "request": plan.id, "repositories": plan.repositories}
    if build.state == "Queued":
        return build.model_copy(update=newer)
    told = build.failed_at is not None and build.failed_at <= plan.started_at
    if build.state == "Failed" and build.retry_at is None and told:
        return retried(desired, build.model_copy(update=newer))
    return build


def retried(desired: PackageRepo, build: PackageBuild) -> PackageBuild:
    """Another try of a package that failed."""
    attempt = build.attempt + 1
    update = {
        "id": _id(desired, build.name, build.arch, build.inputs_hash, build.request, attempt),
        "attempt": attempt,
        "state": "Queued",
        "message": "",
        "message_reason": "",
        "started_at": None,
        "failed_at": None,
        "retry_at": None,
        "failure": None,
        "prepared": None,
        "collected": None,
    }
    if build.collected is not None and unpublished(build):
        kept = {"id", "state", "prepared", "collected", "started_at"}
        update = {key: value for key, value in update.items() if key not in kept}
        update["state"] = "Built"
    return build.model_copy(update=update)


def _queued(
    desired: PackageRepo, ready: ReadyPackage, plan: PackagePlan, digest: str
) -> PackageBuild:
    return PackageBuild(
        id=_id(desired, ready.name, ready.arch, ready.inputs_hash, plan.id, 1),
        name=ready.name,
        arch=ready.arch,
        version=ready.version,
        inputs_hash=ready.inputs_hash,
        reason=ready.reason,
        state="Queued",
        plan=digest,
        request=plan.id,
        repositories=plan.repositories,
    )


def _id(  # noqa: PLR0913, PLR0917  what a build is
    desired: PackageRepo, name: str, arch: str, inputs_hash: str, request: str, attempt: int
) -> str:
    slug = arch.replace("/", "-")
    what = f"{name[: 25 - len(slug)]}-{slug}"
    return identity(desired, what, name, arch, inputs_hash, request, attempt)
