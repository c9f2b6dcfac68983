"""What the operator hands to the Jobs of a build, and what they hand back.

A step reads one ``BuildRequest`` (JSON, a file mounted from a ConfigMap) and writes one result
(JSON) to its termination message, which Kubernetes caps at 4096 bytes: digests only; the full
records live in the registry.

Exit statuses of a step: 0 done; 1 a fault that may pass (network, registry 5xx), try again;
3 an error that stays until somebody changes something. On 1 and 3 the termination message is a
``StepFailure``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from plimsoll.api.base import Model
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.scanspec import ScanSpec

EXIT_RETRY = 1
EXIT_PERMANENT = 3
TERMINATION_MESSAGE_LIMIT = 4096
#: Tags of one image.
MOST_TAGS = 64

StepName = Literal["plan", "rescan", "assemble", "verify", "test", "seal", "promote"]


class RepositorySource(Model):
    """One APK repository as a build sees it."""

    url: str
    """Base URL (or local path), without the architecture."""

    keys: dict[str, str] = {}
    """Key name (``….rsa.pub``) → PEM public key, or an https URL to fetch it from."""


class Output(Model):
    """Where the image goes."""

    repository: str
    """Registry and repository without tag: ``registry.example/team/app``."""

    tags: list[str] = ["latest"]
    """Tag templates: ``latest``, ``${timestamp}``, ``${package.NAME.version}``,
    ``${package.NAME.stems}``."""

    legacy_signatures: bool = False
    """Also write ``sha256-….sig`` and ``.att`` tags for tools older than cosign 3."""


class Attest(Model):
    """Which attestations the seal step makes beside the signature."""

    signature: bool = True
    sbom: bool = True
    cyclonedx: bool = False
    provenance: bool = True
    vulnerabilities: bool = True
    """The report of the scan, if ``scan`` asks for one."""


class RequestVariant(Model):
    """Another image of the same build."""

    name: str
    image: ImageConfiguration
    """The whole configuration, not only what differs."""

    tags: list[str]


class BuildRequest(Model):
    """Everything a build depends on, fixed at its start."""

    build_id: str
    """Short name of this build, unique per ImageBuild."""

    name: str
    namespace: str
    uid: str
    """Of the ImageBuild: together they name the build in its provenance."""

    image: ImageConfiguration
    repositories: list[RepositorySource] = []
    """PackageRepo references, resolved; added to ``image.contents``."""

    archs: list[str]
    """OCI names: ``amd64``, ``arm64``."""

    output: Output
    variants: list[RequestVariant] = []
    """Further images, planned together with the first."""

    variant: str = ""
    """The variant that ``image`` and ``output`` are of; empty for the image that is none."""

    attest: Attest = Attest()
    scan: ScanSpec | None = None
    """Where known vulnerabilities are looked up; what fails the build is not signed."""

    started: datetime
    """Start of the build (UTC): the value of ``${timestamp}`` (``YYYYMMDDhhmmss``)."""

    builder_id: str
    """SLSA ``builder.id``: operator version and cluster."""

    previous_inputs_hash: str = ""
    """Inputs hash of the last successful build; equal → the plan reports ``unchanged``."""

    force: bool = False
    """Build even if nothing changed."""

    insecure_registries: list[str] = []
    """Hosts (with port) that are spoken to over plain HTTP."""

    trusted_hosts: list[str] = []
    """Hosts that may be asked although they are at loopback, link-local or metadata addresses."""

    def of_variant(self, name: str) -> BuildRequest:
        """What this says of one variant; of the image that is none if ``name`` is empty.

        Raises:
            KeyError: there is no such variant.
        """
        if not name:
            return self
        one = {variant.name: variant for variant in self.variants}[name]
        output = self.output.model_copy(update={"tags": one.tags})
        return self.model_copy(update={"image": one.image, "output": output, "variant": name})


class VariantPlan(Model):
    """What ``plan`` found for one variant."""

    name: str
    """Name of the variant."""

    lock: str
    """Digest of its lock artifact."""

    packages: int
    """How many packages, all architectures together."""

    tags: list[str]
    """Its tags with every template filled in."""


class PlanResult(Model):
    """Result of ``plan``."""

    inputs_hash: str
    """SHA-256 (hex) over configuration, lock and builder version."""

    unchanged: bool
    lock: str
    """Digest of the lock artifact in ``output.repository``."""

    packages: int
    """How many packages, all architectures together."""

    tags: list[str]
    """``output.tags`` with every template filled in."""

    variants: list[VariantPlan] = []
    """The same for every variant."""


class AssembleResult(Model):
    """Result of ``assemble`` for one architecture."""

    arch: str
    digest: str
    size: int
    """Bytes of the compressed layers together."""

    sbom: str
    """Digest of the SPDX document's blob in ``output.repository``."""


class SealResult(Model):
    """Result of ``seal``."""

    digest: str
    """Of the image index."""

    signed: bool
    attestations: list[str]
    """Predicate types attached to the index."""


class PromoteResult(Model):
    """Result of ``promote``."""

    tags: list[str]


class StepFailure(Model):
    """Why a step failed, for a condition and an event."""

    reason: str
    """CamelCase, from ``Error.reason``."""

    message: str
    retryable: bool


_Result = TypeVar("_Result", bound=Model)

StepResult = PlanResult | AssembleResult | SealResult | PromoteResult


def dump(result: StepResult | StepFailure) -> bytes:
    """Encode a result as the termination message, cutting a failure's text to fit."""
    data = result.model_dump_json(by_alias=True).encode()
    if len(data) <= TERMINATION_MESSAGE_LIMIT:
        return data
    if isinstance(result, StepFailure):
        text = result.message.encode()[: TERMINATION_MESSAGE_LIMIT // 2].decode(errors="ignore")
        return dump(result.model_copy(update={"message": f"{text}…"}))
    raise ValueError(f"a {type(result).__name__} of {len(data)} bytes is over the limit")


def load(step: StepName, message: str) -> StepResult | StepFailure:
    """Decode a termination message; raises ``pydantic.ValidationError`` on anything else.

    A test has none: its containers run the image.
    """
    models: dict[str, Any] = {
        "plan": PlanResult,
        "rescan": SealResult,
        "assemble": AssembleResult,
        "verify": AssembleResult,
        "seal": SealResult,
        "promote": PromoteResult,
    }
    result: StepResult | StepFailure = load_as(models[step], message)
    return result


def load_as(model: type[_Result], message: str) -> _Result | StepFailure:
    """Decode a termination message, which is a result of this model or a failure.

    Raises:
        pydantic.ValidationError: it is neither.
    """
    try:
        return StepFailure.model_validate_json(message)
    except ValidationError:
        return model.model_validate_json(message)
