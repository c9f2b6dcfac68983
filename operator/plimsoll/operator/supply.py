"""What PackageRepos that are built here do not have, while an image asks for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.operator.sources import unsettled

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from plimsoll.api.imagebuildstatus import BuildFailure
    from plimsoll.api.packagebuildstatus import PackageBuild
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagestatus import PackageRepoStatus
    from plimsoll.api.repository import RepositoryUse

#: Reasons of a plan that may be another one with more packages.
_LACKING = frozenset({"PackageNotFound", "UnsatisfiablePackages"})
_NAMED = 8


@dataclass(frozen=True, slots=True)
class Supply:
    """Sentences about what is not in the index of a PackageRepo.

    Attributes:
        coming: what is being built, or is tried again.
        failed: what could not be built, and what waits for that.
    """

    coming: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


NOTHING = Supply()


def failed(status: PackageRepoStatus) -> list[PackageBuild]:
    """Packages that are not tried again until something changes."""
    return [b for b in status.builds if b.state == "Failed" and b.retry_at is None]


def named(build: PackageBuild) -> str:
    """A package for people."""
    return f"{build.name}-{build.version} for {build.arch}"


def why(build: PackageBuild) -> str:
    """Why a package failed; the last line of its log stands for all of them."""
    if build.failure is None:
        return "failed"
    first, _, rest = build.failure.message.partition("\n")
    last = rest.strip().rpartition("\n")[2]
    return f"{build.failure.step}: {first} {last}".strip()


def lacking(failure: BuildFailure | None) -> bool:
    """Whether a build failed as there were not the packages that it asked for."""
    return failure is not None and failure.step == "plan" and failure.reason in _LACKING


def supply_of(
    uses: Sequence[RepositoryUse], known: Mapping[str, PackageRepo], archs: Collection[str]
) -> Supply:
    """What the PackageRepos of an image lack for its architectures.

    Args:
        uses: what the image refers to.
        known: the PackageRepos among it that exist, by name.
        archs: OCI names.
    """
    coming: list[str] = []
    lost: list[str] = []
    for name in dict.fromkeys(use.name for use in uses if use.name is not None):
        repo = known.get(name)
        if repo is None or repo.spec.packages is None:
            continue
        missing = _failed(repo, archs)
        if missing:
            lost.append(f"PackageRepo {name} could not build {'; '.join(missing[:_NAMED])}")
        awaited = _awaited(repo, archs)
        if awaited:
            coming.append(f"PackageRepo {name} is still building {', '.join(awaited[:_NAMED])}")
        elif unsettled(repo):
            coming.append(f"PackageRepo {name} is looking for packages to build")
    return Supply(tuple(coming), tuple(lost))


def _failed(repo: PackageRepo, archs: Collection[str]) -> list[str]:
    status = repo.status
    # As long as it is suspended nothing is tried again.
    lost = [b for b in status.builds if b.state == "Failed"]
    lost = lost if repo.spec.suspend else failed(status)
    said = [f"{named(each)}: {why(each)}" for each in lost if each.arch in archs]
    return said + [
        f"{each.name} for {each.arch}, which waits for {each.on}"
        for each in status.blocked
        if (each.failed or repo.spec.suspend) and each.arch in archs
    ]


def _awaited(repo: PackageRepo, archs: Collection[str]) -> list[str]:
    if repo.spec.suspend:
        return []
    lost = {each.id for each in failed(repo.status)}
    said = [
        f"{named(each)} ({'tried again' if each.state == 'Failed' else each.state.lower()})"
        for each in repo.status.builds
        if each.arch in archs and each.id not in lost
    ]
    return said + [
        f"{each.name} for {each.arch} (after {each.on})"
        for each in repo.status.blocked
        if not each.failed and each.arch in archs
    ]
