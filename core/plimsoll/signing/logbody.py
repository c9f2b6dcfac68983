"""What a log entry says must be what was signed: digest, signature and key.

Kinds: ``hashedrekord`` 0.0.1 and 0.0.2, ``dsse`` 0.0.1 and 0.0.2, ``intoto`` 0.0.1 and 0.0.2.
Without this check the entry of another signature could vouch for this one (CVE-2022-36056,
CVE-2026-22703).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from plimsoll.signing.encoding import array, b64decode, b64encode, child, parse_json, text
from plimsoll.signing.errors import InvalidEvidenceError, RejectedError

if TYPE_CHECKING:
    from plimsoll.signing.authority import Signed

_BODY_LIMIT: Final = 128 << 20
_WHERE: Final = "the log entry"
_MISMATCH: Final = "the log entry is of another {}"


def check_body(
    body: bytes,
    claimed: tuple[str, str] | None,
    signed: Signed,
    key_spki: bytes,
    certificate: bytes | None,
) -> None:
    """Demand that a log entry is about one signature.

    Args:
        body: the canonical entry.
        claimed: kind and version that it must be of; ``None`` where nobody said.
        signed: the signature.
        key_spki: the key that made it (DER SubjectPublicKeyInfo).
        certificate: of that key (DER); ``None`` for a bare key.

    Raises:
        RejectedError: if it is about another digest, signature or key.
        InvalidEvidenceError: if it is malformed or of an unknown kind.
    """
    obj = parse_json(body, _WHERE, _BODY_LIMIT)
    kind = text(obj, "kind", _WHERE), text(obj, "apiVersion", _WHERE)
    spec = child(obj, "spec", _WHERE)
    if claimed not in {None, kind}:
        raise RejectedError(_MISMATCH.format("kind than the bundle says"))
    check = _CHECKS.get(kind)
    if check is None:
        raise InvalidEvidenceError(f"the log entry is of an unknown kind {kind[0][:40]} {kind[1]}")
    signer = _Signer(key_spki, certificate)
    check(spec, signed, signer)


class _Signer:
    """Who must have made the entry's signature."""

    def __init__(self, key_spki: bytes, certificate: bytes | None) -> None:
        self.key_spki = key_spki
        self.certificate = certificate

    def demand_pem(self, encoded: Any) -> None:
        """The signer as v1 entries have it: PEM in base64, of a certificate or a key."""
        pem = b64decode(encoded, "the key of the log entry")
        try:
            if b"CERTIFICATE" in pem[:64]:
                found = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
                if found == self.certificate:
                    return
            else:
                loaded = load_pem_public_key(pem)
                found = loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                if self.certificate is None and found == self.key_spki:
                    return
        except Exception:  # noqa: BLE001  whatever is wrong with it
            raise InvalidEvidenceError("the key of the log entry cannot be read") from None
        raise RejectedError(_MISMATCH.format("key"))

    def demand_verifier(self, obj: dict[str, Any]) -> None:
        """The signer as v2 entries have it: DER of a certificate or a key."""
        if "x509Certificate" in obj:
            found = child(obj, "x509Certificate", _WHERE)
            der = b64decode(found.get("rawBytes"), "the certificate of the log entry")
            if "publicKey" not in obj and der == self.certificate:
                return
        else:
            found = child(obj, "publicKey", _WHERE)
            der = b64decode(found.get("rawBytes"), "the key of the log entry")
            if self.certificate is None and _same_key(der, self.key_spki):
                return
        raise RejectedError(_MISMATCH.format("key"))


def _same_key(der: bytes, key_spki: bytes) -> bool:
    if der == key_spki:
        return True
    try:
        loaded = load_der_public_key(der)
    except Exception:  # noqa: BLE001  whatever is wrong with it
        raise InvalidEvidenceError("the key of the log entry cannot be read") from None
    return loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == key_spki


def _hashedrekord_v1(spec: dict[str, Any], signed: Signed, signer: _Signer) -> None:
    digest = child(child(spec, "data", _WHERE), "hash", _WHERE)
    _demand_digest(text(digest, "algorithm", _WHERE), _unhex(digest.get("value")), signed)
    signature = child(spec, "signature", _WHERE)
    _demand_signature(signature.get("content"), signed)
    signer.demand_pem(child(signature, "publicKey", _WHERE).get("content"))


def _hashedrekord_v2(spec: dict[str, Any], signed: Signed, signer: _Signer) -> None:
    record = child(spec, "hashedRekordV002", _WHERE)
    data = child(record, "data", _WHERE)
    algorithm = text(data, "algorithm", _WHERE).replace("SHA2_", "sha")
    _demand_digest(algorithm, b64decode(data.get("digest"), "the digest of the log entry"), signed)
    signature = child(record, "signature", _WHERE)
    _demand_signature(signature.get("content"), signed)
    signer.demand_verifier(child(signature, "verifier", _WHERE))


def _dsse_v1(spec: dict[str, Any], signed: Signed, signer: _Signer) -> None:
    digest = child(spec, "payloadHash", _WHERE)
    _demand_payload(digest, signed)
    one = _only(spec, signed)
    _demand_signature(one.get("signature"), signed)
    signer.demand_pem(one.get("verifier"))


def _dsse_v2(spec: dict[str, Any], signed: Signed, signer: _Signer) -> None:
    record = child(spec, "dsseV002", _WHERE)
    data = child(record, "payloadHash", _WHERE)
    found = b64decode(data.get("digest"), "the digest of the log entry")
    if data.get("algorithm") != "SHA2_256" or found != _payload_sha256(signed):
        raise RejectedError(_MISMATCH.format("payload"))
    one = _only(record, signed)
    _demand_signature(one.get("content"), signed)
    signer.demand_verifier(child(one, "verifier", _WHERE))


def _intoto_v1(spec: dict[str, Any], signed: Signed, signer: _Signer) -> None:
    # This kind records payload and key, not the signature.
    _demand_payload(child(child(spec, "content", _WHERE), "payloadHash", _WHERE), signed)
    signer.demand_pem(spec.get("publicKey"))


def _intoto_v2(spec: dict[str, Any], signed: Signed, signer: _Signer) -> None:
    content = child(spec, "content", _WHERE)
    _demand_payload(child(content, "payloadHash", _WHERE), signed)
    envelope = child(content, "envelope", _WHERE)
    if signed.envelope is None or envelope.get("payloadType") != signed.envelope.payload_type:
        raise RejectedError(_MISMATCH.format("payload"))
    one = _only(envelope, signed)
    recorded = b64decode(one.get("sig"), "the signature of the log entry")
    # Some clients hand in the signature in base64, which the log then encodes once more.
    if recorded not in {signed.signature, b64encode(signed.signature).encode()}:
        raise RejectedError(_MISMATCH.format("signature"))
    signer.demand_pem(one.get("publicKey"))


_CHECKS: Final = {
    ("hashedrekord", "0.0.1"): _hashedrekord_v1,
    ("hashedrekord", "0.0.2"): _hashedrekord_v2,
    ("dsse", "0.0.1"): _dsse_v1,
    ("dsse", "0.0.2"): _dsse_v2,
    ("intoto", "0.0.1"): _intoto_v1,
    ("intoto", "0.0.2"): _intoto_v2,
}


def _only(obj: dict[str, Any], signed: Signed) -> dict[str, Any]:
    """The entry's signature; where there are several, the one that is looked for."""
    if signed.envelope is None:
        raise RejectedError(_MISMATCH.format("kind of signature"))
    found = array(obj, "signatures", _WHERE, 16)
    if len(found) != len(signed.envelope.signatures):
        raise RejectedError("the log entry has another number of signatures")
    position = next(
        (
            place
            for place, one in enumerate(signed.envelope.signatures)
            if one.sig == signed.signature
        ),
        0,
    )
    one = found[position]
    if not isinstance(one, dict):
        raise InvalidEvidenceError("a signature of the log entry is no object")
    return one


def _demand_signature(encoded: Any, signed: Signed) -> None:
    if b64decode(encoded, "the signature of the log entry") != signed.signature:
        raise RejectedError(_MISMATCH.format("signature"))


def _demand_digest(algorithm: str, found: bytes, signed: Signed) -> None:
    if algorithm not in {"sha256", "sha384", "sha512"}:
        raise InvalidEvidenceError("the log entry has a digest of an unknown kind")
    if signed.message is not None:
        wanted = hashlib.new(algorithm, signed.message).digest()
    elif algorithm == "sha256":
        wanted = signed.sha256
    else:
        raise RejectedError(f"the log entry has a {algorithm} digest; the artifact is needed")
    if found != wanted:
        raise RejectedError(_MISMATCH.format("artifact"))


def _demand_payload(digest: dict[str, Any], signed: Signed) -> None:
    value = _unhex(digest.get("value"))
    if digest.get("algorithm") != "sha256" or value != _payload_sha256(signed):
        raise RejectedError(_MISMATCH.format("payload"))


def _payload_sha256(signed: Signed) -> bytes:
    if signed.envelope is None:
        raise RejectedError(_MISMATCH.format("kind of signature"))
    return hashlib.sha256(signed.envelope.payload).digest()


def _unhex(value: Any) -> bytes:
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise InvalidEvidenceError("a digest of the log entry is not hexadecimal") from None
