"""What the operator hands to the Jobs that build packages, and what they hand back.

All steps read the same ``PackageRequest`` (JSON, a file mounted from a ConfigMap); what else they
need comes as options:

``package-keys --key [--previous-key…]``
    Reads no request. Says which public keys belong to the signing keys, which only this step and
    ``package-publish`` see. A key is the only file ``*.rsa`` of a folder, and is called as it.
``package-plan``
    Reads configurations and what is published; says what can be built now. Pushes the plan: it
    holds every configuration with its files, so no later step reads the sources again.
``package-prepare --plan --package --arch``
    Fetches sources, and pushes the image in which the package is built.
*build*
    Runs that image: its entry point runs all steps and leaves ``OUTPUT_FOLDER`` filled. Beside it
    ``package-outbox --folder --token`` hands the folder out once.
``package-collect --plan --package --arch --guest --outbox --token``
    Makes unsigned packages of it, and an image for every test.
*test*
    Runs these images: exit status 0 is success.
``package-publish --plan --arch --artifact… --key [--previous-key…]``
    Signs, and moves the index.

Exit statuses and ``StepFailure`` are those of ``plimsoll.api.steps``; so is the limit of 4096
bytes for results, to which lists are cut (counts are not).
"""

from __future__ import annotations

from typing import Any, Literal

from plimsoll.api.base import Model
from plimsoll.api.steps import TERMINATION_MESSAGE_LIMIT, StepFailure, load_as

PackageStepName = Literal[
    "package-keys", "package-plan", "package-prepare", "package-collect", "package-publish"
]

OUTPUT_FOLDER = "/home/build/melange-out"
"""Where the build image leaves files: an empty volume, writable by the image's user."""

OUTBOX_PORT = 8080


class ReadyPackage(Model):
    """A package that can be built now."""

    name: str
    """Of the configuration (the origin)."""

    arch: str
    version: str
    """With the epoch that it will have: ``1.2-r3``."""

    inputs_hash: str
    reason: str
    """``New``, ``Changed`` (its inputs), ``AbiChanged`` (of a library in this repository)."""


class BlockedPackage(Model):
    """A package that waits."""

    name: str
    arch: str
    on: str
    """The package that it waits for."""

    failed: bool
    """Whether that one failed, so that waiting alone does not help."""


class PublishedIndex(Model):
    """The index of one architecture."""

    arch: str
    digest: str
    """SHA-256 of the index file, empty if there is none yet."""

    packages: int


class PackageCounts(Model):
    """Configurations times architectures."""

    total: int = 0
    published: int = 0
    """As they should be."""

    ready: int = 0
    blocked: int = 0
    failed: int = 0


class PackageKeysResult(Model):
    """Result of ``package-keys``."""

    current: str
    """Name of the key that signs."""

    keys: dict[str, str]
    """Name (``….rsa.pub``) → public key as PEM, of the current and all previous keys."""


class PackagePlanResult(Model):
    """Result of ``package-plan``."""

    plan: str
    """Digest of the plan in the storage."""

    unchanged: bool
    """Everything is published as it should be: nothing is ready, blocked, failed or to publish."""

    counts: PackageCounts
    ready: list[ReadyPackage] = []
    blocked: list[BlockedPackage] = []
    failed: list[str] = []
    """``NAME/ARCH`` of what failed before with the same inputs."""

    publish: list[str] = []
    """Architectures whose index must be published anew though nothing is built for it: withdrawn
    packages, retention, another signing key, no index yet."""

    indexes: list[PublishedIndex] = []


class PackagePrepareResult(Model):
    """Result of ``package-prepare``."""

    guest: str
    """Digest of the image in the storage that builds the package."""

    user: int
    """Its user: who must be able to write ``OUTPUT_FOLDER``, and whom the outbox runs as."""

    token: str
    """Secret of the outbox; never given to the container that builds."""

    network: bool = False
    """Whether its steps use the network: allowed by the request, and nothing else does."""

    timeout: int = 0
    """Seconds that the configuration gives its steps; 0 for none."""

    resources: dict[str, str] = {}
    """What the configuration asks for: ``cpu``, ``memory``, ``disk`` as Kubernetes quantities."""


class PackageTest(Model):
    """An image that tests one package."""

    name: str
    image: str
    """Its digest in the storage."""


class PackageCollectResult(Model):
    """Result of ``package-collect``."""

    artifact: str
    """Digest of the unsigned packages in the storage."""

    version: str
    packages: int
    """How many packages the configuration gave."""

    tests: list[PackageTest] = []
    untested: int = 0
    """Packages without a test."""

    warnings: int = 0
    """Findings of linters."""

    abi: list[str] = []
    """What programs built against the published libraries would miss, a sentence each."""


class PackagePublishResult(Model):
    """Result of ``package-publish``."""

    index: PublishedIndex
    published: int
    """Packages that were added."""

    removed: int = 0
    """Packages that left the index."""

    changed: bool
    """Whether the index is another one than before."""

    abi: list[str] = []
    """As that of ``PackageCollectResult``."""


PackageStepResult = (
    PackageKeysResult
    | PackagePlanResult
    | PackagePrepareResult
    | PackageCollectResult
    | PackagePublishResult
)
_CUT = ("abi", "failed", "blocked", "ready")


def dump(result: PackageStepResult) -> bytes:
    """Encode a result as the termination message, with fewer entries in lists if it must be.

    Raises:
        ValueError: it is too large all the same.
    """
    data = result.model_dump_json(by_alias=True).encode()
    while len(data) > TERMINATION_MESSAGE_LIMIT:
        longest = max(
            (name for name in _CUT if getattr(result, name, None)),
            key=lambda name: len(getattr(result, name)),
            default=None,
        )
        if longest is None:
            raise ValueError(f"a {type(result).__name__} of {len(data)} bytes is over the limit")
        result = result.model_copy(update={longest: getattr(result, longest)[:-1]})
        data = result.model_dump_json(by_alias=True).encode()
    return data


def load(step: PackageStepName, message: str) -> PackageStepResult | StepFailure:
    """Decode a termination message; raises ``pydantic.ValidationError`` on anything else."""
    models: dict[str, Any] = {
        "package-keys": PackageKeysResult,
        "package-plan": PackagePlanResult,
        "package-prepare": PackagePrepareResult,
        "package-collect": PackageCollectResult,
        "package-publish": PackagePublishResult,
    }
    result: PackageStepResult | StepFailure = load_as(models[step], message)
    return result
