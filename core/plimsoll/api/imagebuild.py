"""ImageBuild: one image, built from packages and kept fresh."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from plimsoll.api.base import Model, StrictModel
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.imagebuildstatus import ImageBuildStatus
from plimsoll.api.jobspec import JobSpec
from plimsoll.api.meta import (
    AGE,
    READY,
    REASON,
    Column,
    Definition,
    Duration,
    LocalReference,
    ObjectMeta,
    ObjectName,
    cel,
    listed_by,
)
from plimsoll.api.repository import RepositoryUse
from plimsoll.api.scanspec import ScanSpec
from plimsoll.api.signingspec import AttestSpec, Signing
from plimsoll.api.variantspec import ImageTest, Tag, Variant

_LEGACY_NEEDS_KEY = (
    "!has(self.signing) || !has(self.signing.keyless) || "
    "!has(self.output.legacySignatures) || !self.output.legacySignatures"
)
#: What an image configuration of a custom resource cannot say: there is no local file beside it.
_NO_FILES = {"x-plimsoll-omit": ["include"]}


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

    tags: Annotated[list[Tag], Field(min_length=1, max_length=32)] = ["latest"]
    """Tags that move to the image when everything has succeeded. ``${timestamp}`` becomes the
    start of the build (``20261121064400``), ``${package.NAME.version}`` the version of a package
    in the image (``3.12.1-r2``), ``${package.NAME.stems}`` each part of it that people follow
    (``3``, ``3.12`` and ``3.12.1``, a tag for each)."""

    push_secret: LocalReference | None = None
    """Secret of type ``kubernetes.io/dockerconfigjson`` to push with."""

    legacy_signatures: bool = False
    """Also write ``sha256-….sig`` and ``.att`` tags, for tools older than cosign 3."""


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
            "legacySignatures needs signing.keySecret or signing.kms",
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

    variants: Annotated[
        list[Variant], Field(max_length=8, json_schema_extra=listed_by("name"))
    ] = []
    """Further images from the same configuration, with more in them. All are planned, built and
    tested together, and no tag moves before all are done."""

    tests: Annotated[
        list[ImageTest], Field(max_length=24, json_schema_extra=listed_by("name"))
    ] = []
    """Commands that the images must run before any tag moves: one after the other, on a node of
    each architecture, without network, secrets and token."""

    verify_reproducible: bool = False
    """Assemble every image a second time, with nothing kept from the first, and fail the build if
    the two differ in a byte."""

    signing: Signing | None = None
    """Who signs the image. Without it the image is neither signed nor attested."""

    attest: AttestSpec | None = None
    """Which attestations are attached. Default: all."""

    scan: ScanSpec | None = None
    """Where known vulnerabilities are looked up, and what fails the build. Without it nothing is
    scanned."""

    job: JobSpec = JobSpec()
    """How the Jobs of a build run."""

    schedule: Schedule | None = None
    """When to look for fresher packages. A plan that finds nothing new builds nothing."""

    retention: Retention = Retention()
    """What is kept of finished builds."""

    suspend: bool = False
    """Start no new build; one that runs goes on."""


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
