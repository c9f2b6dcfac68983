"""The webhook's own certificate authority and serving certificate: made, renewed, rotated.

Pure but for the keys it draws. Rotation overlaps: a new authority is first told to the API server
beside the old one, and signs the serving certificate only once the API server knows it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AUTHORITY_LIFE = timedelta(days=365)
SERVING_LIFE = timedelta(days=30)
_BACKDATE = timedelta(minutes=5)
_COMMON_NAME = "plimsoll webhook"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the Secret holds, PEM.

    Attributes:
        bundle: authorities that the API server should trust; the first one signs.
        authority_key: of the first.
        certificate: the serving certificate.
        key: its key.
    """

    bundle: bytes
    authority_key: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def from_data(cls, data: Mapping[str, bytes]) -> Identity | None:
        """Read the entries of a Secret; ``None`` if they are not all there."""
        names = ("ca.crt", "ca.key", "tls.crt", "tls.key")
        if not all(data.get(name) for name in names):
            return None
        return cls(*(data[name] for name in names))

    def to_data(self) -> dict[str, bytes]:
        """The entries of the Secret."""
        return {
            "ca.crt": self.bundle,
            "ca.key": self.authority_key,
            "tls.crt": self.certificate,
            "tls.key": self.key,
        }


def renewed(
    identity: Identity | None, names: Sequence[str], told: bytes, now: datetime
) -> Identity:
    """The identity that should be: the same object if nothing is due.

    Args:
        identity: what there is; ``None`` or broken means start anew.
        names: DNS names of the Service.
        told: the bundle that the API server has now.
        now: UTC.
    """
    parsed = _parse(identity, now)
    if identity is None or parsed is None:
        return _fresh(names, now)
    authorities, authority_key, serving = parsed
    signer = authorities[0]
    bundle = _pem(*authorities)
    if _due(signer, now):
        key, certificate = _authority(now)
        return replace(identity, bundle=_pem(certificate) + bundle, authority_key=_key_pem(key))
    # The next certificate waits until the API server knows its authority.
    wanted = signer in _certificates(told) and (
        _due(serving, now) or not _signed_by(serving, signer)
    )
    if wanted or _over(serving, now) or _names(serving) != set(names):
        key, certificate = _serving(signer, authority_key, names, now)
        identity = replace(identity, certificate=_pem(certificate), key=_key_pem(key))
    return identity if bundle == identity.bundle else replace(identity, bundle=bundle)


def _parse(
    identity: Identity | None, now: datetime
) -> tuple[list[x509.Certificate], ec.EllipticCurvePrivateKey, x509.Certificate] | None:
    """The living authorities, the key of the first, the serving certificate; ``None``: useless."""
    if identity is None:
        return None
    try:
        authorities = x509.load_pem_x509_certificates(identity.bundle)
        serving = x509.load_pem_x509_certificate(identity.certificate)
        authority_key = _load_key(identity.authority_key)
        serving_key = _load_key(identity.key)
    except (ValueError, TypeError):
        return None
    signer = authorities[0]
    if (
        _over(signer, now)
        or signer.public_key() != authority_key.public_key()
        or serving.public_key() != serving_key.public_key()
    ):
        return None
    return [one for one in authorities if not _over(one, now)], authority_key, serving


def _fresh(names: Sequence[str], now: datetime) -> Identity:
    authority_key, authority = _authority(now)
    key, certificate = _serving(authority, authority_key, names, now)
    return Identity(_pem(authority), _key_pem(authority_key), _pem(certificate), _key_pem(key))


def _authority(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number in the name keeps two authorities of one bundle apart.
    serial = x509.random_serial_number()
    name = _name(f"{_COMMON_NAME} CA {serial:040x}"[:64])
    builder = _builder(key.public_key(), now, AUTHORITY_LIFE, serial).subject_name(name)
    builder = builder.issuer_name(name)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return key, builder.sign(key, hashes.SHA256())


def _serving(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    now: datetime,
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    life = min(SERVING_LIFE, authority.not_valid_after_utc - now)
    builder = _builder(key.public_key(), now, life, serial).subject_name(_name(_COMMON_NAME))
    builder = builder.issuer_name(authority.subject)
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    return key, builder.sign(authority_key, hashes.SHA256())


def _builder(
    key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta, serial: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return set(found.value.get_values_for_type(x509.DNSName))


def _over(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_after_utc <= now


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether less than a third of the life is left."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return end - now < (end - begin) / 3


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001  several kinds, one meaning
        return False
    return True


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem) if pem else []
    except ValueError:
        return []


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an EC key")
    return key


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def utc_now() -> datetime:
    """Now, in whole seconds, as certificates have them."""
    return datetime.now(UTC).replace(microsecond=0)
