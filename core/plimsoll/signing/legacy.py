"""What cosign 1 and 2 wrote: simple signing payloads, and annotations that hold signatures.

Format: containers/image "simple signing", cosign's SIGNATURE_SPEC. The signature covers the exact
bytes of the payload.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from plimsoll.oci.strictjson import dump
from plimsoll.signing.bundle import CHAIN_LIMIT, Material
from plimsoll.signing.encoding import b64decode, child, parse_json, pem_blocks, text
from plimsoll.signing.errors import InvalidEvidenceError

if TYPE_CHECKING:
    from collections.abc import Mapping

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE_ENVELOPE: Final = "application/vnd.dsse.envelope.v1+json"
PAYLOAD_TYPE: Final = "cosign container image signature"

SIGNATURE: Final = "dev.cosignproject.cosign/signature"
CERTIFICATE: Final = "dev.sigstore.cosign/certificate"
CHAIN: Final = "dev.sigstore.cosign/chain"
LOG_BUNDLE: Final = "dev.sigstore.cosign/bundle"
TIMESTAMP: Final = "dev.sigstore.cosign/rfc3161timestamp"
PREDICATE_TYPE: Final = "predicateType"

#: Bytes of a simple signing payload.
PAYLOAD_LIMIT: Final = 64 << 10
ANNOTATION_LIMIT: Final = 256 << 10

_PREFIX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,47}|", re.ASCII)


def legacy_tag(digest: str, suffix: str, prefix: str = "") -> str:
    """``[prefix]sha256-<hex>.sig`` or ``.att``.

    Raises:
        InvalidEvidenceError: if ``prefix`` cannot stand in a tag.
    """
    if _PREFIX.fullmatch(prefix) is None:
        raise InvalidEvidenceError(f"{prefix[:60]!r} cannot be the prefix of a tag")
    return f"{prefix}{digest.replace(':', '-', 1)}.{suffix}"


@dataclass(frozen=True, slots=True)
class SimplePayload:
    """What a legacy signature says."""

    digest: str
    reference: str
    """``docker-reference``: a claim of the signer that nobody checks."""

    annotations: Mapping[str, Any]

    @classmethod
    def parse(cls, data: bytes) -> SimplePayload:
        """Read a payload.

        Raises:
            InvalidEvidenceError: if it is none, or says its digest twice or in two ways.
        """
        obj = parse_json(data, "the signed payload", PAYLOAD_LIMIT)
        critical = child(obj, "critical", "the signed payload")
        kind = text(critical, "type", "the signed payload")
        if kind != PAYLOAD_TYPE:
            raise InvalidEvidenceError(f"the signed payload is of type {kind[:60]!r}")
        image = child(critical, "image", "the signed payload")
        identity = critical.get("identity")
        reference = identity.get("docker-reference") if isinstance(identity, dict) else None
        optional = obj.get("optional")
        if optional is not None and not isinstance(optional, dict):
            raise InvalidEvidenceError("'optional' in the signed payload is no object")
        return cls(
            digest=text(image, "docker-manifest-digest", "the signed payload"),
            reference=reference if isinstance(reference, str) else "",
            annotations=optional or {},
        )


def build_payload(
    repository: str, digest: str, annotations: Mapping[str, Any] | None = None
) -> bytes:
    """A simple signing payload, as the bytes to sign."""
    return dump(
        {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": digest},
                "type": PAYLOAD_TYPE,
            },
            "optional": dict(annotations) if annotations else None,
        }
    )


def material_of(annotations: Mapping[str, str]) -> Material:
    """The certificates, log entries and timestamps that the annotations of a layer hold.

    The log entry comes as ``{"legacy": …}``: the annotation's own object, as it was.

    Raises:
        InvalidEvidenceError: if an annotation is malformed.
    """
    leaf = _certificates(annotations.get(CERTIFICATE, ""))
    if len(leaf) > 1:
        raise InvalidEvidenceError("the certificate annotation holds more than one certificate")
    chain = _certificates(annotations.get(CHAIN, "")) if leaf else ()
    log = annotations.get(LOG_BUNDLE, "")
    entries: tuple[dict[str, Any], ...] = ()
    if log:
        entries = ({"legacy": parse_json(log.encode(), "the log annotation", ANNOTATION_LIMIT)},)
    return Material(
        key_hint=None if leaf else "",
        certificates=(*leaf, *chain),
        tlog_entries=entries,
        timestamps=_timestamps(annotations.get(TIMESTAMP, "")),
    )


def _certificates(pem: str) -> tuple[bytes, ...]:
    if len(pem) > ANNOTATION_LIMIT:
        raise InvalidEvidenceError("a certificate annotation is too long")
    result: list[bytes] = []
    for label, block in pem_blocks(pem):
        if label != "CERTIFICATE":
            raise InvalidEvidenceError(f"a {label[:40]} stands where a certificate is wanted")
        if len(result) == CHAIN_LIMIT:
            raise InvalidEvidenceError(f"more than {CHAIN_LIMIT} certificates in a chain")
        try:
            certificate = x509.load_pem_x509_certificate(block.encode())
            result.append(certificate.public_bytes(Encoding.DER))
        except Exception:  # noqa: BLE001  the library raises many kinds
            raise InvalidEvidenceError("a certificate annotation cannot be read") from None
    return tuple(result)


def _timestamps(annotation: str) -> tuple[bytes, ...]:
    if not annotation:
        return ()
    try:
        obj = parse_json(annotation.encode(), "the timestamp annotation", ANNOTATION_LIMIT)
    except json.JSONDecodeError:
        raise InvalidEvidenceError("the timestamp annotation is no JSON") from None
    data = obj.get("SignedRFC3161Timestamp")
    return (b64decode(data, "the timestamp annotation"),) if data else ()
