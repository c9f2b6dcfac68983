"""Sigstore bundles, v0.1 to v0.3 (protobuf-specs, ``sigstore_bundle.proto``, as JSON)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from plimsoll.oci.strictjson import dump
from plimsoll.signing.dsse import Envelope
from plimsoll.signing.encoding import array, b64decode, b64encode, child, parse_json, text
from plimsoll.signing.errors import InvalidEvidenceError

BUNDLE_V03: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
#: Bytes of one bundle: a statement of an SBOM in base64, and a little.
BUNDLE_LIMIT: Final = 96 << 20
CHAIN_LIMIT: Final = 10
ENTRY_LIMIT: Final = 32
TIMESTAMP_LIMIT: Final = 32

_MEDIA_TYPE = re.compile(
    r"application/vnd\.dev\.sigstore\.bundle(?:\+json;version=(0\.[123])|\.v(0\.3)\+json)"
)
_DIGEST_SIZES = {"SHA2_256": 32, "SHA2_384": 48, "SHA2_512": 64}


def bundle_version(media_type: str) -> str | None:
    """``0.1``, ``0.2`` or ``0.3``; ``None`` for what is no media type of a bundle."""
    match = _MEDIA_TYPE.fullmatch(media_type)
    return (match[1] or match[2]) if match else None


@dataclass(frozen=True, slots=True)
class MessageSignature:
    """A signature over an artifact as it is; the digest in it is a hint and must agree."""

    signature: bytes
    algorithm: str = ""
    digest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a bundle brings to verify with; nothing of it is trusted."""

    key_hint: str | None = None
    """Names a key that the verifier must know; ``None`` where a certificate is given."""

    certificates: tuple[bytes, ...] = ()
    """DER, the leaf first."""

    tlog_entries: tuple[dict[str, Any], ...] = ()
    timestamps: tuple[bytes, ...] = ()
    """RFC 3161 responses, DER."""

    version: str = ""
    """Of the bundle, which decides what a log entry must have; empty for legacy annotations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One signature with everything needed to verify it."""

    content: Envelope | MessageSignature
    material: Material
    media_type: str = BUNDLE_V03
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The JSON object it was read from."""

    @property
    def version(self) -> str:
        """``0.1``, ``0.2`` or ``0.3``."""
        return bundle_version(self.media_type) or ""

    def to_json(self) -> bytes:
        """The document; one that was read comes back as it was."""
        if self.raw:
            return dump(self.raw)
        if not isinstance(self.content, Envelope):
            raise InvalidEvidenceError("only bundles of an envelope are written")
        material: dict[str, Any] = (
            {"certificate": {"rawBytes": b64encode(self.material.certificates[0])}}
            if self.material.certificates
            else {"publicKey": {"hint": self.material.key_hint or ""}}
        )
        if self.material.tlog_entries:
            material["tlogEntries"] = list(self.material.tlog_entries)
        if self.material.timestamps:
            material["timestampVerificationData"] = {
                "rfc3161Timestamps": [
                    {"signedTimestamp": b64encode(one)} for one in self.material.timestamps
                ]
            }
        return dump(
            {
                "mediaType": self.media_type,
                "verificationMaterial": material,
                "dsseEnvelope": self.content.to_dict(),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Read a bundle.

        Raises:
            InvalidEvidenceError: if it is none, has not exactly one content, one kind of key
                material and, in an envelope, one signature, or is over a limit.
        """
        obj = parse_json(data, "the bundle", BUNDLE_LIMIT)
        media_type = text(obj, "mediaType", "the bundle")
        version = bundle_version(media_type)
        if version is None:
            raise InvalidEvidenceError(f"{media_type[:80]!r} is no bundle type that is known")
        material = _material(child(obj, "verificationMaterial", "the bundle"), version)
        return cls(content=_content(obj), material=material, media_type=media_type, raw=obj)


def _one_of(obj: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    found = [name for name in names if name in obj]
    if len(found) != 1:
        raise InvalidEvidenceError(
            f"{where} needs exactly one of {', '.join(names)}, but has {', '.join(found) or 'none'}"
        )
    return found[0]


def _content(obj: dict[str, Any]) -> Envelope | MessageSignature:
    kind = _one_of(obj, ("dsseEnvelope", "messageSignature"), "the bundle")
    value = child(obj, kind, "the bundle")
    if kind == "dsseEnvelope":
        envelope = Envelope.from_dict(value, "envelope of the bundle")
        if len(envelope.signatures) != 1:
            raise InvalidEvidenceError(
                f"the envelope of the bundle has {len(envelope.signatures)} signatures, not one"
            )
        return envelope
    signature = b64decode(value.get("signature"), "the signature of the bundle")
    if not signature:
        raise InvalidEvidenceError("the signature of the bundle is empty")
    if "messageDigest" not in value:
        return MessageSignature(signature)
    message = child(value, "messageDigest", "the bundle")
    algorithm = text(message, "algorithm", "messageDigest of the bundle")
    digest = b64decode(message.get("digest"), "messageDigest of the bundle")
    if len(digest) != _DIGEST_SIZES.get(algorithm, -1):
        raise InvalidEvidenceError("messageDigest of the bundle is no SHA-2 digest")
    return MessageSignature(signature, algorithm, digest)


def _material(obj: dict[str, Any], version: str) -> Material:
    where = "verificationMaterial of the bundle"
    kind = _one_of(obj, ("publicKey", "x509CertificateChain", "certificate"), where)
    hint: str | None = None
    chain: tuple[bytes, ...] = ()
    if kind == "publicKey":
        value = child(obj, kind, where).get("hint", "")
        if not isinstance(value, str):
            raise InvalidEvidenceError("the key hint of the bundle is no text")
        hint = value
    elif kind == "certificate":
        chain = (_certificate(child(obj, kind, where)),)
    else:
        if version == "0.3":
            raise InvalidEvidenceError("a v0.3 bundle must not carry a certificate chain")
        items = array(child(obj, kind, where), "certificates", where, CHAIN_LIMIT)
        chain = tuple(_certificate(item) for item in items)
        if not chain:
            raise InvalidEvidenceError("the bundle has an empty certificate chain")
    entries = array(obj, "tlogEntries", where, ENTRY_LIMIT)
    if not all(isinstance(entry, dict) for entry in entries):
        raise InvalidEvidenceError("a log entry of the bundle is no object")
    return Material(
        key_hint=hint,
        certificates=chain,
        tlog_entries=tuple(entries),
        timestamps=_timestamps(obj, where),
        version=version,
    )


def _certificate(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise InvalidEvidenceError("a certificate of the bundle is no object")
    data = b64decode(value.get("rawBytes"), "a certificate of the bundle")
    if not data:
        raise InvalidEvidenceError("a certificate of the bundle is empty")
    return data


def _timestamps(obj: dict[str, Any], where: str) -> tuple[bytes, ...]:
    if obj.get("timestampVerificationData") is None:
        return ()
    data = child(obj, "timestampVerificationData", where)
    result: list[bytes] = []
    for item in array(data, "rfc3161Timestamps", where, TIMESTAMP_LIMIT):
        if not isinstance(item, dict):
            raise InvalidEvidenceError("a timestamp of the bundle is no object")
        result.append(b64decode(item.get("signedTimestamp"), "a timestamp of the bundle"))
    if len(set(result)) != len(result):
        raise InvalidEvidenceError("a timestamp stands twice in the bundle")
    return tuple(result)
