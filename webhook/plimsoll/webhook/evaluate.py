"""The verdict on an image: pure, from policies and what was verified.

An authority passes when its attestations (or, if it names none, a signature) were verified with
its own keys. A policy passes when any of its authorities does and everything it requires was
verified by one of them. An image is admitted when every policy that matches it passes; a policy
in mode ``warn`` can add a warning and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from plimsoll.api.meta import GROUP
from plimsoll.api.predicates import OPENVEX_TYPES, PROVENANCE_TYPES, SBOM_TYPES, VULN_TYPES
from plimsoll.oci.strictjson import dump
from plimsoll.webhook.outcomes import (
    AuthorityOutcome,
    matches,
    nothing,
    outcome_of,
    why_no_authority,
)
from plimsoll.webhook.provenancerules import provenance_failures
from plimsoll.webhook.rules.document import Surroundings
from plimsoll.webhook.sbomrules import sbom_failures
from plimsoll.webhook.vulnrules import vulnerability_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from plimsoll.api.require import Require
    from plimsoll.signing.results import Verdict, VerifiedAttestation
    from plimsoll.webhook.policies import CompiledPolicy

NoMatch = Literal["allow", "warn", "deny"]


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """What one policy says about one image."""

    policy: str
    group: str
    enforce: bool
    passed: bool
    reason: str = ""
    """Why not, as the end of a sentence."""

    audit: bool = False
    """Whether who makes the pod is told nothing."""


@dataclass(frozen=True, slots=True)
class ImageVerdict:
    """What all policies together say about one image."""

    refusals: tuple[str, ...] = ()
    """One line for each enforcing policy that failed; none: the image is admitted."""

    warnings: tuple[str, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the image may run."""
        return not self.refusals


def evaluate(
    policy: CompiledPolicy,
    proven: Mapping[str, Verdict],
    now: datetime | None = None,
    surroundings: Surroundings | None = None,
) -> PolicyVerdict:
    """Judge one image by one policy.

    Args:
        policy: the policy.
        proven: authority's name → what was verified for it. Each authority has its own verdict,
            made with its own keys from its own sources.
        now: UTC; the present by default.
        surroundings: what a rule of the policy may be told beside the evidence.
    """
    return examine(policy, proven, now, surroundings).verdict


@dataclass(frozen=True, slots=True)
class Examined:
    """A verdict with all that led to it, for people who ask why."""

    policy: CompiledPolicy
    verdict: PolicyVerdict
    outcomes: tuple[AuthorityOutcome, ...] = ()
    unmet: tuple[str, ...] = ()
    """What ``require`` asks for and the evidence does not say."""

    ruling: str | None = None
    """Why the rule of the policy is not satisfied; nothing if it is; ``None`` if nobody asked."""


def examine(
    policy: CompiledPolicy,
    proven: Mapping[str, Verdict],
    now: datetime | None = None,
    surroundings: Surroundings | None = None,
) -> Examined:
    """Judge one image by one policy, see ``evaluate``, and keep what led to the verdict."""
    if policy.fault:
        reason = f"the policy itself cannot be honoured: {policy.fault}"
        return Examined(policy, _verdict(policy, reason))
    outcomes = tuple(
        outcome_of(one, proven.get(one.name), all_of_them=policy.rule is not None)
        for one in policy.authorities
    )
    reasons: list[str] = []
    told = False
    # A policy without authorities only exists where the administrator allows it.
    if outcomes and not any(one.passed for one in outcomes):
        reasons.append(why_no_authority(outcomes, proven))
        told = any(a.static is None and not a.attestations for a in policy.authorities)
    unmet = tuple(_missing(policy, proven, told=told))
    unmet += tuple(_unmet(policy.rules, list(proven.values()), now or datetime.now(UTC)))
    reasons += unmet
    ruling: str | None = None
    if policy.rule is not None and not reasons:
        document = {"authorityMatches": matches(outcomes)}
        document |= (surroundings or Surroundings()).told(policy.rule)
        ruling = policy.rule.judge(dump(document))
        reasons += [f"its rule is not satisfied: {ruling}"] if ruling else []
    return Examined(policy, _verdict(policy, "; ".join(reasons)), outcomes, unmet, ruling)


def _verdict(policy: CompiledPolicy, reason: str) -> PolicyVerdict:
    return PolicyVerdict(
        policy.name, policy.group, policy.enforce, not reason, reason, policy.audit
    )


def combine(  # noqa: PLR0913  what is known about the object, by name
    image: str,
    verdicts: Sequence[PolicyVerdict],
    no_match: NoMatch,
    *,
    binding: Callable[[PolicyVerdict], bool] = lambda _: True,
    is_pod: bool = True,
    covered: bool | None = None,
) -> ImageVerdict:
    """Judge one image by all policies that match it.

    Args:
        image: as the pod writes it, with the digest it stands for.
        verdicts: one for each matching policy.
        no_match: what to say when there is none.
        binding: whether an enforcing policy can refuse this object; otherwise it only foretells
            what will become of the object's pods.
        is_pod: whether the object runs the image itself.
        covered: whether a policy of the cluster matches; one of a namespace admits nothing that
            would be refused without it. By default, whether there is a verdict.
    """
    outside = ImageVerdict()
    if not (bool(verdicts) if covered is None else covered):
        outside = _unmatched(image, no_match, is_pod=is_pod)
    refusals, warnings = list(outside.refusals), list(outside.warnings)
    for verdict in verdicts:
        if verdict.passed or verdict.audit:
            continue
        if not verdict.enforce:
            warnings.append(f'image {image} fails policy "{verdict.policy}": {verdict.reason}')
        elif binding(verdict):
            refusals.append(refusal(image, verdict))
        else:
            warnings.append(
                f'image {image} will be refused by policy "{verdict.policy}": {verdict.reason}'
            )
    return ImageVerdict(tuple(refusals), tuple(warnings))


def _unmatched(image: str, no_match: NoMatch, *, is_pod: bool) -> ImageVerdict:
    line = f"image {image} matches no policy"
    if no_match == "allow":
        return ImageVerdict()
    if no_match == "warn":
        return ImageVerdict(warnings=(line,))
    if not is_pod:
        return ImageVerdict(warnings=(f"{line}, so its pods will be refused",))
    hint = "add a ClusterImagePolicy for it; see: kubectl get clusterimagepolicies"
    return ImageVerdict(refusals=(f"{line}; {hint}",))


def refusal(image: str, verdict: PolicyVerdict) -> str:
    """One line: the image, the policy, what was missing, and the command that shows more."""
    kind = "clusterimagepolicy"
    namespace, slash, name = verdict.policy.rpartition("/")
    if slash:
        kind = f"imagepolicy -n {namespace}"
    elif verdict.group != GROUP:
        kind = f"{kind}.{verdict.group}"
    return (
        f'image {image} refused by policy "{verdict.policy}": {verdict.reason}; see: '
        f"kubectl get {kind} {name} -o yaml | "
        f"plimsoll policy test --policy - --image {image}"
    )


def by_tag(policy: CompiledPolicy) -> PolicyVerdict:
    """The verdict on an image by tag, of a policy that wants digests."""
    reason = "the pod must name it by digest (IMAGE@sha256:…)"
    return PolicyVerdict(
        policy.name, policy.group, policy.enforce, passed=False, reason=reason, audit=policy.audit
    )


def _missing(policy: CompiledPolicy, proven: Mapping[str, Verdict], *, told: bool) -> Iterator[str]:
    """The kinds of evidence that are asked for and not there."""
    for kind in policy.require:
        if kind == "signature" and told:
            continue
        if not any(_has(kind, verdict) for verdict in proven.values()):
            yield nothing(_LABELS[kind], policy.authorities, proven)


def _unmet(rules: Require, verdicts: Sequence[Verdict], now: datetime) -> Iterator[str]:
    """What evidence that is there does not say; that it is there was seen before."""
    signers = frozenset().union(*(verdict.signers for verdict in verdicts))
    if 0 < len(signers) < (rules.signers or 0):
        yield f"it is signed by {len(signers)} different signers, not {rules.signers}"

    def attested(types: frozenset[str]) -> list[VerifiedAttestation]:
        every = [one for verdict in verdicts for one in verdict.attestations]
        return [one for one in every if one.predicate_type in types]

    if rules.sbom_rules is not None:
        yield from sbom_failures(rules.sbom_rules, attested(SBOM_TYPES))
    if rules.provenance_rules is not None or rules.freshness is not None:
        yield from provenance_failures(
            rules.provenance_rules, rules.freshness, attested(PROVENANCE_TYPES), now
        )
    if rules.vulnerabilities is not None:
        yield from vulnerability_failures(
            rules.vulnerabilities, attested(VULN_TYPES), attested(OPENVEX_TYPES), now
        )


_LABELS = {
    "signature": "signature",
    "sbom": "SBOM",
    "provenance": "provenance",
    "vulnerabilities": "vulnerability report",
}
_TYPES = {
    "sbom": SBOM_TYPES,
    "provenance": PROVENANCE_TYPES,
    "vulnerabilities": VULN_TYPES,
}


def _has(kind: str, verdict: Verdict) -> bool:
    if kind == "signature":
        return bool(verdict.signatures)
    types = _TYPES[kind]
    # An attestation whose predicate is empty attests nothing.
    return any(
        one.predicate_type in types and isinstance(one.predicate, dict) and one.predicate
        for one in verdict.attestations
    )
