"""Readers of evidence, trust and admission requests, each as a function of bytes.

What they say is checked too: whatever was changed about good evidence, it never proves more than
it did. The good evidence and its trust root lie in ``tests/fuzz/evidence``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml as any_yaml

from plimsoll.errors import Error
from plimsoll.signing.authority import KeyAuthority
from plimsoll.signing.certificate import check_leaf, load_certificate
from plimsoll.signing.fulcio import certificate_identity
from plimsoll.signing.identities import IdentityRule
from plimsoll.signing.items import (
    BundleItem,
    Evidence,
    EvidenceItem,
    LegacyAttestationItem,
    LegacySignatureItem,
)
from plimsoll.signing.keyless import KeylessAuthority, Witnesses
from plimsoll.signing.keys import load_public_keys
from plimsoll.signing.rekor import LogEntry, verify_entry
from plimsoll.signing.results import Identity, VerifiedAttestation
from plimsoll.signing.signingconfig import SigningConfig
from plimsoll.signing.timestamp import verify_timestamps
from plimsoll.signing.trustroot import TrustRoot
from plimsoll.signing.verify import verify
from plimsoll.webhook.admission import read
from plimsoll.webhook.authorities import Secrets
from plimsoll.webhook.body import decode
from plimsoll.webhook.evaluate import evaluate
from plimsoll.webhook.policies import compile_policy
from plimsoll.webhook.provenancerules import provenance_failures
from plimsoll.webhook.sbomformats import components
from plimsoll.webhook.vulnformats import findings

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.signing.authority import Authority

FOLDER: Final = Path(__file__).parents[1] / "fuzz/evidence"
DIGEST: Final = "sha256:" + "ab" * 32
SUBJECT: Final = "https://example.com/team/app/.github/workflows/release.yml@refs/heads/main"
ISSUER: Final = "https://token.actions.example.com"


@cache
def root() -> TrustRoot:
    """Whom the good evidence is by."""
    return TrustRoot.parse((FOLDER / "trusted_root.json").read_bytes())


@cache
def authorities() -> tuple[Authority, ...]:
    """Those who accept the good evidence."""
    keyless = KeylessAuthority(
        witnesses=Witnesses(root=root()),
        identity=IdentityRule.of(subject=SUBJECT, issuer=ISSUER),
    )
    return keyless, KeyAuthority(load_public_keys((FOLDER / "key.pub").read_bytes()))


def _judged(item: EvidenceItem) -> None:
    """Evidence never raises, and what it proves is what was signed."""
    evidence = Evidence(digest=DIGEST, repository="r", items=(item,))
    good = json.loads((FOLDER / "proven.json").read_text())
    for authority in authorities():
        verdict = verify(evidence, DIGEST, authority)
        for signature in verdict.signatures:
            assert signature.digest == DIGEST
        assert verdict.signers <= set(good["signers"])
        for one in verdict.attestations:
            assert one.digest == DIGEST
            assert one.identity.id in good["signers"]
            assert [one.predicate_type, one.predicate] in good["attestations"]


def judged_bundle(data: bytes) -> None:
    """A bundle, verified."""
    _judged(BundleItem("x", data))


def legacy_signature(data: bytes) -> None:
    """A payload in the first line, annotations in the rest."""
    payload, _, rest = data.partition(b"\n")
    _judged(LegacySignatureItem("x", payload, _annotations(rest)))


def legacy_attestation(data: bytes) -> None:
    """An envelope in the first line, annotations in the rest."""
    envelope, _, rest = data.partition(b"\n")
    _judged(LegacyAttestationItem("x", envelope, _annotations(rest)))


def _annotations(data: bytes) -> dict[str, str]:
    lines = (line.partition("=") for line in data.decode(errors="replace").splitlines())
    return {name: value.replace("\\n", "\n") for name, _, value in lines}


def certificate(data: bytes) -> None:
    """A certificate of Fulcio (DER)."""
    found = load_certificate(data)
    check_leaf(found)
    certificate_identity(found)


def log_entry(data: bytes) -> None:
    """An entry of a transparency log, with proof and checkpoint."""
    try:
        obj = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(obj, dict):
        verify_entry(LogEntry.parse(obj, version="0.3"), root().tlogs)


def timestamp(data: bytes) -> None:
    """A response of a timestamp authority (DER); nobody's counts."""
    assert verify_timestamps([data], b"x", root().certificate_authorities) == ()


def trust_root(data: bytes) -> None:
    """``trusted_root.json``."""
    TrustRoot.parse(data)


def signing_config(data: bytes) -> None:
    """Sigstore's signing config."""
    SigningConfig.parse(data)


def policy(data: bytes) -> None:
    """A policy object: honoured in full, or it refuses whatever it matches."""
    try:
        obj = any_yaml.safe_load(data.decode(errors="replace"))
    except (any_yaml.YAMLError, RecursionError, ValueError):
        return
    compiled = compile_policy("p", obj, Secrets("own", {}))
    static = any(one.static == "pass" for one in compiled.authorities)
    assert static or not evaluate(compiled, {}).passed


def admission_request(data: bytes) -> None:
    """An AdmissionReview."""
    read(decode(data))


def predicate(data: bytes) -> None:
    """The predicate of an attestation, as the rules of policies read it."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    _tolerant(lambda: list(findings(value)))
    _tolerant(lambda: list(findings(value, "https://in-toto.io/attestation/vulns/v0.2")))
    for kind in ("https://spdx.dev/Document", "https://cyclonedx.org/bom"):
        one = _attestation(kind, value)
        _tolerant(lambda one=one: list(components(one)))  # type: ignore[misc]
    for kind in ("https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1"):
        list(provenance_failures(None, None, [_attestation(kind, value)], datetime.now(UTC)))


def _attestation(kind: str, value: Any) -> VerifiedAttestation:
    who = Identity(kind="key", id="x")
    return VerifiedAttestation(identity=who, digest=DIGEST, predicate_type=kind, predicate=value)


def _tolerant(ask: Callable[[], object]) -> None:
    """The rules of policies say by ``ValueError`` what they do not understand."""
    try:
        ask()
    except (ValueError, Error):
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__.replace("_", "-"): target
    for target in (
        admission_request, certificate, judged_bundle, legacy_attestation, legacy_signature,
        log_entry, policy, predicate, signing_config, timestamp, trust_root,
    )
}  # fmt: skip
