"""Trust roots: whose certificates, logs and timestamps are believed, and when.

Read from sigstore's ``trusted_root.json`` (protobuf-specs, ``sigstore_trustroot.proto``) or put
together from keys.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from plimsoll.signing.encoding import array, b64decode, child, parse_json, pem_blocks
from plimsoll.signing.errors import InvalidEvidenceError, InvalidTrustRootError
from plimsoll.signing.keys import KeyMaterial, public_key, spki

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT_LIMIT: Final = 4 << 20
MEMBER_LIMIT: Final = 64
CHAIN_LIMIT: Final = 10

_T = TypeVar("_T")
_MEDIA_TYPE = re.compile(
    r"application/vnd\.dev\.sigstore\.trustedroot"
    r"(?:\+json;version=0\.[12]|\.v0\.[0-9]+\+json)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Period:
    """When something is trusted; both ends included, ``None`` means open."""

    start: datetime | None = None
    end: datetime | None = None

    def __contains__(self, moment: datetime) -> bool:
        return (self.start is None or self.start <= moment) and (
            self.end is None or moment <= self.end
        )


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A chain of certificates and when it was used."""

    chain: tuple[x509.Certificate, ...]
    """The root last."""

    valid_for: Period = Period()

    @property
    def root(self) -> x509.Certificate:
        """Where every path must end."""
        return self.chain[-1]


@dataclass(frozen=True, slots=True)
class LogKey:
    """The key of a transparency log (Rekor or certificate transparency)."""

    log_id: bytes
    key: KeyMaterial
    valid_for: Period = Period()
    base_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRoot:
    """All that keyless verification believes in."""

    certificate_authorities: tuple[CertificateAuthority, ...] = ()
    tlogs: tuple[LogKey, ...] = ()
    ctlogs: tuple[LogKey, ...] = ()
    timestamp_authorities: tuple[CertificateAuthority, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> TrustRoot:
        """Read ``trusted_root.json``.

        Raises:
            InvalidTrustRootError: if it is none, or holds a broken or weak key.
        """
        try:
            return cls._read(parse_json(data, "the trusted root", ROOT_LIMIT))
        except InvalidTrustRootError:
            raise
        except Exception as error:  # noqa: BLE001  the libraries below raise many kinds
            text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InvalidTrustRootError(f"the trusted root cannot be read: {text}") from None

    @classmethod
    def _read(cls, obj: dict[str, Any]) -> TrustRoot:
        media_type = obj.get("mediaType")
        if not isinstance(media_type, str) or _MEDIA_TYPE.fullmatch(media_type) is None:
            raise InvalidTrustRootError(f"{str(media_type)[:80]!r} is no trusted root")
        return cls(
            certificate_authorities=_each(obj, "certificateAuthorities", _authority),
            tlogs=_each(obj, "tlogs", _log),
            ctlogs=_each(obj, "ctlogs", _ct_log),
            timestamp_authorities=_each(obj, "timestampAuthorities", _authority),
        )


def authority_from_pem(pem: str, valid_for: Period = Period()) -> CertificateAuthority:
    """An authority from PEM certificates, the root last.

    Raises:
        InvalidTrustRootError: if there is no certificate, or one cannot be read.
    """
    try:
        blocks = list(pem_blocks(pem))
        if any(label != "CERTIFICATE" for label, _ in blocks):
            raise InvalidTrustRootError("something that is no certificate stands in the chain")
        chain = tuple(x509.load_pem_x509_certificate(block.encode()) for _, block in blocks)
    except (ValueError, InvalidEvidenceError) as error:
        raise InvalidTrustRootError(f"a certificate cannot be read: {error}") from None
    return _checked_authority(chain, valid_for)


def log_key(key: KeyMaterial, valid_for: Period = Period(), base_url: str = "") -> LogKey:
    """A log from its key.

    Its id is the SHA-256 of the key, as for Rekor v1 and CT logs; for Ed25519 keys, which Rekor v2
    has, that of a note's key (C2SP signed-note), whose name is the host in ``base_url``.
    """
    if isinstance(key, ed25519.Ed25519PublicKey) and base_url:
        parts = urlsplit(base_url)
        name = f"{parts.netloc}{parts.path}".rstrip("/") or base_url
        named = name.encode() + b"\n\x01" + key.public_bytes_raw()
        return LogKey(hashlib.sha256(named).digest(), key, valid_for, base_url)
    return LogKey(hashlib.sha256(spki(key)).digest(), key, valid_for, base_url)


def _each(obj: dict[str, Any], name: str, read: Callable[[Any], _T]) -> tuple[_T, ...]:
    return tuple(read(item) for item in array(obj, name, "the trusted root", MEMBER_LIMIT))


def _authority(item: Any) -> CertificateAuthority:
    chain = child(item, "certChain", "a certificate authority")
    found = array(chain, "certificates", "a certificate authority", CHAIN_LIMIT)
    return _checked_authority(
        tuple(
            x509.load_der_x509_certificate(b64decode(one.get("rawBytes"), "a certificate"))
            for one in found
        ),
        _period(item.get("validFor")),
    )


def _checked_authority(
    chain: tuple[x509.Certificate, ...], valid_for: Period
) -> CertificateAuthority:
    if not chain:
        raise InvalidTrustRootError("a certificate authority has no certificate")
    if len(chain) > CHAIN_LIMIT:
        raise InvalidTrustRootError(f"a chain has more than {CHAIN_LIMIT} certificates")
    return CertificateAuthority(chain, valid_for)


def _log(item: Any) -> LogKey:
    return _any_log(item, weak_rsa=False)


def _ct_log(item: Any) -> LogKey:
    return _any_log(item, weak_rsa=True)


def _any_log(item: Any, *, weak_rsa: bool) -> LogKey:
    public = child(item, "publicKey", "a log")
    data = b64decode(public.get("rawBytes"), "the key of a log")
    loaded: Any = load_der_public_key(data)
    if not (weak_rsa and isinstance(loaded, rsa.RSAPublicKey)):
        public_key(loaded)
    identifier = item.get("checkpointKeyId") or item.get("logId")
    log_id = (
        b64decode(identifier.get("keyId"), "the id of a log")
        if isinstance(identifier, dict)
        else hashlib.sha256(spki(loaded)).digest()
    )
    url = item.get("baseUrl")
    return LogKey(
        log_id, loaded, _period(public.get("validFor")), url if isinstance(url, str) else ""
    )


def _period(value: Any) -> Period:
    if value is None:
        return Period()
    return Period(_moment(value.get("start")), _moment(value.get("end")))


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
