"""AdmissionReview (admission.k8s.io/v1): writing answers. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from plimsoll.webhook.body import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.webhook.decide import Decision

#: The API server cuts longer warnings, and drops what is over 4096 characters in all.
_WARNING_LENGTH = 256
_MAX_WARNINGS = 15
_MAX_MESSAGE = 16_000
_MAX_AUDIT = 4_000


def answer(uid: str, decision: Decision, changes: Sequence[Mapping[str, Any]] = ()) -> bytes:
    """Encode an answer.

    What a person reads comes after ``admission webhook … denied the request:``; what was judged
    stands in the audit log, as annotations of the request.

    Args:
        uid: of the request.
        decision: what was decided.
        changes: of the object (RFC 6902).
    """
    response: dict[str, Any] = {"uid": uid, "allowed": decision.allowed}
    if not decision.allowed:
        message = _message(decision.refusals)
        response["status"] = {"code": 403, "reason": "Forbidden", "message": message}
    if decision.warnings:
        response["warnings"] = [_cut(line) for line in decision.warnings[:_MAX_WARNINGS]]
    response["auditAnnotations"] = _audit(decision)
    if changes:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(encode(changes)).decode()
    return encode(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    )


def _audit(decision: Decision) -> dict[str, str]:
    denied = "undecided" if decision.undecided else "denied"
    audit = {"verdict": "allowed" if decision.allowed else denied}
    if decision.digests:
        images = " ".join(f"{image}={digest}" for image, digest in decision.digests)
        audit["images"] = images[:_MAX_AUDIT]
        audit["policies"] = " ".join(sorted({one.policy for one in decision.verdicts}))[:_MAX_AUDIT]
    failed = [one for one in decision.verdicts if not one.passed]
    if failed:
        audit["failures"] = "; ".join(f"{one.policy}: {one.reason}" for one in failed)[:_MAX_AUDIT]
    return audit


def _cut(line: str) -> str:
    return line if len(line) <= _WARNING_LENGTH else f"{line[: _WARNING_LENGTH - 1]}…"


def _message(refusals: Sequence[str]) -> str:
    """One line for each refusal, as many as fit."""
    text = "\n".join(refusals)
    if len(text) <= _MAX_MESSAGE:
        return text
    kept = text[:_MAX_MESSAGE].split("\n")[:-1] or [text[:_MAX_MESSAGE]]
    if rest := len(refusals) - len(kept):
        kept.append(f"and {rest} more; the webhook's log has all of them")
    return "\n".join(kept)
