"""A certificate authority, a transparency log and a CT log in memory, with real cryptography.

For what no published data shows: each fault that a hostile or broken instance could make. The real
servers have their own tests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SUBJECT = "https://example.com/team/app/.github/workflows/release.yml@refs/heads/main"
ISSUER = "https://token.actions.example.com"
SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")

Key = ec.EllipticCurvePrivateKey


def b64(data: bytes) -> str:
    """Base64, as JSON carries bytes."""
    return base64.b64encode(data).decode()


def spki(key: Any) -> bytes:
    """The public half of a private key."""
    result: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return result


def new_key() -> Key:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def utf8(text: str) -> bytes:
    """A DER UTF8String, up to 127 bytes."""
    data = text.encode()
    return bytes([0x0C, len(data)]) + data


@dataclass
class Authority:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @classmethod
    def root(cls, name: str = "root", start: datetime | None = None, days: int = 3650) -> Authority:
        """A self-signed root."""
        key = new_key()
        return cls(_authority(name, key, name, key, start or NOW - timedelta(days=30), days), key)

    def issue_authority(
        self, name: str, start: datetime | None = None, days: int = 3650, **options: Any
    ) -> Authority:
        """An intermediate."""
        key = new_key()
        issuer = self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        start = start or NOW - timedelta(days=30)
        certificate = _authority(name, key, str(issuer), self.key, start, days, **options)
        return Authority(certificate, key)


def _authority(
    name: str,
    key: Key,
    issuer: str,
    issuer_key: Key,
    start: datetime,
    days: int,
    *,
    ca: bool = True,
    path_length: int | None = None,
    critical_extra: bool = False,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(_usage(sign_certificates=ca), critical=True)
    )
    if critical_extra:
        extra = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        builder = builder.add_extension(extra, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass
class MiniatureSigstore:
    """Everything that a trust root names, and what it makes."""

    root: Authority = field(default_factory=Authority.root)
    intermediate: Authority | None = None
    ct_key: Key = field(default_factory=new_key)
    log_key: Any = field(default_factory=new_key)

    def __post_init__(self) -> None:
        if self.intermediate is None:
            self.intermediate = self.root.issue_authority("intermediate")

    @property
    def issuer(self) -> Authority:
        """Who issues the certificates of signers."""
        assert self.intermediate is not None
        return self.intermediate

    def certificate(
        self,
        key: Key,
        *,
        subjects: tuple[x509.GeneralName, ...] = (x509.UniformResourceIdentifier(SUBJECT),),
        claims: dict[int, bytes] | None = None,
        start: datetime = NOW - timedelta(minutes=1),
        minutes: int = 10,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
        ct_key: Key | None = None,
        sct: bool = True,
        issuer: Authority | None = None,
    ) -> x509.Certificate:
        """A signer's certificate."""
        issuer = issuer or self.issuer
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(minutes=minutes))
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if subjects:
            builder = builder.add_extension(x509.SubjectAlternativeName(subjects), critical=True)
        for number, data in (claims or {1: ISSUER.encode(), 8: utf8(ISSUER)}).items():
            oid = ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, data), critical=False)
        plain = builder.sign(issuer.key, hashes.SHA256())
        if not sct:
            return plain
        stamped = self._sct(plain.tbs_certificate_bytes, issuer.key, ct_key or self.ct_key)
        extension = x509.UnrecognizedExtension(SCT_LIST, stamped)
        return builder.add_extension(extension, critical=False).sign(issuer.key, hashes.SHA256())

    def _sct(self, tbs: bytes, issuer_key: Key, ct_key: Key) -> bytes:
        stamp = struct.pack(">Q", int(NOW.timestamp() * 1000))
        entry = b"\x00\x01" + hashlib.sha256(spki(issuer_key)).digest()
        signed = b"\x00\x00" + stamp + entry + len(tbs).to_bytes(3, "big") + tbs + b"\x00\x00"
        signature = ct_key.sign(signed, ec.ECDSA(hashes.SHA256()))
        log_id = hashlib.sha256(spki(self.ct_key)).digest()
        one = b"\x00" + log_id + stamp + b"\x00\x00" + b"\x04\x03"
        one += struct.pack(">H", len(signature)) + signature
        listed = struct.pack(">H", len(one)) + one
        whole = struct.pack(">H", len(listed)) + listed
        length = bytes([len(whole)])  # of an ECDSA signature it differs by a few bytes
        return b"\x04" + (length if len(whole) < 128 else b"\x81" + length) + whole

    @property
    def log_id(self) -> bytes:
        """Of the transparency log."""
        return hashlib.sha256(spki(self.log_key)).digest()

    def sign_as_log(self, data: bytes) -> bytes:
        """A signature of the transparency log."""
        if isinstance(self.log_key, ed25519.Ed25519PrivateKey):
            return self.log_key.sign(data)
        signature: bytes = self.log_key.sign(data, ec.ECDSA(hashes.SHA256()))
        return signature

    def entry(
        self, body: dict[str, Any], *, moment: datetime | None = NOW, proof: bool = True
    ) -> dict[str, Any]:
        """A member of ``tlogEntries``: with a promise if ``moment`` is given."""
        data = rfc8785.dumps(body)
        entry: dict[str, Any] = {
            "logIndex": "7",
            "logId": {"keyId": b64(self.log_id)},
            "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
            "canonicalizedBody": b64(data),
        }
        if moment is not None:
            seconds = int(moment.timestamp())
            entry["integratedTime"] = str(seconds)
            entry["inclusionPromise"] = {
                "signedEntryTimestamp": b64(self.promise(data, seconds, 7))
            }
        if proof:
            entry["inclusionProof"] = self.proof(data)
        return entry

    def promise(self, body: bytes, seconds: int, index: int) -> bytes:
        """A signed entry timestamp."""
        return self.sign_as_log(
            rfc8785.dumps(
                {
                    "body": b64(body),
                    "integratedTime": seconds,
                    "logID": self.log_id.hex(),
                    "logIndex": index,
                }
            )
        )

    def proof(self, body: bytes, index: int = 2, size: int = 5) -> dict[str, Any]:
        """An inclusion proof in a tree of ``size`` entries, and its checkpoint."""
        leaves = [_leaf(b"other %d" % number) for number in range(size)]
        leaves[index] = _leaf(body)
        root = _root(leaves)
        note = f"log.example\n{size}\n{b64(root)}\n"
        signature = self.log_id[:4] + self.sign_as_log(note.encode())
        return {
            "logIndex": str(index),
            "rootHash": b64(root),
            "treeSize": str(size),
            "hashes": [b64(one) for one in _path(index, leaves)],
            "checkpoint": {"envelope": f"{note}\n— log.example {b64(signature)}\n"},
        }

    def legacy(self, body: dict[str, Any], moment: datetime = NOW) -> str:
        """The annotation ``dev.sigstore.cosign/bundle``."""
        data = rfc8785.dumps(body)
        seconds = int(moment.timestamp())
        payload = {
            "body": b64(data),
            "integratedTime": seconds,
            "logIndex": 7,
            "logID": self.log_id.hex(),
        }
        promise = b64(self.promise(data, seconds, 7))
        return json.dumps({"SignedEntryTimestamp": promise, "Payload": payload})

    def trusted_root(self, **changes: Any) -> bytes:
        """``trusted_root.json``."""
        chain = [self.issuer.certificate, self.root.certificate]
        ders = [{"rawBytes": b64(one.public_bytes(Encoding.DER))} for one in chain]
        start = {"start": (NOW - timedelta(days=365)).isoformat()}

        def log(key: Any) -> dict[str, Any]:
            return {
                "baseUrl": "https://log.example",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {"rawBytes": b64(spki(key)), "validFor": start},
                "logId": {"keyId": b64(hashlib.sha256(spki(key)).digest())},
            }

        value = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log_key)],
            "certificateAuthorities": [{"certChain": {"certificates": ders}, "validFor": start}],
            "ctlogs": [log(self.ct_key)],
            "timestampAuthorities": [],
        }
        return json.dumps(value | changes).encode()


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return hashlib.sha256(b"\x01" + _root(leaves[:middle]) + _root(leaves[middle:])).digest()


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*_path(index, leaves[:middle]), _root(leaves[middle:])]
    return [*_path(index - middle, leaves[middle:]), _root(leaves[:middle])]
