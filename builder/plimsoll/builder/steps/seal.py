"""The seal step: the index, what is in it and how it was made, scanned, signed and attached.

It runs nothing that comes from a package or a user, as it holds the signing key.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plimsoll.api.steps import SealResult
from plimsoll.arch import Arch
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.logins import Logins
from plimsoll.builder.ociimage import CREATED, image_index
from plimsoll.builder.provenance import provenance
from plimsoll.builder.sbom import index_sbom
from plimsoll.builder.steps.common import (
    RequestError,
    pull_assembly,
    registry_of,
    repository_of,
)
from plimsoll.builder.steps.sealing import Sealer
from plimsoll.builder.steps.vulnerabilities import check, predicate, scanned
from plimsoll.oci.model import OCI_CONFIG, OCI_INDEX, Descriptor, Manifest, Platform
from plimsoll.signing.statement import (
    COSIGN_SIGN,
    CYCLONEDX,
    SLSA_PROVENANCE_V1,
    SPDX,
    VULN,
    build_statement,
)
from plimsoll.signing.statementsigner import DataSigner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.steps import AssembleResult, BuildRequest
    from plimsoll.builder.steps.common import Assembly
    from plimsoll.builder.vulnerabilities.model import Report
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry
    from plimsoll.signing.statementsigner import StatementSigner

Images = list[tuple[Descriptor, "Assembly"]]


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
        VulnerableError: the image has vulnerabilities that the request does not allow.
        RegistryError: the registry fails.
        SigningError: the signer fails.
    """
    check_signer(request, signer)
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
        if signer is None and request.scan is None:
            return SealResult(digest=index.digest, signed=False, attestations=[])
        records = await run_all(pull_assembly(registry, repository, d) for d in members)
        pairs = list(zip(members, records, strict=True))
        documents = await documents_of(repository.name, index, pairs, created)
        reports = await scanned(request, documents)
        check(request, reports)
        if signer is None:
            return SealResult(digest=index.digest, signed=False, attestations=[])
        made = provenance(
            request,
            lock=lock,
            packages=[package for record in records for package in record.packages],
            finished=datetime.now(UTC),
            logins=Logins({}),
        )
        subjects = [*members, index]
        said = [
            (
                subject,
                await asyncio.to_thread(
                    statements_about,
                    request,
                    subject.digest,
                    documents[subject.digest],
                    made,
                    reports.get(subject.digest),
                ),
            )
            for subject in subjects
        ]
        await Sealer(registry, repository, request, signer).seal(said)
    kinds = [kind for kind, _ in said[-1][1] if kind != COSIGN_SIGN]
    return SealResult(digest=index.digest, signed=request.attest.signature, attestations=kinds)


def check_signer(request: BuildRequest, signer: StatementSigner | None) -> None:
    """Refuse a signer that cannot make what is asked for.

    Raises:
        RequestError: legacy signatures are asked for, and there is no key.
    """
    if request.output.legacy_signatures and not isinstance(signer, DataSigner | None):
        raise RequestError(
            "legacy signatures need a key",
            hint="unset output.legacySignatures or use keySecret or kms",
        )


async def documents_of(
    name: str, index: Descriptor, images: Images, created: str
) -> dict[str, bytes]:
    """The SPDX documents of an index and of every image below it, by digest."""
    documents = {image.digest: record.sbom for image, record in images}
    moment = int(datetime.fromisoformat(created).timestamp()) if created else 0
    documents[index.digest] = await asyncio.to_thread(
        index_sbom,
        name,
        index.digest,
        [(image, record.sbom) for image, record in images],
        moment,
    )
    return documents


def statements_about(
    request: BuildRequest,
    digest: str,
    sbom: bytes,
    made: Mapping[str, Any],
    report: Report | None,
) -> list[tuple[str, bytes]]:
    """What is said of one image: predicate types and statements."""
    wish, name = request.attest, repository_of(request).name
    said: list[tuple[str, bytes]] = []
    if wish.signature:
        said.append((COSIGN_SIGN, build_statement(digest, COSIGN_SIGN, {})))
    if wish.sbom:
        said.append((SPDX, build_statement(digest, SPDX, json.loads(sbom), name=name)))
    if wish.cyclonedx:
        from plimsoll.builder.cyclonedx import from_spdx  # noqa: PLC0415  (loads slowly)

        document = json.loads(from_spdx(sbom))
        said.append((CYCLONEDX, build_statement(digest, CYCLONEDX, document, name=name)))
    if wish.provenance:
        said.append(
            (SLSA_PROVENANCE_V1, build_statement(digest, SLSA_PROVENANCE_V1, made, name=name))
        )
    if wish.vulnerabilities and report is not None:
        found = predicate(request, report)
        said.append((VULN, build_statement(digest, VULN, found, name=name)))
    return said


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
