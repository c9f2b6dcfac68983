"""The package-plan step: what can be built now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plimsoll.api.packagesteps import (
    BlockedPackage,
    PackageCounts,
    PackagePlanResult,
    PublishedIndex,
    ReadyPackage,
)
from plimsoll.arch import Arch
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.steps.common import registry_of
from plimsoll.builder.steps.packagecommon import Storage
from plimsoll.builder.steps.packagedecide import decide
from plimsoll.builder.steps.packageindex import expected_signers, leaving
from plimsoll.builder.steps.packagerecord import push_plan
from plimsoll.builder.steps.packageset import wanted
from plimsoll.builder.steps.packagesources import read_sources
from plimsoll.builder.steps.packagestate import read_snapshot

if TYPE_CHECKING:
    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.steps.packagedecide import Decision
    from plimsoll.builder.steps.packagestate import Snapshot


async def plan_packages(engine: Engine, request: PackageRequest) -> PackagePlanResult:
    """Read sources and what is published, decide, and push the plan.

    Raises:
        PackageConfigError: a configuration is not valid.
        SourceTreeError: a source cannot be read.
        Error: the registry, a key or an index fails.
    """
    archs = architectures_of(request)
    configurations = await read_sources(engine, request)
    found = await asyncio.to_thread(wanted, configurations, request, archs)
    async with registry_of(request) as registry:
        storage = Storage(registry, request)
        snapshots = dict(
            zip(
                archs,
                await run_all(read_snapshot(storage, arch, request.keys) for arch in archs),
                strict=True,
            )
        )
        decisions = {}
        for arch in archs:
            lost = {(f.name, f.inputs_hash) for f in request.failed if f.arch == arch.oci}
            items = found[arch].items.values()
            decisions[arch] = decide(items, snapshots[arch].state, lost)
        indexes = {arch: snapshot.manifest for arch, snapshot in snapshots.items()}
        digest = await push_plan(storage, found, decisions, indexes)
    return summarize(request, digest, decisions, snapshots)


def architectures_of(request: PackageRequest) -> list[Arch]:
    """The architectures of a request."""
    return list(dict.fromkeys(Arch.parse(name) for name in request.archs))


def summarize(
    request: PackageRequest,
    digest: str,
    decisions: dict[Arch, list[Decision]],
    snapshots: dict[Arch, Snapshot],
) -> PackagePlanResult:
    """The result of a plan."""
    pairs = [(arch, one) for arch, decided in decisions.items() for one in decided]
    counts = {
        status: sum(one.status == status for _, one in pairs)
        for status in ("published", "ready", "blocked", "failed")
    }
    publish = [arch.oci for arch, snapshot in snapshots.items() if _must_publish(request, snapshot)]
    waiting = counts["ready"] + counts["blocked"] + counts["failed"]
    return PackagePlanResult(
        plan=digest,
        unchanged=not waiting and not publish,
        counts=PackageCounts(total=len(pairs), **counts),
        ready=[
            ReadyPackage(
                name=one.name,
                arch=arch.oci,
                version=one.full_version,
                inputs_hash=one.inputs_hash,
                reason=one.reason,
            )
            for arch, one in pairs
            if one.status == "ready"
        ][: request.limit],
        blocked=[
            BlockedPackage(name=one.name, arch=arch.oci, on=one.on, failed=one.on_failed)
            for arch, one in pairs
            if one.status == "blocked"
        ][: request.limit],
        failed=[f"{one.name}/{arch.oci}" for arch, one in pairs if one.status == "failed"],
        publish=publish,
        indexes=[
            PublishedIndex(arch=arch.oci, digest=snapshot.file, packages=len(snapshot.index))
            for arch, snapshot in snapshots.items()
        ],
    )


def _must_publish(request: PackageRequest, snapshot: Snapshot) -> bool:
    if not snapshot.manifest:
        return False
    if set(snapshot.signers) != expected_signers(request):
        return True
    return bool(leaving(request, snapshot.index.entries()))
