"""The seal step: the index, its SPDX document and provenance, signed and attached.

It runs nothing that comes from a package or a user, as it holds the signing key.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
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
from plimsoll.signing.legacy import build_payload
from plimsoll.signing.statement import (
    COSIGN_SIGN,
    SLSA_PROVENANCE_V1,
    SPDX,
    Statement,
    build_statement,
)
from plimsoll.signing.statementsigner import DataSigner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.steps import AssembleResult, BuildRequest
    from plimsoll.builder.steps.common import Assembly
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry
    from plimsoll.signing.statementsigner import StatementSigner


async def seal(
    request: BuildRequest,
    assembled: Sequence[AssembleResult],
    lock: str,
    signer: StatementSigner | None,
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
        SigningError: the signer fails.
    """
    if request.output.legacy_signatures and not isinstance(signer, DataSigner | None):
        raise RequestError(
            "legacy signatures need a key",
            hint="unset output.legacySignatures or use keySecret or kms",
        )
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


@dataclass(frozen=True, slots=True)
class _Wish:
    """A statement to sign, or the bundle that holds it already."""

    kind: str
    statement: bytes
    attached: Bundle | None


class _Sealer:
    """Signs and attaches; what is attached already is not attached again."""

    def __init__(
        self,
        registry: Registry,
        repository: Reference,
        request: BuildRequest,
        signer: StatementSigner,
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
        subjects = [*(image for image, _ in images), index]
        plans = [await self._plan(subject, documents[subject.digest], made) for subject in subjects]
        # Logs answer once a batch is published: all wait for the same one.
        signed = await run_all(map(self._sign, plans))
        # One after the other: the fallback index of old registries has one writer.
        for subject, done in zip(subjects, signed, strict=True):
            for kind, bundle, is_new in done:
                if is_new:
                    # With the time of the build, the same bundle is the same artifact however
                    # often it is made.
                    await attach_bundle(
                        self._registry,
                        self._repository,
                        subject,
                        bundle,
                        created=self._request.started,
                    )
                if self._request.output.legacy_signatures:
                    await self._legacy(kind, subject.digest, bundle)

    async def _plan(self, subject: Descriptor, sbom: bytes, made: Mapping[str, Any]) -> list[_Wish]:
        """The statements about an image, with the bundles that an earlier try attached."""
        import json  # noqa: PLC0415  (one use)

        wish, digest, name = self._request.attest, subject.digest, self._repository.name
        statements: list[tuple[str, bytes]] = []
        if wish.signature:
            statements.append((COSIGN_SIGN, build_statement(digest, COSIGN_SIGN, {})))
        if wish.sbom:
            document = json.loads(sbom)
            statements.append((SPDX, build_statement(digest, SPDX, document, name=name)))
        if wish.provenance:
            made_by = build_statement(digest, SLSA_PROVENANCE_V1, made, name=name)
            statements.append((SLSA_PROVENANCE_V1, made_by))
        found = await self._found(digest, [kind for kind, _ in statements])
        return [
            _Wish(
                kind,
                statement,
                next(
                    (one for one in found.get(kind, ()) if self._same(one, kind, statement)), None
                ),
            )
            for kind, statement in statements
        ]

    async def _sign(self, plan: Sequence[_Wish]) -> list[tuple[str, Bundle, bool]]:
        """Type, bundle, and whether it is yet to be attached, of each statement."""

        async def one(wish: _Wish) -> tuple[str, Bundle, bool]:
            if wish.attached is not None:
                return wish.kind, wish.attached, False
            return wish.kind, await self._signer.sign_statement(wish.statement), True

        return await run_all(map(one, plan))

    async def _legacy(self, kind: str, digest: str, bundle: Bundle) -> None:
        if kind != COSIGN_SIGN:
            await attach_legacy_attestation(self._registry, self._repository, digest, bundle)
        elif isinstance(self._signer, DataSigner):
            payload = build_payload(self._repository.name, digest)
            signature = await self._signer.sign(payload)
            await attach_legacy_signature(
                self._registry, self._repository, digest, payload, signature
            )

    async def _found(self, digest: str, kinds: Sequence[str]) -> dict[str, list[Bundle]]:
        """What an earlier try of this build attached, by predicate type."""
        from plimsoll.signing.errors import InvalidEvidenceError  # noqa: PLC0415  (rare)

        formats: tuple[Format, ...] = ("bundle",)
        evidence = await discover(
            self._registry,
            self._repository,
            digest,
            formats=formats,
            predicate_types=tuple(kinds),
        )
        found: dict[str, list[Bundle]] = {}
        for item in evidence.items:
            if not isinstance(item, BundleItem):
                continue
            try:
                bundle = Bundle.parse(item.data)
                if not isinstance(bundle.content, Envelope):
                    continue
                kind = Statement.parse(bundle.content.payload).predicate_type
            except InvalidEvidenceError:
                continue
            if await self._signer.made(bundle):
                found.setdefault(kind, []).append(bundle)
        return found

    def _same(self, bundle: Bundle, kind: str, statement: bytes) -> bool:
        """Whether a bundle says what the statement says.

        Unlike all else, provenance names the moment at which it was made; that of the same
        invocation will do.
        """
        if not isinstance(bundle.content, Envelope):
            return False
        if kind != SLSA_PROVENANCE_V1:
            return bundle.content.payload == statement
        predicate = Statement.parse(bundle.content.payload).predicate
        metadata = predicate.get("runDetails", {}).get("metadata", {})
        return bool(metadata.get("invocationId") == invocation_id(self._request))
