"""Why a policy says what it says about an image, as a tree. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from plimsoll.signing.explain import Node, evidence
from plimsoll.signing.keyless import KeylessAuthority

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plimsoll.webhook.evaluate import Examined
    from plimsoll.webhook.outcomes import AttestationOutcome, AuthorityOutcome

log = structlog.get_logger("plimsoll.webhook.explain")


def explain(image: str, examined: Iterable[Examined]) -> Iterator[str]:
    """What was tried for an image, policy by policy, a line for each step."""
    below = tuple(_policy(one) for one in examined)
    yield from Node(f"image {image}", below=below or (Node("no policy matches"),)).lines()


def trace(image: str, found: Examined) -> None:
    """Log what was tried, for who sets the log level to ``debug``."""
    log.debug("tried", image=image, trace=list(explain(image, [found])))


def _policy(one: Examined) -> Node:
    policy, verdict = one.policy, one.verdict
    mode = "audit" if verdict.audit else "enforce" if verdict.enforce else "warn"
    below: list[Node] = []
    if policy.fault:
        below.append(Node(f"the policy cannot be honoured: {policy.fault}", good=False))
    elif not one.outcomes and not verdict.passed:
        below.append(Node(verdict.reason, good=False))
    below += [_authority(outcome) for outcome in one.outcomes]
    required = one.unmet or (("everything",) if policy.require or policy.rules.digest else ())
    below += [
        Node(f"require: {line}" if one.unmet else "require: everything is there", not one.unmet)
        for line in required
    ]
    if policy.rule is not None:
        below.append(_ruling(policy.rule.language, one.ruling))
    return Node(
        f'policy "{verdict.policy}" ({mode}): {"passes" if verdict.passed else "fails"}',
        verdict.passed,
        tuple(below),
    )


def _ruling(language: str, ruling: str | None) -> Node:
    if ruling is None:
        return Node(f"policy ({language}): not asked, as something else is missing")
    return Node(f"policy ({language}): {ruling or 'is satisfied'}", not ruling)


def _authority(outcome: AuthorityOutcome) -> Node:
    authority = outcome.authority
    if authority.static is not None:
        return Node(f'authority "{authority.name}": always says {authority.static}', outcome.passed)
    keyless = isinstance(authority.trusted, KeylessAuthority)
    kind = "identities" if keyless else "keys"
    word = "vouches" if outcome.passed else "does not vouch"
    places = [f"looks at {source.repository}" for source in authority.sources if source.repository]
    below = [Node(text) for text in places]
    below += [_attestation(one) for one in outcome.attestations]
    below += evidence(outcome.verdict) if outcome.verdict is not None else ()
    return Node(f'authority "{authority.name}" ({kind}): {word}', outcome.passed, tuple(below))


def _attestation(one: AttestationOutcome) -> Node:
    below = [Node(f"satisfies the rule: {fact.source}", good=True) for fact in one.accepted]
    below += [Node(f"{fact.source}: {reason}", good=False) for fact, reason in one.refused]
    found = bool(one.accepted)
    text = (
        f'attestation "{one.name}" ({one.predicate_type}): {"is there" if found else "is missing"}'
    )
    return Node(text, found, tuple(below) if one.refused else ())
