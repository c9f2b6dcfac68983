"""What a PackageRepo builds, as people say it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.gitsource import GitSource, SignedSource
from plimsoll.api.jobspec import JobSpec
from plimsoll.api.meta import Duration, LocalReference, cel, listed_by
from plimsoll.api.repository import RepositoryUse

Word = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
Arch = Annotated[str, StringConstraints(min_length=1, max_length=32)]
_ONE_PLACE = (
    "(has(self.inline) ? 1 : 0) + (has(self.configMap) ? 1 : 0) + (has(self.git) ? 1 : 0)"
    " + (has(self.oci) ? 1 : 0) == 1"
)


class PackageSource(StrictModel):
    """Where package configurations come from."""

    model_config = cel((_ONE_PLACE, "expected exactly one of inline, configMap, git, oci"))

    name: Word
    """Name of the source, for messages."""

    inline: Annotated[str, StringConstraints(min_length=2, max_length=131072)] | None = None
    """One package configuration, as YAML text."""

    config_map: LocalReference | None = None
    """A ConfigMap: entries ``*.yaml`` are configurations, ``pipelines.A.B.yaml`` is the pipeline
    ``A/B``, and any other entry is a file that the steps find in their workspace."""

    git: GitSource | None = None
    """A tree in Git: ``*.yaml`` at its top are configurations, ``pipelines/`` holds pipelines, and
    a folder named as a configuration holds the files beside that one."""

    oci: (
        Annotated[
            str,
            StringConstraints(
                min_length=3, max_length=512, pattern=r"^[^\s@]+(@sha256:[0-9a-f]{64})?$"
            ),
        ]
        | None
    ) = None
    """An artifact in a registry, whose layers are tars, or files with titles, of such a tree."""


class Storage(StrictModel):
    """Where the packages and their index are."""

    repository: Annotated[
        str,
        StringConstraints(
            min_length=1,
            max_length=400,
            pattern=r"^[A-Za-z0-9.\-\[\]:]+(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$",
        ),
    ]
    """Registry and repository without tag: ``registry.example/team/packages``."""

    push_secret: LocalReference | None = None
    """Secret of type ``kubernetes.io/dockerconfigjson`` to push and pull with."""


class RepositorySigning(StrictModel):
    """Who signs packages and index."""

    key_secret: LocalReference | None = None
    """Secret whose only entry ``*.rsa`` is an RSA private key of at least 2048 bits as PEM; the key
    is called as the entry. Made with a key of 4096 bits if it is absent, and never deleted.
    Default: the name of the PackageRepo and ``-signing``."""

    previous_key_secrets: Annotated[
        list[LocalReference], Field(max_length=3, json_schema_extra=listed_by("name"))
    ] = []
    """Secrets with earlier keys. They sign the index too, so that clients who know only these still
    trust it; remove them when everybody knows the new one."""


class LintSpec(StrictModel):
    """Which findings about built packages matter."""

    require: Annotated[list[Word], Field(max_length=64)] | None = None
    """Linters whose findings are errors. Default: those that are errors for everybody."""

    warn: Annotated[list[Word], Field(max_length=64)] | None = None
    """Linters whose findings are warnings."""


class PackageRetention(StrictModel):
    """What is kept."""

    versions: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Newest versions of every package that stay in the index. Default: all."""

    days: Annotated[int, Field(ge=0, le=3650)] = 30
    """For how many days a package that left the index can still be downloaded."""

    builds: Annotated[int, Field(ge=1, le=100)] = 20
    """How many finished builds of packages are kept: their entry in ``status.history``, their Jobs
    and so their logs."""


class PackagesSpec(StrictModel):
    """Packages that are built here, from configurations as melange has them."""

    sources: Annotated[
        list[PackageSource], Field(min_length=1, max_length=32, json_schema_extra=listed_by("name"))
    ]
    """Where the configurations come from."""

    archs: Annotated[list[Arch], Field(min_length=1, max_length=16)] = ["amd64"]
    """Architectures to build for, by their OCI names. Packages are built and tested on nodes of
    their architecture (label ``kubernetes.io/arch``)."""

    repositories: Annotated[list[RepositoryUse], Field(max_length=32)] = []
    """Where build dependencies come from. The repository itself is always one of them."""

    storage: Storage
    """Where packages and index are."""

    signing: RepositorySigning = RepositorySigning()
    """Who signs packages and index."""

    distribution: Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9._-]*$")] = (
        ""
    )
    """Name of the distribution in the packages' URLs in SBOMs."""

    build_options: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=128)]], Field(max_length=64)
    ] = []
    """Build options that are on, for configurations that have ``options``."""

    credentials: Annotated[list[LocalReference], Field(max_length=16)] = []
    """Secrets with logins for the hosts that sources are fetched from: ``.netrc`` or
    ``.git-credentials``. They are mounted where sources are fetched and nowhere else."""

    signed_sources: Annotated[list[SignedSource], Field(max_length=16)] = []
    """Who must have signed the commits or tags that packages are built from."""

    require_tests: bool = False
    """A package without a test is an error."""

    lint: LintSpec = LintSpec()
    """Which findings about built packages matter."""

    network: bool = False
    """Let the steps of packages use the network; sources are fetched before and need no network.
    Private addresses stay closed."""

    parallelism: Annotated[int, Field(ge=1, le=16)] = 4
    """How many packages are built at the same time for each architecture."""

    withdrawn: Annotated[
        list[
            Annotated[
                str,
                StringConstraints(min_length=3, max_length=256, pattern=r"^[^\s=]+=[^\s=]+$"),
            ]
        ],
        Field(max_length=256),
    ] = []
    """Versions that must not be in the index: ``hello=1.2-r0``. The name of a configuration stands
    for all its packages."""

    retention: PackageRetention = PackageRetention()
    """What is kept."""

    refresh_interval: Duration = "1h"
    """How often sources in Git and in registries are looked at again. At least ``1m``."""

    emulate_on: Arch | None = None
    """Build and test for all architectures on nodes of this one, whose kernels must run programs of
    the others by emulation (``binfmt_misc`` with interpreters that are loaded at registration)."""

    job: JobSpec = JobSpec()
    """How the Jobs run. ``resources`` and ``timeout`` hold for each Job unless a configuration asks
    for more; ``nodeSelector`` and ``tolerations`` for all of them."""
