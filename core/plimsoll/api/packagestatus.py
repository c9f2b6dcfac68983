"""How far a PackageRepo is: what the operator says of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from plimsoll.api.base import Model
from plimsoll.api.imagebuildstatus import BuildFailure
from plimsoll.api.meta import Conditions, listed_by
from plimsoll.api.packagebuildstatus import AbiChange, PackageBuild, PackagePublish, PackageRecord
from plimsoll.api.packagesteps import (
    BlockedPackage,
    PackageCounts,
    PackagePlanResult,
)

PlanState = Literal["Running", "Succeeded", "Failed", "Cancelled"]


class RepositoryIndex(Model):
    """The index of one architecture as it was last verified."""

    arch: str
    """OCI name of the architecture."""

    digest: str
    """SHA-256 of the index file: ``sha256:…``."""

    packages: int
    """Number of packages in it."""

    verified_at: datetime | None = None
    """When these contents were first seen and verified."""


class PublicKey(Model):
    """A public key that verifies the index."""

    name: str
    """File name, as signatures name it."""

    data: str
    """The key as PEM text."""


class SigningKeys(Model):
    """The keys of the repository, as they were found in its Secrets."""

    spec: str
    """Hash of ``spec.packages.signing`` that they belong to."""

    requested_at: str | None = None
    """Value of the annotation ``plimsoll.dev/requested-at`` when they were read."""

    id: str
    """Name of the reading; its Job's name begins with it."""

    attempt: int = 1
    """Counts the tries."""

    current: str = ""
    """Name of the key that signs; empty as long as they are not read."""

    failure: BuildFailure | None = None
    """Why they could not be read."""

    retry_at: datetime | None = None
    """When they are read again, after a fault that may pass."""


class PackagePlan(Model):
    """The current or last plan: what is to be built."""

    id: str
    """Name of the plan; its Job's name begins with it."""

    number: int
    """Counts the plans of this PackageRepo."""

    message: str = ""
    """What made it start."""

    generation: int
    """Generation of the PackageRepo that it is for."""

    configuration: str
    """Hash of all that it reads of the spec and of ConfigMaps."""

    repositories: str
    """Hash of the repositories of build dependencies, their keys and verified indexes."""

    requested_at: str | None = None
    """Value of the annotation ``plimsoll.dev/requested-at``."""

    retry: Literal["Nothing", "Unpublished", "Everything"] = "Nothing"
    """What is tried again of what failed: packages whose publication failed, when something else
    changed; everything, when somebody asked."""

    state: PlanState
    """How far it is, or how it ended."""

    started_at: datetime
    """When it started."""

    finished_at: datetime | None = None
    """When it ended."""

    failure: BuildFailure | None = None
    """Why it failed."""


class PackageRepoStatus(Model):
    """What was found out about the repository."""

    observed_generation: int | None = None
    """Generation of the spec that the status speaks of."""

    conditions: Conditions = []
    """``Ready``: images can use the repository. ``IndexVerified``: every index was fetched and its
    signature verified. ``PackagesBuilt``: everything that is configured is published.
    ``AbiStable``: nothing that was published last takes away what dependents may use.
    ``Reconciling``: something runs or waits. ``Stalled``: nothing will happen until something is
    changed."""

    url: str | None = None
    """Where the repository is, for ``repositories`` of images."""

    public_keys: Annotated[
        list[PublicKey], Field(max_length=8, json_schema_extra=listed_by("name"))
    ] = []
    """Public keys that verify packages built here: the current and the previous ones."""

    indexes: Annotated[
        list[RepositoryIndex], Field(max_length=16, json_schema_extra=listed_by("arch"))
    ] = []
    """The index of each architecture that was last verified. A later index that does not verify
    leaves these as they are."""

    packages: int | None = None
    """Packages over all architectures."""

    counts: PackageCounts | None = None
    """Configurations times architectures, as the last plan counted them."""

    progress: str | None = None
    """How many of them are published, for people: ``11/12``."""

    keys: SigningKeys | None = None
    """Where the public keys come from."""

    plan: PackagePlan | None = None
    """The current or last plan."""

    planned: PackagePlanResult | None = None
    """Result of the last plan that succeeded."""

    builds: Annotated[
        list[PackageBuild], Field(max_length=512, json_schema_extra=listed_by("id"))
    ] = []
    """Packages that are being built, and those that failed."""

    blocked: Annotated[list[BlockedPackage], Field(max_length=64)] = []
    """Packages that wait for others, as far as the last plan could name them."""

    publishing: Annotated[
        list[PackagePublish], Field(max_length=16, json_schema_extra=listed_by("arch"))
    ] = []
    """Indexes that are being published."""

    published: int = 0
    """Counts the publications."""

    plan_again: bool = False
    """Whether something happened since the last plan started that another must see."""

    plan_partial: bool = False
    """Whether more was ready than the last plan could name."""

    abi: Annotated[list[AbiChange], Field(max_length=64)] = []
    """Published packages whose libraries lost something that dependents may use."""

    history: Annotated[
        list[PackageRecord], Field(max_length=100, json_schema_extra=listed_by("id"))
    ] = []
    """Finished builds, the latest first."""

    failures: int = 0
    """Plans that failed one after the other."""

    retry_at: datetime | None = None
    """When a failed plan is tried again."""

    last_checked: datetime | None = None
    """When the repository was last looked at."""

    last_handled_reconcile_at: str | None = None
    """The last value of the annotation ``plimsoll.dev/requested-at`` that was acted on."""
