"""Packages on their way into a repository: what the operator says of each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from plimsoll.api.base import Model
from plimsoll.api.imagebuildstatus import BuildFailure
from plimsoll.api.packagesteps import PackageCollectResult, PackagePrepareResult

PackageState = Literal[
    "Queued", "Preparing", "Building", "Collecting", "Testing", "Built", "Publishing", "Failed"
]


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
