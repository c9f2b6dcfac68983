"""Timestamp tokens (RFC 3161) signed by whichever certificate a test likes, by OpenSSL."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    from collections.abc import Sequence

_TST_INFO = "1.2.840.113549.1.9.16.1.4"
_SHA256 = bytes.fromhex("300d06096086480165030402010500")
STAMPING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])

Signer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(
    name: str,
    issuer: Signer | None = None,
    *,
    authority: bool = False,
    usage: x509.ExtendedKeyUsage | None = STAMPING,
    critical: bool = True,
    start: datetime | None = None,
    days: int = 365,
) -> Signer:
    """A certificate: a root without an issuer, a leaf that may stamp with one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = start or datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_key_usage(authority=authority), critical=True)
    )
    if not authority and usage is not None:
        builder = builder.add_extension(usage, critical=critical)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    off: dict[str, Any] = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(digital_signature=not authority, key_cert_sign=authority, **off)


def stamp(
    folder: Path,
    message: bytes,
    signer: Signer,
    others: Sequence[x509.Certificate] = (),
    moment: datetime | None = None,
) -> bytes:
    """A response (DER) that grants a timestamp of a message.

    Args:
        folder: for the files that OpenSSL reads.
        message: what is stamped.
        signer: who stamps.
        others: certificates that stand in the token beside the signer's.
        moment: the time it names; default: now.
    """
    (folder / "key.pem").write_bytes(
        signer[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (folder / "cert.pem").write_bytes(signer[0].public_bytes(Encoding.PEM))
    (folder / "others.pem").write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in others))
    (folder / "info.der").write_bytes(_info(message, moment or datetime.now(UTC)))
    command = ["openssl", "cms", "-sign", "-binary", "-nodetach", "-cades", "-md", "sha256"]
    command += ["-in", "info.der", "-signer", "cert.pem", "-inkey", "key.pem"]
    command += ["-econtent_type", _TST_INFO, "-outform", "DER", "-out", "token.der"]
    command += ["-certfile", "others.pem"] if others else []
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    token = (folder / "token.der").read_bytes()
    granted = _tlv(0x30, _tlv(0x02, b"\x00"))
    return _tlv(0x30, granted + token)


def _info(message: bytes, moment: datetime) -> bytes:
    imprint = _tlv(0x30, _SHA256 + _tlv(0x04, hashlib.sha256(message).digest()))
    policy = _tlv(0x06, bytes.fromhex("2a0304"))
    return _tlv(
        0x30,
        _tlv(0x02, b"\x01")
        + policy
        + imprint
        + _tlv(0x02, b"\x07")
        + _tlv(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode()),
    )


def _tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value
