"""ImageBuild: one image, built from packages and kept fresh."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from plimsoll.api.base import Model, StrictModel
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.meta import (
    AGE,
    READY,
    REASON,
    Column,
    Conditions,
    Definition,
    Duration,
    LocalReference,
    ObjectMeta,
    ObjectName,
    cel,
    listed_by,
)
from plimsoll.api.packagerepo import Keys, Url
from plimsoll.api.steps import AssembleResult, PlanResult, SealResult

Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    Field(
        max_length=32,
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "pattern": r"^[0-9]+(\.[0-9]+)?([eE][0-9]+|m|k|Ki|M|Mi|G|Gi|T|Ti)?$",
        },
    ),
]

_LEGACY_NEEDS_KEY = (
    "!has(self.signing) || !has(self.signing.keyless) || "
    "!has(self.output.legacySignatures) || !self.output.legacySignatures"
)
#: What an image configuration of a custom resource cannot say: there is no local file beside it.
_NO_FILES = {"x-plimsoll-omit": ["include", "contents.baseimage"]}


class ConfigMapKey(StrictModel):
    """An entry of a ConfigMap of the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=253)] = "image.yaml"
    """The entry that holds the image configuration as YAML."""


class ImageFrom(StrictModel):
    """Where the image configuration is, if it is not inline."""

    config_map: ConfigMapKey
    """An entry of a ConfigMap."""


class RepositoryUse(StrictModel):
    """A repository to take packages from: a PackageRepo, or a URL with its keys."""

    model_config = cel(
        ("has(self.name) != has(self.url)", "expected exactly one of name, url"),
        ("!has(self.keys) || has(self.url)", "keys go with url; a PackageRepo has its own"),
        ("!has(self.url) || has(self.keys)", "a url needs keys that verify its index"),
    )

    name: ObjectName | None = None
    """Name of a PackageRepo of the same namespace. Images are planned again when it changes."""

    url: Url | None = None
    """Base URL of a repository, without the architecture."""

    keys: Keys | None = None
    """Keys of which one must have signed the index."""


class OutputSpec(StrictModel):
    """Where the image goes."""

    repository: Annotated[
        str,
        StringConstraints(
            min_length=1,
            max_length=400,
            pattern=r"^[A-Za-z0-9.\-\[\]:]+(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$",
        ),
    ]
    """Registry and repository without tag: ``registry.example/team/app``."""

    tags: Annotated[
        list[
            Annotated[
                str,
                StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9_.$\{\}+-]+$"),
            ]
        ],
        Field(min_length=1, max_length=32),
    ] = ["latest"]
    """Tags that move to the image when everything has succeeded. ``${timestamp}`` becomes the
    start of the build (``20261121064400``), ``${package.NAME.version}`` the version of a package
    in the image."""

    push_secret: LocalReference | None = None
    """Secret of type ``kubernetes.io/dockerconfigjson`` to push with."""

    legacy_signatures: bool = False
    """Also write ``sha256-….sig`` and ``.att`` tags, for tools older than cosign 3."""


class ConfigMapEntry(StrictModel):
    """An entry of a ConfigMap of the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""

    key: Annotated[
        str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")
    ]
    """The entry."""


class Document(StrictModel):
    """A JSON document: inline, or in a ConfigMap."""

    model_config = cel(
        ("has(self.inline) != has(self.configMap)", "expected exactly one of inline, configMap"),
    )

    inline: Annotated[str, StringConstraints(min_length=2, max_length=262144)] | None = None
    """The document."""

    config_map: ConfigMapEntry | None = None
    """Where the document is. It is read when an image is signed."""


class Keyless(StrictModel):
    """Signing with a short-lived certificate for the ServiceAccount of the Job that signs."""

    signing_config: Document
    """Sigstore's signing config (v0.2): the Fulcio, Rekor and timestamp servers to use."""

    trusted_root: Document
    """Sigstore's ``trusted_root.json`` of the same instance. What it does not accept is not
    attached to the image."""

    audience: Annotated[
        str, StringConstraints(min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")
    ] = "sigstore"
    """Audience of the token, as Fulcio's configuration has it for the cluster's issuer."""


class Signing(StrictModel):
    """Who signs the image."""

    model_config = cel(
        ("has(self.keySecret) != has(self.keyless)", "expected exactly one of keySecret, keyless"),
    )

    key_secret: LocalReference | None = None
    """Secret with a key pair as ``cosign generate-key-pair k8s://…`` makes it: ``cosign.key``,
    ``cosign.password``, ``cosign.pub``. Mounted by the Job that signs and by no other."""

    keyless: Keyless | None = None
    """Sign as the ServiceAccount of the Job that signs. Its token is mounted by that Job and by
    no other."""


class AttestSpec(StrictModel):
    """Which attestations are attached to the image beside its signature."""

    sbom: bool = True
    """The software bill of materials (SPDX)."""

    provenance: bool = True
    """SLSA v1 provenance with every package as a resolved dependency."""


class Resources(StrictModel):
    """Compute resources of a container."""

    requests: dict[str, Quantity] | None = None
    """What is set aside for it: ``cpu``, ``memory``, ``ephemeral-storage``."""

    limits: dict[str, Quantity] | None = None
    """What it cannot exceed."""


class Toleration(StrictModel):
    """A taint of a node that does not matter."""

    key: Annotated[str, StringConstraints(max_length=317)] | None = None
    """Key of the taint; all keys if not given, with ``operator: Exists``."""

    operator: Literal["Equal", "Exists"] | None = None
    """How ``value`` relates to the taint's."""

    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Value of the taint."""

    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; all effects if not given."""

    toleration_seconds: int | None = None
    """How long a ``NoExecute`` taint is tolerated."""


class JobSpec(StrictModel):
    """How the Jobs of a build run."""

    resources: Resources | None = None
    """Compute resources of each Job's container."""

    node_selector: dict[str, str] | None = None
    """Labels of the nodes the Jobs may run on. No code of the image runs in them, so any node can
    build for any architecture."""

    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = None
    """Taints of nodes that the Jobs may run on all the same."""

    priority_class_name: ObjectName | None = None
    """PriorityClass of the Jobs' pods."""

    cache_claim: LocalReference | None = None
    """PersistentVolumeClaim that keeps verified packages between builds, so that only what changed
    is fetched and compressed again. What is in it is verified each time it is used."""

    timeout: Duration = "30m"
    """How long each Job may take, its retries included."""


class Schedule(StrictModel):
    """When to look for fresher packages."""

    cron: Annotated[str, StringConstraints(min_length=9, max_length=128)]
    """Five fields as in crontab(5): ``17 3 * * *``."""

    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "UTC"
    """IANA name of the time zone: ``Europe/Berlin``."""

    jitter: Duration = "0s"
    """Start up to this much later, by an amount that is always the same for one ImageBuild."""


class Retention(StrictModel):
    """What is kept of finished builds."""

    builds: Annotated[int, Field(ge=1, le=50)] = 5
    """How many finished builds are kept: their entry in ``status.history``, their Jobs and so
    their logs."""


class ImageBuildSpec(StrictModel):
    """What to build, from what, and where it goes."""

    model_config = cel(
        ("has(self.image) != has(self.imageFrom)", "expected exactly one of image, imageFrom"),
        ("!has(self.attest) || has(self.signing)", "attest needs signing: attestations are signed"),
        (
            _LEGACY_NEEDS_KEY,
            "legacySignatures needs signing.keySecret",
        ),
    )

    image: Annotated[ImageConfiguration, Field(json_schema_extra=_NO_FILES)] | None = None
    """The image configuration, inline: an apko configuration."""

    image_from: ImageFrom | None = None
    """Where the image configuration is, if it is not inline."""

    repositories: Annotated[list[RepositoryUse], Field(max_length=32)] = []
    """Repositories to take packages from, beside those of the image configuration."""

    output: OutputSpec
    """Where the image goes."""

    archs: Annotated[
        list[Annotated[str, StringConstraints(max_length=32)]], Field(max_length=16)
    ] = []
    """Architectures to build for, by their OCI names. Default: those of the image configuration;
    ``amd64`` and ``arm64`` if it names none."""

    signing: Signing | None = None
    """Who signs the image. Without it the image is neither signed nor attested."""

    attest: AttestSpec | None = None
    """Which attestations are attached. Default: all."""

    job: JobSpec = JobSpec()
    """How the Jobs of a build run."""

    schedule: Schedule | None = None
    """When to look for fresher packages. A plan that finds nothing new builds nothing."""

    retention: Retention = Retention()
    """What is kept of finished builds."""

    suspend: bool = False
    """Start no new build; one that runs goes on."""


class ArchImage(Model):
    """The image of one architecture."""

    arch: str
    """OCI name of the architecture."""

    digest: str
    """Digest of its manifest."""

    size: int = 0
    """Bytes of its compressed layers."""


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

    requested_at: str | None = None
    """Value of the annotation ``plimsoll.dev/requested-at``."""


class Build(BuildRecord):
    """The current or last build."""

    number: int
    """Counts the builds of this ImageBuild."""

    inputs: BuildInputs
    """What it was started from."""

    force: bool = False
    """Whether it builds even if the plan finds nothing new."""

    plan: PlanResult | None = None
    """Result of its plan step."""

    assembled: Annotated[
        list[AssembleResult], Field(max_length=16, json_schema_extra=listed_by("arch"))
    ] = []
    """Results of its assemble steps."""

    sealed: SealResult | None = None
    """Result of its seal step."""


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

    tags: Annotated[list[str], Field(max_length=64)] = []
    """Tags that the last successful build moved."""

    architectures: Annotated[
        list[ArchImage], Field(max_length=16, json_schema_extra=listed_by("arch"))
    ] = []
    """The image of each architecture."""

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


class ImageBuild(Model):
    """An ImageBuild object."""

    metadata: ObjectMeta
    spec: ImageBuildSpec
    status: ImageBuildStatus = ImageBuildStatus()


def image_build(body: dict[str, Any]) -> ImageBuild:
    """Read an object as the API server gives it.

    Raises:
        pydantic.ValidationError: it does not satisfy the model, which the CRD's schema is looser
            than.
    """
    return ImageBuild.model_validate(
        {key: body[key] for key in ("metadata", "spec", "status") if key in body}
    )


DEFINITION = Definition(
    kind="ImageBuild",
    plural="imagebuilds",
    description=(
        "One container image made from APK packages: planned, assembled for every architecture, "
        "signed, and kept fresh."
    ),
    spec=ImageBuildSpec,
    status=ImageBuildStatus,
    short_names=("ib",),
    columns=(
        READY,
        Column("Image", ".status.image", description="The image by digest."),
        REASON,
        Column(
            "Reconciling",
            '.status.conditions[?(@.type=="Reconciling")].reason',
            description="What is going on.",
            wide=True,
        ),
        Column("Signed", '.status.conditions[?(@.type=="Signed")].status', wide=True),
        Column("Last Build", ".status.build.state", wide=True),
        # Not a date: kubectl shows those of the future as invalid.
        Column("Next", ".status.nextSchedule", wide=True),
        AGE,
    ),
)
