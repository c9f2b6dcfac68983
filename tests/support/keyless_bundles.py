"""Bundles by short-lived certificates of a miniature Sigstore, about any image."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from miniature_sigstore import SUBJECT, MiniatureSigstore, b64, new_key
from plimsoll.signing.dsse import IN_TOTO, pae
from plimsoll.signing.statement import COSIGN_SIGN, build_statement

if TYPE_CHECKING:
    from plimsoll.signing.privatekey import PrivateKey


def keyless_bundle(
    sigstore: MiniatureSigstore,
    digest: str,
    kind: str = COSIGN_SIGN,
    predicate: Any = None,
    *,
    subject: str = SUBJECT,
    sct: bool = True,
    logged: bool = True,
) -> bytes:
    """A bundle v0.3 with a DSSE envelope."""
    key = new_key()
    certificate = sigstore.certificate(
        key, subjects=(x509.UniformResourceIdentifier(subject),), sct=sct
    )
    statement = build_statement(digest, kind, predicate or {})
    signature = key.sign(pae(IN_TOTO, statement), ec.ECDSA(hashes.SHA256()))
    verifier = certificate.public_bytes(Encoding.PEM)
    material = {
        "certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
        "tlogEntries": [_entry(sigstore, statement, signature, verifier)] if logged else [],
    }
    return _bundle(material, statement, signature)


def logged_key_bundle(
    sigstore: MiniatureSigstore, key: PrivateKey, digest: str, *, logged: bool = True
) -> bytes:
    """The same by a long-lived key."""
    statement = build_statement(digest, COSIGN_SIGN, {})
    signature = key.sign(pae(IN_TOTO, statement))
    entries = [_entry(sigstore, statement, signature, key.public.pem)] if logged else []
    material = {"publicKey": {"hint": ""}, "tlogEntries": entries}
    return _bundle(material, statement, signature)


def _entry(
    sigstore: MiniatureSigstore, statement: bytes, signature: bytes, verifier: bytes
) -> dict[str, Any]:
    value = hashlib.sha256(pae(IN_TOTO, statement)).hexdigest()
    return sigstore.entry(
        {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": value}},
                "signature": {"content": b64(signature), "publicKey": {"content": b64(verifier)}},
            },
        }
    )


def _bundle(material: dict[str, Any], statement: bytes, signature: bytes) -> bytes:
    return json.dumps(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": b64(statement),
                "payloadType": IN_TOTO,
                "signatures": [{"sig": b64(signature)}],
            },
        }
    ).encode()
