"""The rescan step: nothing was built, and the vulnerability reports are made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.api.steps import SealResult
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.ociimage import CREATED
from plimsoll.builder.steps.common import RequestError, pull_assembly, registry_of, repository_of
from plimsoll.builder.steps.seal import check_signer, documents_of
from plimsoll.builder.steps.sealing import Sealer
from plimsoll.builder.steps.vulnerabilities import check, predicate, scanned
from plimsoll.oci.model import Index
from plimsoll.signing.statement import VULN, build_statement

if TYPE_CHECKING:
    from plimsoll.api.steps import BuildRequest
    from plimsoll.signing.statementsigner import StatementSigner


async def rescan(request: BuildRequest, digest: str, signer: StatementSigner | None) -> SealResult:
    """Scan a sealed index again by what is known today, and attest the reports.

    Args:
        request: of a build that found nothing to build.
        digest: of the index.
        signer: signs; without one it is only scanned.

    Raises:
        RequestError: no scan is asked for, or the digest is that of no index of ours.
        VulnerableError: the image has by now what the request does not allow. The reports are
            attested before that, so that policies see them.
        Error: a database, the registry or the signer fails.
    """
    if request.scan is None:
        raise RequestError("no scan is asked for", hint="set spec.scan.databases")
    check_signer(request, signer)
    repository = repository_of(request)
    async with registry_of(request) as registry:
        top, data = await registry.get_manifest(repository.with_digest(digest))
        index = Index.parse(data, top.media_type, what=digest)
        records = await run_all(
            pull_assembly(registry, repository, member) for member in index.manifests
        )
        pairs = list(zip(index.manifests, records, strict=True))
        created = index.annotations.get(CREATED, "")
        documents = await documents_of(repository.name, top, pairs, created)
        reports = await scanned(request, documents)
        attest = signer is not None and request.attest.vulnerabilities
        if signer is not None and attest:
            said = [
                (
                    subject,
                    [
                        (
                            VULN,
                            build_statement(
                                subject.digest,
                                VULN,
                                predicate(request, reports[subject.digest]),
                                name=repository.name,
                            ),
                        )
                    ],
                )
                for subject in (*index.manifests, top)
            ]
            await Sealer(registry, repository, request, signer).seal(said)
    check(request, reports)
    return SealResult(digest=digest, signed=attest, attestations=[VULN] if attest else [])
