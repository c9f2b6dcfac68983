"""Certificates with any byte changed are read, or refused by an error of ours."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from plimsoll.signing.certificate import load_certificate
from plimsoll.signing.errors import InvalidEvidenceError
from plimsoll.signing.legacy import CERTIFICATE, material_of


@pytest.fixture(scope="module")
def der():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name("a@b.c")]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_any_byte(der):
    for position in range(len(der)):
        for change in (0x01, 0x22, 0x80):
            data = bytearray(der)
            data[position] ^= change
            with contextlib.suppress(InvalidEvidenceError):
                found = load_certificate(bytes(data))
                # Whatever is asked of it later must not fail there.
                assert found.issuer == found.issuer
                assert found.not_valid_before_utc
                assert found.serial_number is not None


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_any_byte_in_an_annotation(der):
    for position in range(0, len(der), 3):
        data = bytearray(der)
        data[position] ^= 0x22
        text = base64.encodebytes(bytes(data)).decode()
        pem = f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"
        with contextlib.suppress(InvalidEvidenceError):
            material_of({CERTIFICATE: pem})


def test_an_unknown_version(der):
    mark = bytes.fromhex("a003020102")
    with pytest.raises(InvalidEvidenceError):
        load_certificate(der.replace(mark, bytes.fromhex("a003020122"), 1))
