"""PackageRepo: an APK repository that is verified and followed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from plimsoll.api.base import Model, StrictModel
from plimsoll.api.meta import (
    AGE,
    READY,
    REASON,
    Column,
    Conditions,
    Definition,
    Duration,
    ObjectMeta,
    listed_by,
)
from plimsoll.api.repository import Keys, Url


class Upstream(StrictModel):
    """A repository that somebody else publishes."""

    url: Url
    """Base URL, without the architecture: ``https://packages.example/os``."""

    keys: Keys
    """Keys of which one must have signed the index."""

    archs: Annotated[
        list[Annotated[str, StringConstraints(max_length=32)]], Field(min_length=1, max_length=16)
    ] = ["amd64", "arm64"]
    """Architectures to follow, by their OCI names."""

    refresh_interval: Duration = "10m"
    """How often to look for a new index. At least ``10s``."""


class PackageRepoSpec(StrictModel):
    """What the repository is."""

    upstream: Upstream
    """A repository that somebody else publishes: verified, and followed."""


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


class PackageRepoStatus(Model):
    """What was found out about the repository."""

    observed_generation: int | None = None
    """Generation of the spec that the status speaks of."""

    conditions: Conditions = []
    """``IndexVerified``: every index was fetched and its signature verified. ``Ready``: builds can
    use the repository."""

    indexes: Annotated[
        list[RepositoryIndex], Field(max_length=16, json_schema_extra=listed_by("arch"))
    ] = []
    """The index of each architecture that was last verified. A later index that does not verify
    leaves these as they are."""

    packages: int | None = None
    """Packages over all architectures."""

    last_checked: datetime | None = None
    """When the repository was last looked at."""

    last_handled_reconcile_at: str | None = None
    """The last value of the annotation ``plimsoll.dev/requested-at`` that was acted on."""


class PackageRepo(Model):
    """A PackageRepo object."""

    metadata: ObjectMeta
    spec: PackageRepoSpec
    status: PackageRepoStatus = PackageRepoStatus()


DEFINITION = Definition(
    kind="PackageRepo",
    plural="packagerepos",
    description=(
        "An APK repository. Its signed index is verified and followed; images that use it are "
        "planned again when it changes."
    ),
    spec=PackageRepoSpec,
    status=PackageRepoStatus,
    short_names=("prepo",),
    columns=(
        Column("URL", ".spec.upstream.url"),
        READY,
        Column("Packages", ".status.packages", "integer"),
        REASON,
        Column("Checked", ".status.lastChecked", "date", wide=True),
        AGE,
    ),
)
