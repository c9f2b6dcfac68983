"""A bundle that real servers stamp and log, by a certificate that ended before."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from plimsoll.signing.bundle import Bundle, Material
from plimsoll.signing.dsse import IN_TOTO, Envelope, EnvelopeSignature, pae
from plimsoll.signing.services import log_signature, request_timestamp
from plimsoll.signing.signingconfig import Service

if TYPE_CHECKING:
    from plimsoll.http import Http
    from sigstore_servers import SigstoreServers

_ISSUER = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")


async def expired_bundle(
    http: Http, servers: SigstoreServers, subject: str, issuer: str, statement: bytes
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bundle, and a certificate authority for a trust root that believes its certificate."""
    now = datetime.now(UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "patient")])
    root = (
        _builder(name, name, root_key, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    begin, end = now - timedelta(minutes=20), now - timedelta(minutes=10)
    leaf = (
        _builder(x509.Name([]), name, key, begin, end)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(subject)]), critical=True)
        .add_extension(x509.UnrecognizedExtension(_ISSUER, issuer.encode()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    signature = key.sign(pae(IN_TOTO, statement), ec.ECDSA(hashes.SHA256()))
    envelope = Envelope(statement, IN_TOTO, (EnvelopeSignature(signature),))
    entry = await log_signature(http, Service(url=servers.rekor, version=2), envelope, leaf)
    stamp = await request_timestamp(http, Service(url=servers.tsa, version=1), signature)
    material = Material(
        certificates=(leaf.public_bytes(Encoding.DER),), tlog_entries=(entry,), timestamps=(stamp,)
    )
    raw = base64.b64encode(root.public_bytes(Encoding.DER)).decode()
    authority = {
        "certChain": {"certificates": [{"rawBytes": raw}]},
        "validFor": {"start": "2020-01-01T00:00:00Z"},
    }
    return json.loads(Bundle(content=envelope, material=material).to_json()), authority


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
