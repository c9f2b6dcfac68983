"""What each authority of a policy makes of what was verified for it. Pure but for rules."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from plimsoll.signing.keyless import KeylessAuthority
from plimsoll.webhook.rules.document import signature_entry, statement_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plimsoll.signing.results import Verdict, VerifiedAttestation
    from plimsoll.webhook.policies import CompiledAuthority


#: Seconds for the rule of one attestation, however many there are of its type.
RULE_SECONDS: Final = 6.0
_LATE: Final = "the rule was not asked: those before it took too long"


@dataclass(frozen=True, slots=True)
class AttestationOutcome:
    """What became of one attestation that an authority asks for."""

    name: str
    predicate_type: str
    accepted: tuple[VerifiedAttestation, ...] = ()
    refused: tuple[tuple[VerifiedAttestation, str], ...] = ()
    """Those that do not satisfy the rule, and why not."""


@dataclass(frozen=True, slots=True)
class AuthorityOutcome:
    """Whether an authority vouches for the image, and by what."""

    authority: CompiledAuthority
    passed: bool
    verdict: Verdict | None = None
    attestations: tuple[AttestationOutcome, ...] = ()


def outcome_of(
    authority: CompiledAuthority, verdict: Verdict | None, *, all_of_them: bool = False
) -> AuthorityOutcome:
    """Ask one authority.

    Args:
        authority: the authority.
        verdict: what was verified for it.
        all_of_them: ask its rules about every attestation, not only until one satisfies.
    """
    if authority.static is not None:
        return AuthorityOutcome(authority, authority.static == "pass")
    if verdict is None:
        return AuthorityOutcome(authority, passed=False)
    if not authority.attestations:
        return AuthorityOutcome(authority, bool(verdict.signatures), verdict)
    asked = tuple(
        _attested(authority, name, verdict.attestations_of(kind), kind, all_of_them=all_of_them)
        for name, kind in authority.attestations
    )
    return AuthorityOutcome(authority, all(one.accepted for one in asked), verdict, asked)


def _attested(
    authority: CompiledAuthority,
    name: str,
    found: Sequence[VerifiedAttestation],
    kind: str,
    *,
    all_of_them: bool,
) -> AttestationOutcome:
    rule = authority.rule_of(name)
    if rule is None:
        return AttestationOutcome(name, kind, tuple(found))
    accepted: list[VerifiedAttestation] = []
    refused: list[tuple[VerifiedAttestation, str]] = []
    until = time.monotonic() + RULE_SECONDS
    for one in found:
        late = time.monotonic() > until
        reason = _LATE if late else rule.judge(statement_document(one))
        if reason:
            refused.append((one, reason))
            continue
        accepted.append(one)
        if not all_of_them:
            break
    return AttestationOutcome(name, kind, tuple(accepted), tuple(refused))


def matches(outcomes: Iterable[AuthorityOutcome]) -> dict[str, Any]:
    """``authorityMatches`` of the document that a policy's rule is asked about."""
    document: dict[str, Any] = {}
    for one in outcomes:
        if not one.passed:
            continue
        if one.verdict is None:
            document[one.authority.name] = {"static": True}
        elif one.attestations:
            attested = {
                each.name: [
                    signature_entry(fact) | {"predicateType": fact.predicate_type}
                    for fact in each.accepted
                ]
                for each in one.attestations
            }
            document[one.authority.name] = {"attestations": attested}
        else:
            signed = [signature_entry(fact) for fact in one.verdict.signatures]
            document[one.authority.name] = {"signatures": signed}
    return document


def why_no_authority(outcomes: Sequence[AuthorityOutcome], proven: Mapping[str, Verdict]) -> str:
    """Why none of the authorities vouches for an image, as the end of a sentence."""
    real = [one for one in outcomes if one.authority.static is None]
    if not real:
        told = (one.authority.message for one in outcomes)
        return next((message for message in told if message), "it refuses such images")
    signers = [one.authority for one in real if not one.authority.attestations]
    reasons = [nothing("signature", signers, proven)] if signers else []
    for one in real:
        asked = {each.name: each for each in one.attestations}
        for name, kind in one.authority.attestations:
            outcome = asked.get(name)
            if outcome is not None and outcome.accepted:
                continue
            what = f'attestation "{name}" ({kind})'
            if outcome is not None and outcome.refused:
                why = "; ".join(dict.fromkeys(reason for _, reason in outcome.refused))
                reasons.append(f"{what} does not satisfy its rule: {why}")
            else:
                reasons.append(nothing(what, [one.authority], proven))
    return " and ".join(reasons)


def nothing(
    what: str, authorities: Iterable[CompiledAuthority], proven: Mapping[str, Verdict]
) -> str:
    """``no signature by key "ci" (found 1: the signature is not by the key)``."""
    real = [authority for authority in authorities if authority.static is None]
    names = [authority.name for authority in real]
    keys = not any(isinstance(authority.trusted, KeylessAuthority) for authority in real)
    if len(names) == 1:
        text = f'no {what} by {"key" if keys else "identity"} "{names[0]}"'
    else:
        text = f"no {what} by any {'key of ' if keys else 'of '}"
        text += ", ".join(f'"{name}"' for name in names)
    verdicts = [proven[name] for name in names if name in proven]
    # The same piece of evidence is rejected once for each authority.
    rejected = {(r.source, r.reason): r for verdict in verdicts for r in verdict.rejections}
    sources = {source for source, _ in rejected}
    if not rejected:
        others = sum(len(v.signatures) + len(v.attestations) for v in verdicts)
        return f"{text} (found {others} other)" if others else f"{text} (found none)"
    counts = Counter(reason for _, reason in rejected)
    reasons = "; ".join(reason for reason, _ in counts.most_common(3))
    return f"{text} (found {len(sources)}: {reasons})"
