"""Dead Simple Signing Envelope (DSSE v1.0.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from plimsoll.signing.encoding import array, b64decode, b64encode, text
from plimsoll.signing.errors import InvalidEvidenceError

#: The payload type of in-toto statements, the only one that is evidence here.
IN_TOTO: Final = "application/vnd.in-toto+json"
#: Signatures of one envelope.
SIGNATURE_LIMIT: Final = 16


def pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding: the bytes that an envelope's signature is made over."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class EnvelopeSignature:
    """One signature; ``keyid`` is unauthenticated and decides nothing."""

    sig: bytes
    keyid: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type, and who signed both."""

    payload: bytes
    payload_type: str
    signatures: tuple[EnvelopeSignature, ...]

    @property
    def signed_bytes(self) -> bytes:
        """What every signature must be over."""
        return pae(self.payload_type, self.payload)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        signatures = [
            {"sig": b64encode(one.sig)} | ({"keyid": one.keyid} if one.keyid else {})
            for one in self.signatures
        ]
        return {
            "payload": b64encode(self.payload),
            "payloadType": self.payload_type,
            "signatures": signatures,
        }

    @classmethod
    def from_dict(cls, obj: dict[str, Any], where: str = "DSSE envelope") -> Envelope:
        """Read the JSON object.

        Raises:
            InvalidEvidenceError: if a field is missing or no base64, or if there is no signature.
        """
        signatures = []
        for item in array(obj, "signatures", where, SIGNATURE_LIMIT):
            if not isinstance(item, dict):
                raise InvalidEvidenceError(f"a signature of the {where} is no object")
            sig = b64decode(item.get("sig"), f"a signature of the {where}")
            if not sig:
                raise InvalidEvidenceError(f"a signature of the {where} is empty")
            keyid = item.get("keyid")
            signatures.append(EnvelopeSignature(sig, keyid if isinstance(keyid, str) else ""))
        if not signatures:
            raise InvalidEvidenceError(f"the {where} has no signature")
        return cls(
            payload=b64decode(obj.get("payload"), f"the payload of the {where}"),
            payload_type=text(obj, "payloadType", where),
            signatures=tuple(signatures),
        )
