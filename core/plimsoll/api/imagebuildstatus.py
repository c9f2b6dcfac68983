"""How far an image is: what the operator says of an ImageBuild."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from plimsoll.api.base import Model
from plimsoll.api.meta import Conditions, listed_by
from plimsoll.api.steps import MOST_TAGS, AssembleResult, PlanResult, SealResult


class ArchImage(Model):
    """The image of one architecture."""

    arch: str
    """OCI name of the architecture."""

    digest: str
    """Digest of its manifest."""

    size: int = 0
    """Bytes of its compressed layers."""


class VariantImage(Model):
    """The image of a variant."""

    name: str
    """Name of the variant."""

    image: str
    """The image by digest: ``registry.example/team/app@sha256:…``."""

    digest: str
    """Digest of the image index."""

    tags: Annotated[list[str], Field(max_length=MOST_TAGS)] = []
    """Tags that the last successful build moved to it."""

    architectures: Annotated[
        list[ArchImage], Field(max_length=16, json_schema_extra=listed_by("arch"))
    ] = []
    """The image of each architecture."""

    packages: int | None = None
    """Packages in the image, all architectures together."""

    lock: str | None = None
    """Digest of the lock of the image."""


BuildState = Literal["Running", "Succeeded", "Unchanged", "Failed", "Cancelled"]
BuildReason = Literal["Configuration", "Repository", "Requested", "Schedule", "Retry"]


class BuildFailure(Model):
    """Why a build failed."""

    step: str
    """The step that failed, with its architecture: ``assemble-arm64``."""

    reason: str
    """Why, as one CamelCase word."""

    message: str
    """Why, as a sentence."""

    retryable: bool
    """Whether the same build may succeed later with nothing changed."""


class BuildRecord(Model):
    """One build, as the history keeps it."""

    id: str
    """Name of the build; its Jobs' names begin with it."""

    reason: BuildReason
    """What made it start."""

    message: str = ""
    """What exactly made it start."""

    state: BuildState
    """How far it is, or how it ended."""

    started_at: datetime
    """When it started."""

    finished_at: datetime | None = None
    """When it ended."""

    digest: str | None = None
    """Digest of the image index that it made."""

    failure: BuildFailure | None = None
    """Why it failed."""


class BuildInputs(Model):
    """What a build was started from; a difference starts the next."""

    generation: int
    """Generation of the ImageBuild."""

    configuration: str
    """Hash of everything in the spec that makes a difference to the image."""

    repositories: str
    """Hash of the repositories, their keys and verified indexes."""

    output: str
    """Registry and repository that the image goes to."""

    scan: str = ""
    """Hash of what is scanned by; empty if nothing is."""

    requested_at: str | None = None
    """Value of the annotation ``plimsoll.dev/requested-at``."""


class Lane(Model):
    """How far one image of a build is."""

    assembled: Annotated[
        list[AssembleResult], Field(max_length=16, json_schema_extra=listed_by("arch"))
    ] = []
    """Results of its assemble steps."""

    verified: Annotated[list[str], Field(max_length=16)] = []
    """Architectures for which it was assembled a second time, with the same result."""

    tested: Annotated[list[str], Field(max_length=16)] = []
    """Architectures on which it passed its tests."""

    sealed: SealResult | None = None
    """Result of its seal step."""


class VariantBuild(Lane):
    """How far a variant is."""

    name: str
    """Name of the variant."""


class Build(BuildRecord, Lane):
    """The current or last build."""

    number: int
    """Counts the builds of this ImageBuild."""

    inputs: BuildInputs
    """What it was started from."""

    force: bool = False
    """Whether it builds even if the plan finds nothing new."""

    plan: PlanResult | None = None
    """Result of its plan step."""

    variants: Annotated[
        list[VariantBuild], Field(max_length=8, json_schema_extra=listed_by("name"))
    ] = []
    """How far its variants are."""

    @property
    def is_sealed(self) -> bool:
        """Whether nothing is left to do but to move tags."""
        return all(lane.sealed is not None for lane in (self, *self.variants))


class ImageBuildStatus(Model):
    """How far the image is."""

    observed_generation: int | None = None
    """Generation of the spec that the status speaks of."""

    conditions: Conditions = []
    """``Ready``: an image for the current spec exists. ``BuildSucceeded``: how the last build
    ended. ``Signed``: the image is signed. ``Reconciling``: a build runs or waits. ``Stalled``:
    nothing will happen until something is changed."""

    image: str | None = None
    """The image by digest: ``registry.example/team/app@sha256:…``."""

    digest: str | None = None
    """Digest of the image index."""

    signed: bool | None = None
    """Whether the image is signed."""

    tags: Annotated[list[str], Field(max_length=MOST_TAGS)] = []
    """Tags that the last successful build moved."""

    architectures: Annotated[
        list[ArchImage], Field(max_length=16, json_schema_extra=listed_by("arch"))
    ] = []
    """The image of each architecture."""

    variants: Annotated[
        list[VariantImage], Field(max_length=8, json_schema_extra=listed_by("name"))
    ] = []
    """The images of the variants."""

    packages: int | None = None
    """Packages in the image, all architectures together."""

    lock: str | None = None
    """Digest of the lock of the image, an artifact in the same repository."""

    inputs_hash: str | None = None
    """Hash over configuration, lock and builder version of the image."""

    configuration: str | None = None
    """Hash of the configuration that the image satisfies."""

    build: Build | None = None
    """The current or last build."""

    history: Annotated[
        list[BuildRecord], Field(max_length=50, json_schema_extra=listed_by("id"))
    ] = []
    """Finished builds, the latest first."""

    failures: int = 0
    """Builds that failed one after the other."""

    retry_at: datetime | None = None
    """When a failed build is tried again."""

    next_schedule: datetime | None = None
    """When the schedule starts the next build."""

    last_handled_reconcile_at: str | None = None
    """The last value of the annotation ``plimsoll.dev/requested-at`` that was acted on."""
