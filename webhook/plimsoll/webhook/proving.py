"""What each authority of a policy can vouch for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.signing.items import BundleItem, Evidence
from plimsoll.signing.results import Verdict
from plimsoll.signing.verify import verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.webhook.policies import CompiledAuthority, CompiledPolicy, EvidenceSource


def proven_by(
    policy: CompiledPolicy, digest: str, evidence: Mapping[EvidenceSource, Evidence]
) -> dict[str, Verdict]:
    """What each authority can vouch for, from its own sources in its own format."""
    proven: dict[str, Verdict] = {}
    for authority in policy.authorities:
        trusted = authority.trusted
        if trusted is None:
            continue
        verdicts = [
            verify(_of_format(evidence[source], authority), digest, trusted)
            for source in authority.sources
        ]
        proven[authority.name] = Verdict(
            digest=digest,
            signatures=tuple(one for verdict in verdicts for one in verdict.signatures),
            attestations=tuple(one for verdict in verdicts for one in verdict.attestations),
            rejections=tuple(one for verdict in verdicts for one in verdict.rejections),
        )
    return proven


def _of_format(evidence: Evidence, authority: CompiledAuthority) -> Evidence:
    if authority.format is None:
        return evidence
    bundles = authority.format == "bundle"
    return Evidence(
        digest=evidence.digest,
        repository=evidence.repository,
        items=tuple(i for i in evidence.items if isinstance(i, BundleItem) == bundles),
        rejections=evidence.rejections,
    )
