"""Finding the evidence of an image in a registry.

Where it stands: artifacts that refer to the image (distribution-spec v1.1, by the referrers API or
the fallback tag ``sha256-<hex>``), and cosign's legacy tags ``sha256-<hex>.sig`` and ``.att``.
Descriptors and their annotations are claims of the registry: they save reading what is not wanted,
and decide nothing else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from plimsoll.oci.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    InvalidManifestError,
    ResponseTooLargeError,
)
from plimsoll.oci.model import MANIFEST_LIMIT, OCI_EMPTY, Descriptor, Manifest
from plimsoll.signing.bundle import bundle_version
from plimsoll.signing.items import (
    BundleItem,
    Evidence,
    EvidenceItem,
    LegacyAttestationItem,
    LegacySignatureItem,
)
from plimsoll.signing.legacy import (
    DSSE_ENVELOPE,
    PAYLOAD_LIMIT,
    PREDICATE_TYPE,
    SIMPLE_SIGNING,
    legacy_tag,
)
from plimsoll.signing.results import Rejection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Coroutine, Iterable, Sequence

    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry

Format = Literal["bundle", "legacy"]

#: Annotations of a bundle's manifest; hints only.
CONTENT_HINT: Final = "dev.sigstore.bundle.content"
PREDICATE_HINT: Final = "dev.sigstore.bundle.predicateType"
CREATED: Final = "org.opencontainers.image.created"
#: Artifact type of cosign's experiment with legacy signatures as referrers.
_LEGACY_ARTIFACT: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is read for one image; what lies beyond is reported as a rejection."""

    artifacts: int = 64
    """Artifacts that refer to the image."""

    layers: int = 64
    """Layers of one manifest."""

    item_size: int = 48 << 20
    """Bytes of one bundle or envelope."""

    total_size: int = 128 << 20
    """Bytes of all of them together."""

    concurrency: int = 8
    """Requests at once."""


#: Faults of one attachment, which must not hide the others. All else (a registry that does not
#: answer, or refuses) means that nothing is known, and is raised.
_ATTACHMENT_FAULTS = (
    DigestMismatchError,
    ImageNotFoundError,
    InvalidManifestError,
    ResponseTooLargeError,
)


async def discover(  # noqa: PLR0913  settings, by name and optional
    registry: Registry,
    repository: Reference,
    digest: str,
    *,
    formats: Collection[Format] = ("bundle", "legacy"),
    tag_prefix: str = "",
    predicate_types: Collection[str] | None = None,
    limits: Limits | None = None,
) -> Evidence:
    """Collect the evidence of one image; verifies nothing.

    Takes three round trips one after the other: lists, manifests, blobs.

    Args:
        registry: the client.
        repository: where to look: that of the image, or a policy's own source.
        digest: of the image: ``sha256:…``.
        formats: which of the two ways of storing to look at.
        tag_prefix: put before legacy tags.
        predicate_types: do not read bundles that are marked with another predicate type
            (``COSIGN_SIGN`` for signatures). Unmarked ones are read.
        limits: how much to read.

    Raises:
        plimsoll.oci.errors.RegistryError: the registry could not be asked, so nothing is known.
            That there is no evidence is no error.
        plimsoll.oci.errors.InvalidManifestError: its list of artifacts cannot be read.
        InvalidEvidenceError: ``tag_prefix`` cannot stand in a tag.
    """
    search = _Search(registry, repository, digest, limits or Limits())
    wanted = frozenset(predicate_types) if predicate_types is not None else None
    tags = [legacy_tag(digest, suffix, tag_prefix) for suffix in ("sig", "att")]
    tasks = []
    if "bundle" in formats:
        tasks.append(search.referrers(wanted, legacy="legacy" in formats))
    if "legacy" in formats:
        tasks.extend(search.tagged(tag, wanted) for tag in tags)
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(_unwrapped(task)) for task in tasks]
    for task in running:
        found = task.result()
        if isinstance(found, BaseException):
            raise found
    search.items.sort(key=lambda item: item.source)
    return Evidence(
        digest=digest,
        repository=repository.name,
        items=tuple(search.items),
        rejections=tuple(search.rejections),
    )


async def _unwrapped(work: Awaitable[None]) -> Exception | None:
    """Let the other searches end, so that an error is raised as it is, not in a group."""
    try:
        await work
    except Exception as error:  # noqa: BLE001  raised again by the caller
        return error
    return None


@dataclass(slots=True)
class _Search:
    registry: Registry
    repository: Reference
    digest: str
    limits: Limits
    items: list[EvidenceItem] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    planned: int = 0
    gate: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.gate = asyncio.Semaphore(self.limits.concurrency)

    async def referrers(self, wanted: frozenset[str] | None, *, legacy: bool) -> None:
        target = self.repository.with_digest(self.digest)
        listed = await self.registry.referrers(target)
        relevant = [item for item in listed if _may_hold_evidence(item, wanted, legacy=legacy)]
        if len(relevant) > self.limits.artifacts:
            self._reject(
                f"{len(relevant)} artifacts refer to the image; "
                f"only {self.limits.artifacts} of them were read",
                str(target),
            )
        await self._all(
            self._manifest(self.repository.with_digest(item.digest), wanted)
            for item in _foremost(relevant, self.limits.artifacts)
        )

    async def tagged(self, tag: str, wanted: frozenset[str] | None) -> None:
        await self._manifest(self.repository.with_tag(tag), wanted, optional=True)

    async def _manifest(
        self, ref: Reference, wanted: frozenset[str] | None, *, optional: bool = False
    ) -> None:
        try:
            async with self.gate:
                descriptor, data = await self.registry.get_manifest(ref, MANIFEST_LIMIT)
            manifest = Manifest.parse(data, descriptor.media_type, what=str(ref))
        except _ATTACHMENT_FAULTS as error:
            if not (optional and isinstance(error, ImageNotFoundError)):
                self._reject(error.message, str(ref))
            return
        layers = [layer for layer in manifest.layers if _is_evidence(layer, wanted)]
        if len(layers) > self.limits.layers:
            self._reject(
                f"it has {len(layers)} layers; only {self.limits.layers} were read", str(ref)
            )
        await self._all(
            self._layer(layer, f"{ref}#{number}" if len(layers) > 1 else str(ref))
            for number, layer in enumerate(layers[: self.limits.layers])
        )

    async def _layer(self, layer: Descriptor, source: str) -> None:
        limit = PAYLOAD_LIMIT if layer.media_type == SIMPLE_SIGNING else self.limits.item_size
        if layer.size > limit:
            self._reject(f"it has {layer.size} bytes, more than {limit} allowed", source)
            return
        self.planned += layer.size
        if self.planned > self.limits.total_size:
            self._reject("there is more evidence than is read for one image", source)
            return
        try:
            async with self.gate:
                data = await self.registry.get_blob(self.repository, layer.digest, layer.size)
        except _ATTACHMENT_FAULTS as error:
            self._reject(error.message, source)
            return
        self.items.append(_item(layer, data, source))

    async def _all(self, work: Iterable[Coroutine[None, None, None]]) -> None:
        for error in await asyncio.gather(*work, return_exceptions=True):
            if error is not None:
                raise error

    def _reject(self, reason: str, source: str) -> None:
        self.rejections.append(Rejection(reason, source))


def _may_hold_evidence(item: Descriptor, wanted: frozenset[str] | None, *, legacy: bool) -> bool:
    if item.artifact_type == _LEGACY_ARTIFACT:
        return legacy
    if item.artifact_type not in {"", OCI_EMPTY} and bundle_version(item.artifact_type) is None:
        return False
    return _wanted(item.annotations.get(PREDICATE_HINT), wanted)


def _foremost(items: Sequence[Descriptor], most: int) -> list[Descriptor]:
    """As many as are read: of every kind the newest.

    Reports that are renewed every night must not crowd out what was said once, nor the old ones
    the new.
    """
    if len(items) <= most:
        return list(items)
    kinds: dict[str, list[Descriptor]] = {}
    for item in sorted(items, key=lambda one: one.annotations.get(CREATED, ""), reverse=True):
        kinds.setdefault(item.annotations.get(PREDICATE_HINT, ""), []).append(item)
    ranked = [each for kind in kinds.values() for each in enumerate(kind)]
    ranked.sort(key=lambda each: each[0])
    return [item for _, item in ranked[:most]]


def _is_evidence(layer: Descriptor, wanted: frozenset[str] | None) -> bool:
    if layer.media_type == DSSE_ENVELOPE:
        return _wanted(layer.annotations.get(PREDICATE_TYPE), wanted)
    return layer.media_type == SIMPLE_SIGNING or bundle_version(layer.media_type) is not None


def _wanted(hint: str | None, wanted: frozenset[str] | None) -> bool:
    return wanted is None or not hint or hint in wanted


def _item(layer: Descriptor, data: bytes, source: str) -> EvidenceItem:
    if layer.media_type == SIMPLE_SIGNING:
        return LegacySignatureItem(source, data, layer.annotations)
    if layer.media_type == DSSE_ENVELOPE:
        return LegacyAttestationItem(source, data, layer.annotations)
    return BundleItem(source, data)
