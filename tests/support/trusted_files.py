"""Certificates and Java key stores for tests."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from plimsoll.builder import jks


def certificate(name: str) -> x509.Certificate:
    """A certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )


def pem(item: x509.Certificate) -> str:
    """Its text."""
    return item.public_bytes(serialization.Encoding.PEM).decode()


def empty_store() -> bytes:
    """A JKS file without entries."""
    head = struct.pack(">III", 0xFEEDFEED, 2, 0)
    return head + jks._seal(head)
