"""Signatures of commits as gitsign makes them, by a sigstore in memory: sound ones, and others."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography import x509

    from miniature_sigstore import Key, MiniatureSigstore

_OIDS = {
    "data": "2a864886f70d010701",
    "signed": "2a864886f70d010702",
    "type": "2a864886f70d010903",
    "digest": "2a864886f70d010904",
    "sha256": "608648016503040201",
    "ecdsa": "2a8648ce3d040302",
    "rekor": "2b0601040183bf300301",
    "stamp": "2a864886f70d010910020e",
}


def tlv(tag: int, *values: bytes) -> bytes:
    """A value of DER."""
    data = b"".join(values)
    size = len(data)
    if size < 0x80:
        return bytes([tag, size]) + data
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + data


def oid(name: str) -> bytes:
    """A number by its short name here."""
    return tlv(0x06, bytes.fromhex(_OIDS[name]))


def attribute(name: str, *values: bytes) -> bytes:
    """An attribute with its values."""
    return tlv(0x30, oid(name), tlv(0x31, *values))


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def message(fields: Sequence[tuple[int, int | bytes]]) -> bytes:
    """A protobuf message."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def log_entry(
    sigstore: MiniatureSigstore,
    signed: bytes,
    signature: bytes,
    certificate: x509.Certificate,
    moment: datetime,
) -> bytes:
    """The entry of a signature in the log, without its body."""
    pem = certificate.public_bytes(Encoding.PEM)
    body: dict[str, Any] = {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(signed).hexdigest()}},
            "signature": {
                "content": base64.b64encode(signature).decode(),
                "publicKey": {"content": base64.b64encode(pem).decode()},
            },
        },
    }
    entry = sigstore.entry(body, moment=moment)
    decode = base64.b64decode
    proof = entry["inclusionProof"]
    hashed: list[tuple[int, int | bytes]] = [(4, decode(one)) for one in proof["hashes"]]
    shown = message(
        [
            (1, int(proof["logIndex"])),
            (2, decode(proof["rootHash"])),
            (3, int(proof["treeSize"])),
            *hashed,
            (5, message([(1, proof["checkpoint"]["envelope"].encode())])),
        ]
    )
    promise = decode(entry["inclusionPromise"]["signedEntryTimestamp"])
    return message(
        [
            (1, int(entry["logIndex"])),
            (2, message([(1, decode(entry["logId"]["keyId"]))])),
            (3, message([(1, b"hashedrekord"), (2, b"0.0.1")])),
            (4, int(entry["integratedTime"])),
            (5, message([(1, promise)])),
            (6, shown),
        ]
    )


def signed_attributes(payload: bytes) -> bytes:
    """What is signed instead of a message: its kind and its digest."""
    digest = hashlib.sha256(payload).digest()
    return attribute("type", oid("data")) + attribute("digest", tlv(0x04, digest))


def sign(key: Key, attributes: bytes) -> bytes:
    """The signature of attributes."""
    made: bytes = key.sign(tlv(0x31, attributes), ec.ECDSA(hashes.SHA256()))
    return made


def armored(
    certificate: x509.Certificate,
    attributes: bytes,
    signature: bytes,
    *,
    entry: bytes | None = None,
    stamps: Sequence[bytes] = (),
    certificates: Sequence[x509.Certificate] | None = None,
    content: bytes | None = None,
    signers: int = 1,
) -> bytes:
    """The signature as a commit holds it.

    Args:
        certificate: of the signer.
        attributes: that are signed.
        signature: of them.
        entry: of the log.
        stamps: tokens of timestamp authorities.
        certificates: that come with it, if not the signer's.
        content: the message itself, where a signature would bring one.
        signers: how many there are, all the same.
    """
    number = certificate.serial_number
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big")
    algorithm = tlv(0x30, oid("sha256"))
    unsigned = attribute("rekor", tlv(0x04, entry)) if entry is not None else b""
    unsigned += attribute("stamp", *stamps) if stamps else b""
    signer = tlv(
        0x30,
        tlv(0x02, b"\x01"),
        tlv(0x30, certificate.issuer.public_bytes(), tlv(0x02, serial)),
        algorithm,
        tlv(0xA0, attributes),
        tlv(0x30, oid("ecdsa")),
        tlv(0x04, signature),
        tlv(0xA1, unsigned) if unsigned else b"",
    )
    given = [certificate] if certificates is None else certificates
    body = tlv(
        0x30,
        tlv(0x02, b"\x01"),
        tlv(0x31, algorithm),
        tlv(0x30, oid("data"), tlv(0xA0, tlv(0x04, content)) if content is not None else b""),
        tlv(0xA0, *(one.public_bytes(Encoding.DER) for one in given)),
        tlv(0x31, *[signer] * signers),
    )
    data = tlv(0x30, oid("signed"), tlv(0xA0, body))
    text = base64.encodebytes(data)
    return b"-----BEGIN SIGNED MESSAGE-----\n" + text + b"-----END SIGNED MESSAGE-----\n"
