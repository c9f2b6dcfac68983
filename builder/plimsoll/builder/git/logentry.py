"""An entry of the transparency log as gitsign puts it into a signature.

A serialised ``TransparencyLogEntry`` (protobuf-specs, ``sigstore_rekor.proto``) without its body,
which is made again from what was signed: so it can be about nothing else.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import rfc8785
from cryptography.hazmat.primitives.serialization import Encoding

from plimsoll.builder.git.errors import NotSignedError
from plimsoll.signing.encoding import b64encode

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_VARINT: Final = 0
_BYTES: Final = 2
_MAX_FIELDS: Final = 256
_MASK: Final = (1 << 64) - 1

Fields = dict[int, list[int | bytes]]


def read_entry(
    data: bytes, signed: bytes, signature: bytes, certificate: Certificate
) -> dict[str, Any]:
    """The entry as a Sigstore bundle has it.

    Args:
        data: the serialised entry.
        signed: the bytes that were signed.
        signature: of them.
        certificate: of the signer.

    Raises:
        NotSignedError: it is malformed, or of a kind that gitsign does not write.
    """
    top = fields(data)
    kind = fields(_bytes(top, 3))
    if (_bytes(kind, 1), _bytes(kind, 2)) != (b"hashedrekord", b"0.0.1"):
        raise NotSignedError("the log entry of the signature is of an unknown kind")
    body = rfc8785.dumps(
        {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {
                    "hash": {"algorithm": "sha256", "value": hashlib.sha256(signed).hexdigest()}
                },
                "signature": {
                    "content": b64encode(signature),
                    "publicKey": {"content": b64encode(certificate.public_bytes(Encoding.PEM))},
                },
            },
        }
    )
    entry: dict[str, Any] = {
        "logIndex": _number(top, 1),
        "logId": {"keyId": b64encode(_bytes(fields(_bytes(top, 2)), 1))},
        "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
        "integratedTime": _number(top, 4),
        "canonicalizedBody": b64encode(body),
    }
    if 5 in top:
        promise = _bytes(fields(_bytes(top, 5)), 1)
        entry["inclusionPromise"] = {"signedEntryTimestamp": b64encode(promise)}
    if 6 in top:
        entry["inclusionProof"] = _proof(fields(_bytes(top, 6)))
    return entry


def _proof(proof: Fields) -> dict[str, Any]:
    checkpoint = _bytes(fields(_bytes(proof, 5)), 1)
    try:
        envelope = checkpoint.decode()
    except UnicodeDecodeError:
        raise NotSignedError("the checkpoint of the log entry is no text") from None
    return {
        "logIndex": _number(proof, 1),
        "rootHash": b64encode(_bytes(proof, 2)),
        "treeSize": _number(proof, 3),
        "hashes": [b64encode(one) for one in proof.get(4, []) if isinstance(one, bytes)],
        "checkpoint": {"envelope": envelope},
    }


def fields(data: bytes) -> Fields:
    """The fields of a protobuf message; raises ``NotSignedError``."""
    found: Fields = {}
    position = count = 0
    while position < len(data):
        key, position = _varint(data, position)
        value: int | bytes
        if key & 7 == _VARINT:
            value, position = _varint(data, position)
        elif key & 7 == _BYTES:
            size, position = _varint(data, position)
            value = data[position : position + size]
            position += size
        else:
            raise _malformed()
        count += 1
        if position > len(data) or count > _MAX_FIELDS:
            raise _malformed()
        found.setdefault(key >> 3, []).append(value)
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value & _MASK, position
    raise _malformed()


def _bytes(found: Fields, number: int) -> bytes:
    values = found.get(number, [b""])
    if len(values) != 1 or not isinstance(values[0], bytes):
        raise _malformed()
    return values[0]


def _number(found: Fields, number: int) -> int:
    values = found.get(number, [0])
    if len(values) != 1 or not isinstance(values[0], int):
        raise _malformed()
    return values[0]


def _malformed() -> NotSignedError:
    return NotSignedError("the log entry of the signature is malformed")
