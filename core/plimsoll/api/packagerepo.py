"""PackageRepo: an APK repository that is followed, or built here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from plimsoll.api.base import Model, StrictModel
from plimsoll.api.meta import (
    AGE,
    READY,
    REASON,
    Column,
    Definition,
    Duration,
    ObjectMeta,
    cel,
)
from plimsoll.api.packagespec import PackagesSpec
from plimsoll.api.packagestatus import PackageRepoStatus
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

    model_config = cel(
        ("has(self.upstream) != has(self.packages)", "expected exactly one of upstream, packages"),
    )

    upstream: Upstream | None = None
    """A repository that somebody else publishes: verified, and followed."""

    packages: PackagesSpec | None = None
    """Packages that are built here: from sources, tested, signed and published."""

    suspend: bool = False
    """Look at nothing and start nothing new; a package that is being built is finished."""


class PackageRepo(Model):
    """A PackageRepo object."""

    metadata: ObjectMeta
    spec: PackageRepoSpec
    status: PackageRepoStatus = PackageRepoStatus()


DEFINITION = Definition(
    kind="PackageRepo",
    plural="packagerepos",
    description=(
        "An APK repository: one that somebody else publishes, verified and followed, or one whose "
        "packages are built here. Images that use it are planned again when it changes."
    ),
    spec=PackageRepoSpec,
    status=PackageRepoStatus,
    short_names=("prepo",),
    columns=(
        READY,
        Column("Packages", ".status.packages", "integer"),
        Column(
            "Built",
            ".status.progress",
            description="How many of the packages that are built here are published.",
        ),
        REASON,
        Column("URL", ".status.url", wide=True),
        Column(
            "Reconciling",
            '.status.conditions[?(@.type=="Reconciling")].reason',
            description="What is going on.",
            wide=True,
        ),
        Column("Checked", ".status.lastChecked", "date", wide=True),
        AGE,
    ),
)
