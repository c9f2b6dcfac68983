"""The seal step: the index, its SPDX document and provenance, signed and attached.

It runs nothing that comes from a package or a user, as it holds the signing key.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plimsoll.api.steps import SealResult
from plimsoll.arch import Arch
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.logins import Logins
from plimsoll.builder.ociimage import CREATED, image_index
from plimsoll.builder.provenance import invocation_id, provenance
from plimsoll.builder.sbom import index_sbom
from plimsoll.builder.steps.common import (
    RequestError,
    pull_assembly,
    registry_of,
    repository_of,
)
from plimsoll.oci.model import OCI_CONFIG, OCI_INDEX, Descriptor, Manifest, Platform
from plimsoll.signing.attach import (
    attach_bundle,
    attach_legacy_attestation,
    attach_legacy_signature,
)
from plimsoll.signing.bundle import Bundle
from plimsoll.signing.dsse import Envelope
from plimsoll.signing.evidence import Format, discover
from plimsoll.signing.items import BundleItem
from plimsoll.signing.sign import attest, sign_image, sign_legacy
from plimsoll.signing.statement import SLSA_PROVENANCE_V1, SPDX, Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.steps import AssembleResult, BuildRequest
    from plimsoll.builder.steps.common import Assembly
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry
    from plimsoll.signing.privatekey import Signer


async def seal(
    request: BuildRequest,
    assembled: Sequence[AssembleResult],
    lock: str,
    signer: Signer | None,
) -> SealResult:
    """Push the index and everything that is said about it.

    Args:
        request: what was asked for.
        assembled: results of the assemble step.
        lock: digest of the lock artifact.
        signer: signs; without one the index is pushed and nothing is attached.

    Raises:
        RequestError: there is nothing to seal, or an image is not what it should be.
        RegistryError: the registry fails.
    """
    repository = repository_of(request)
    async with registry_of(request) as registry:
        images = await run_all(_image(registry, repository, item) for item in assembled)
        if not images:
            raise RequestError("there is no image to seal")
        notes = dict(request.image.annotations)
        created = max(when for _, when in images)
        notes[CREATED] = created
        members = [descriptor for descriptor, _ in images]
        data = image_index(members, notes)
        index = Descriptor.of(data, OCI_INDEX)
        await registry.push_manifest(repository.with_digest(index.digest), data, OCI_INDEX)
        if signer is None:
            return SealResult(digest=index.digest, signed=False, attestations=[])
        records = await run_all(pull_assembly(registry, repository, d) for d in members)
        work = _Sealer(registry, repository, request, signer)
        pairs = list(zip(members, records, strict=True))
        await work.seal_all(index, pairs, lock, created)
    kinds = [SPDX] * request.attest.sbom + [SLSA_PROVENANCE_V1] * request.attest.provenance
    return SealResult(digest=index.digest, signed=request.attest.signature, attestations=kinds)


async def _image(
    registry: Registry, repository: Reference, item: AssembleResult
) -> tuple[Descriptor, str]:
    """An assembled image as a member of the index, and its creation time."""
    target = repository.with_digest(item.digest)
    descriptor, data = await registry.get_manifest(target)
    manifest = Manifest.parse(data, descriptor.media_type, what=str(target))
    arch = Arch.parse(item.arch)
    platform = Platform(architecture=arch.architecture, variant=arch.variant)
    member = replace(descriptor, platform=platform, artifact_type=OCI_CONFIG)
    return member, manifest.annotations.get(CREATED, "")


class _Sealer:
    """Signs and attaches; what is attached already is not attached again."""

    def __init__(
        self, registry: Registry, repository: Reference, request: BuildRequest, signer: Signer
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._request = request
        self._signer = signer

    async def seal_all(
        self,
        index: Descriptor,
        images: Sequence[tuple[Descriptor, Assembly]],
        lock: str,
        created: str,
    ) -> None:
        """Seal the index and every image below it."""
        documents: dict[str, bytes] = {image.digest: record.sbom for image, record in images}
        moment = int(datetime.fromisoformat(created).timestamp()) if created else 0
        documents[index.digest] = await asyncio.to_thread(
            index_sbom,
            self._repository.name,
            index.digest,
            [(image, record.sbom) for image, record in images],
            moment,
        )
        made = provenance(
            self._request,
            lock=lock,
            packages=[package for _, record in images for package in record.packages],
            finished=datetime.now(UTC),
            logins=Logins({}),
        )
        # One after the other: the fallback index of old registries has one writer.
        for subject in (*(image for image, _ in images), index):
            await self._seal(subject, documents[subject.digest], made)

    async def _seal(self, subject: Descriptor, sbom: bytes, made: Mapping[str, Any]) -> None:
        import json  # noqa: PLC0415  (one use)

        wish, digest, name = self._request.attest, subject.digest, self._repository.name
        if wish.signature:
            await self._attach(subject, sign_image(self._signer, digest))
            if self._request.output.legacy_signatures:
                payload, signature = sign_legacy(self._signer, name, digest)
                await attach_legacy_signature(
                    self._registry, self._repository, digest, payload, signature
                )
        if wish.sbom:
            bundle = attest(self._signer, digest, SPDX, json.loads(sbom), name=name)
            await self._attach_statement(subject, bundle)
        if wish.provenance and not await self._has_provenance(digest):
            bundle = attest(self._signer, digest, SLSA_PROVENANCE_V1, made, name=name)
            await self._attach_statement(subject, bundle)

    async def _attach_statement(self, subject: Descriptor, bundle: Bundle) -> None:
        await self._attach(subject, bundle)
        if self._request.output.legacy_signatures:
            await attach_legacy_attestation(
                self._registry, self._repository, subject.digest, bundle
            )

    async def _attach(self, subject: Descriptor, bundle: Bundle) -> None:
        # With the time of the build, the same bundle is the same artifact however often it is made.
        await attach_bundle(
            self._registry, self._repository, subject, bundle, created=self._request.started
        )

    async def _has_provenance(self, digest: str) -> bool:
        """Whether an earlier try of this build attached its provenance.

        Unlike all else, provenance names the moment at which it was made.
        """
        formats: tuple[Format, ...] = ("bundle",)
        evidence = await discover(
            self._registry,
            self._repository,
            digest,
            formats=formats,
            predicate_types=(SLSA_PROVENANCE_V1,),
        )
        return any(
            isinstance(item, BundleItem) and self._is_ours(item.data) for item in evidence.items
        )

    def _is_ours(self, data: bytes) -> bool:
        from plimsoll.signing.errors import InvalidEvidenceError  # noqa: PLC0415  (rare)

        try:
            envelope = Bundle.parse(data).content
            if not isinstance(envelope, Envelope):
                return False
            statement = Statement.parse(envelope.payload)
        except InvalidEvidenceError:
            return False
        predicate = statement.predicate
        metadata = predicate.get("runDetails", {}).get("metadata", {})
        return (
            statement.predicate_type == SLSA_PROVENANCE_V1
            and metadata.get("invocationId") == invocation_id(self._request)
            and any(
                self._signer.public.verifies(signature.sig, envelope.signed_bytes)
                for signature in envelope.signatures
            )
        )
