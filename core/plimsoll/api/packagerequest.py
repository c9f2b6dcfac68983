"""What the operator hands to the Jobs that build packages; see ``plimsoll.api.packagesteps``."""

from __future__ import annotations

from datetime import datetime

from plimsoll.api.base import Model
from plimsoll.api.gitsource import GitSource, SignedSource
from plimsoll.api.steps import RepositorySource


class ConfigurationSource(Model):
    """Where package configurations come from: exactly one of the fields beside ``name``."""

    name: str
    inline: str | None = None
    """One configuration as YAML text."""

    folder: str | None = None
    """A folder that is mounted into the plan Job (from a ConfigMap). Entries ``*.yaml`` are
    configurations, ``pipelines.A.B.yaml`` is the pipeline ``A/B``, and any other entry is a file
    that the steps of all of them find in their workspace."""

    git: GitSource | None = None
    """A tree: ``*.yaml`` at its top are configurations, ``pipelines/`` holds pipelines, and a
    folder named as a configuration holds that one's files."""

    credentials: str = ""
    """Folder in which the Secret of ``git.secretRef`` is mounted into the plan Job."""

    oci: str | None = None
    """An artifact whose layers are tars, or files with titles, of such a tree."""


class Retention(Model):
    """Which published packages stay."""

    versions: int | None = None
    """Newest versions of every package that stay in the index; ``None`` keeps all."""

    days: int = 30
    """For how long a package that left the index can still be downloaded."""


class FailedPackage(Model):
    """A package that is not tried again until its inputs change."""

    name: str
    """Of the configuration (the origin)."""

    arch: str
    inputs_hash: str


class PackageRequest(Model):
    """Everything that building the packages of a repository depends on."""

    name: str
    namespace: str
    uid: str
    """Of the PackageRepo."""

    sources: list[ConfigurationSource]
    archs: list[str]
    """OCI names: ``amd64``, ``arm64``."""

    repositories: list[RepositorySource] = []
    """Where build dependencies come from; the repository itself is always added."""

    storage: str
    """Registry and repository without tag, in which everything lies."""

    keys: dict[str, str]
    """Public keys of which one must have signed the published index: those of the current and of
    all previous signing keys. Name (``….rsa.pub``) → PEM."""

    signing_key: str
    """Name of the current one among ``keys``."""

    distribution: str = ""
    """Name of the distribution in package URLs, and maintainer of packages."""

    build_options: list[str] = []
    require_tests: bool = False
    lint_require: list[str] | None = None
    """Linters whose findings are errors; ``None`` for the usual ones."""

    lint_warn: list[str] | None = None
    network: bool = False
    """Whether steps of packages may use the network."""

    emulate_on: str = ""
    """Architecture of the nodes that run builds and tests for all others by emulation: what the
    images of guests say that they are for. Empty: each on its own."""

    credentials: list[str] = []
    """Folders in which Secrets with logins for sources are mounted into the prepare Jobs, and
    nowhere else."""

    signed_sources: list[SignedSource] = []
    """Who must have signed the sources of packages that come from Git."""

    withdrawn: list[str] = []
    """``NAME=VERSION-rN``: packages that must not be in the index. A subpackage is named itself;
    the name of an origin stands for all its packages."""

    retention: Retention = Retention()
    failed: list[FailedPackage] = []
    limit: int = 12
    """Most packages that a plan offers at once."""

    source_date_epoch: int = 0
    """Date of the packages, seconds since 1970."""

    started: datetime
    builder_id: str
    """SLSA ``builder.id``: operator version and cluster."""

    insecure_registries: list[str] = []
    """Hosts (with port) that are spoken to over plain HTTP."""

    trusted_hosts: list[str] = []
    """Hosts that may be asked although they are at loopback, link-local or metadata addresses."""
