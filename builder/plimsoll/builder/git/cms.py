"""Detached CMS signatures (RFC 5652) with one signer, as gitsign makes them, read strictly.

Only what such a signature needs is understood; anything else is refused. Nothing is verified here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plimsoll.builder.git.errors import NotSignedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARMOR = re.compile(
    rb"-----BEGIN SIGNED MESSAGE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END SIGNED MESSAGE-----\s*"
)
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_OID: Final = 0x06
_CONTEXT0: Final = 0xA0
_CONTEXT1: Final = 0xA1

_SIGNED_DATA: Final = bytes.fromhex("2a864886f70d010702")
_DATA: Final = bytes.fromhex("2a864886f70d010701")
_CONTENT_TYPE: Final = bytes.fromhex("2a864886f70d010903")
_MESSAGE_DIGEST: Final = bytes.fromhex("2a864886f70d010904")
#: Attribute with a transparency log entry (1.3.6.1.4.1.57264.3.1).
REKOR_ENTRY: Final = bytes.fromhex("2b0601040183bf300301")
#: Attribute with a token of a timestamp authority (RFC 3161, 1.2.840.113549.1.9.16.2.14).
TIMESTAMP: Final = bytes.fromhex("2a864886f70d010910020e")
_HASHES: Final = {
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}


@dataclass(frozen=True, slots=True)
class CmsSignature:
    """A signature as it was read.

    Attributes:
        certificates: DER, in their order.
        issuer: of the signer's certificate (DER name), with its ``serial`` number.
        signed: the bytes that are signed: attributes, one of which is the digest of the message.
        algorithm: hash of that digest.
        digest: of the message.
        signature: the signature itself.
        unsigned: attributes that are not signed: number → values (DER).
    """

    certificates: tuple[bytes, ...]
    issuer: bytes
    serial: int
    signed: bytes
    algorithm: str
    digest: bytes
    signature: bytes
    unsigned: dict[bytes, tuple[bytes, ...]]

    def covers(self, message: bytes) -> bool:
        """Whether the signed attributes are about this message."""
        return hashlib.new(self.algorithm, message).digest() == self.digest


class Der:
    """Values of DER (X.690), one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    @property
    def tag(self) -> int:
        """Of the next value; -1 at the end."""
        return self._data[self._at] if self else -1

    def whole(self) -> tuple[int, bytes, bytes]:
        """Tag, content, and both with the length between; raises ``NotSignedError``."""
        data, start = self._data, self._at
        if start + 2 > len(data) or data[start] & 0x1F == 0x1F:
            raise _malformed()
        length, body = data[start + 1], start + 2
        if length & 0x80:
            count = length & 0x7F
            digits = data[body : body + count]
            length, body = int.from_bytes(digits, "big"), body + count
            if not 1 <= count <= 4 or len(digits) != count or not digits[0] or length < 0x80:
                raise _malformed()
        end = body + length
        if end > len(data):
            raise _malformed()
        self._at = end
        return data[start], data[body:end], data[start:end]

    def read(self, tag: int) -> bytes:
        """The content of the next value, which must have this tag."""
        found, content, _ = self.whole()
        if found != tag:
            raise _malformed()
        return content

    def inside(self, tag: int) -> Der:
        """The values in the next one."""
        return Der(self.read(tag))

    def end(self) -> None:
        """Demand that nothing is left."""
        if self:
            raise _malformed()


def read_cms(armored: bytes) -> CmsSignature:
    """Read an armored signature; raises ``NotSignedError``."""
    match = _ARMOR.fullmatch(armored)
    try:
        data = base64.b64decode(b"".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        data = b""
    top = Der(data)
    info = top.inside(_SEQUENCE)
    top.end()
    if info.read(_OID) != _SIGNED_DATA:
        raise _malformed()
    wrapped = info.inside(_CONTEXT0)
    info.end()
    body = wrapped.inside(_SEQUENCE)
    wrapped.end()
    body.read(_INTEGER)
    body.read(_SET)
    content = body.inside(_SEQUENCE)
    if content.read(_OID) != _DATA or content:
        raise NotSignedError("the certificate's signature brings the message that it is over")
    certificates = tuple(_values(body.inside(_CONTEXT0))) if body.tag == _CONTEXT0 else ()
    if body.tag == _CONTEXT1:
        body.read(_CONTEXT1)
    signers = body.inside(_SET)
    body.end()
    signer = signers.inside(_SEQUENCE)
    if signers:
        raise NotSignedError("the certificate's signature has several signers")
    return _signer(signer, certificates)


def _signer(signer: Der, certificates: tuple[bytes, ...]) -> CmsSignature:
    signer.read(_INTEGER)
    name = signer.inside(_SEQUENCE)
    _, _, issuer = name.whole()
    serial = int.from_bytes(name.read(_INTEGER), "big", signed=True)
    name.end()
    algorithm = _HASHES.get(signer.inside(_SEQUENCE).read(_OID))
    tag, attributes, _ = signer.whole()
    if tag != _CONTEXT0 or algorithm is None:
        raise NotSignedError("the certificate's signature has no signed attributes")
    found = _attributes(Der(attributes))
    digests, kinds = found.get(_MESSAGE_DIGEST, ()), found.get(_CONTENT_TYPE, ())
    if len(digests) != 1 or len(kinds) != 1 or Der(kinds[0]).read(_OID) != _DATA:
        raise _malformed()
    signer.read(_SEQUENCE)  # the certificate's key says which algorithm it is
    signature = signer.read(_OCTETS)
    unsigned = _attributes(signer.inside(_CONTEXT1)) if signer.tag == _CONTEXT1 else {}
    signer.end()
    return CmsSignature(
        certificates,
        issuer,
        serial,
        # What is signed is a SET; in the message it has the tag of its place (RFC 5652 §5.4).
        _tagged(_SET, attributes),
        algorithm,
        Der(digests[0]).read(_OCTETS),
        signature,
        unsigned,
    )


def _attributes(reader: Der) -> dict[bytes, tuple[bytes, ...]]:
    found: dict[bytes, tuple[bytes, ...]] = {}
    while reader:
        attribute = reader.inside(_SEQUENCE)
        number = attribute.read(_OID)
        values = tuple(_values(attribute.inside(_SET)))
        attribute.end()
        if number in found:
            raise _malformed()
        found[number] = values
    return found


def _values(reader: Der) -> Iterator[bytes]:
    while reader:
        yield reader.whole()[2]


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def timestamp_response(token: bytes) -> bytes:
    """A whole response of a timestamp authority around a bare token."""
    granted = bytes.fromhex("3003020100")
    return _tagged(_SEQUENCE, granted + token)


def octets(value: bytes) -> bytes:
    """The content of an OCTET STRING; raises ``NotSignedError``."""
    reader = Der(value)
    content = reader.read(_OCTETS)
    reader.end()
    return content


def _malformed() -> NotSignedError:
    return NotSignedError("what should be a certificate's signature is none")
