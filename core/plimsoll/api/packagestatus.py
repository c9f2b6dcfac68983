"""How far a PackageRepo is: what the operator says of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from plimsoll.api.base import Model
from plimsoll.api.imagebuildstatus import BuildFailure
from plimsoll.api.meta import Conditions, listed_by
from plimsoll.api.packagesteps import (
    BlockedPackage,
    PackageCollectResult,
    PackageCounts,
    PackagePlanResult,
    PackagePrepareResult,
)

PlanState = Literal["Running", "Succeeded", "Failed", "Cancelled"]
PackageState = Literal[
    "Queued", "Preparing", "Building", "Collecting", "Testing", "Built", "Publishing", "Failed"
]


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


class PackageBuild(Model):
    """One package on its way into the repository, for one architecture."""

    id: str
    """Name of the build; its Jobs' names begin with it."""

    name: str
    """Name of the configuration."""

    arch: str
    """OCI name of the architecture."""

    version: str
    """Version with epoch."""

    inputs_hash: str
    """Hash over everything that makes a difference to the package."""

    reason: str = ""
    """Why it is built: ``New``, ``Changed``, ``AbiChanged``."""

    state: PackageState
    """How far it is."""

    message: str = ""
    """What it waits for, if something stands in the way."""

    message_reason: str = ""
    """The same as one CamelCase word."""

    attempt: int = 1
    """Counts the tries with the same inputs."""

    alone: bool = False
    """Published by itself, as publishing it together with others failed."""

    plan: str
    """Digest of the plan that it is built by."""

    request: str
    """Name of the plan whose request its Jobs read."""

    repositories: str = ""
    """Hash of the repositories of build dependencies when it was tried."""

    generation: int = 0
    """Generation of the spec that its Jobs are made from."""

    started_at: datetime | None = None
    """When its first Job was made."""

    failed_at: datetime | None = None
    """When it failed."""

    retry_at: datetime | None = None
    """When it is tried again, if it failed with a fault that may pass."""

    failure: BuildFailure | None = None
    """Why it failed last."""

    prepared: PackagePrepareResult | None = None
    """Result of its prepare step."""

    collected: PackageCollectResult | None = None
    """Result of its collect step."""


class PackageRecord(Model):
    """A finished build of a package, as the history keeps it."""

    id: str
    """Name of the build; its Jobs' names begin with it."""

    name: str
    """Name of the configuration."""

    arch: str
    """OCI name of the architecture."""

    version: str
    """Version with epoch."""

    state: Literal["Published", "Failed", "Superseded"]
    """How it ended."""

    finished_at: datetime
    """When it ended."""

    published_by: str | None = None
    """Name of the publication that it went into the index with."""

    failure: BuildFailure | None = None
    """Why it failed."""


class PackagePublish(Model):
    """An index that is being published."""

    id: str
    """Name of the run; its Job's name begins with it."""

    number: int
    """Counts the publications of this PackageRepo."""

    arch: str
    """OCI name of the architecture."""

    request: str
    """Name of the plan whose request its Job reads."""

    plan: str
    """Digest of that plan."""

    builds: Annotated[list[str], Field(max_length=64)] = []
    """Names of the builds that it publishes."""

    artifacts: Annotated[list[str], Field(max_length=64)] = []
    """Digests of their unsigned packages."""

    started_at: datetime
    """When it started."""

    failure: BuildFailure | None = None
    """Why its last try failed."""

    failures: int = 0
    """How many tries failed in a row."""

    retry_at: datetime | None = None
    """When it is tried again."""


class AbiChange(Model):
    """What programs built against an earlier version of a package would miss."""

    name: str
    """Name of the configuration."""

    arch: str
    """OCI name of the architecture."""

    version: str
    """The version that was published."""

    changes: Annotated[list[str], Field(max_length=64)]
    """A sentence for each library."""


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
