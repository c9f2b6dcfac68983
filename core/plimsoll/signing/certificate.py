"""Certificates of signers: the path to a trusted root at a time, and transparency.

Follows RFC 5280 as far as short-lived code signing certificates need it, and RFC 6962 for signed
certificate timestamps.
"""

from __future__ import annotations

import hashlib
import struct
import warnings
from datetime import UTC as _UTC
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.certificate_transparency import SignedCertificateTimestamp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from plimsoll.signing.errors import InvalidEvidenceError, InvalidKeyError, RejectedError
from plimsoll.signing.keys import PublicKey, public_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from plimsoll.signing.trustroot import CertificateAuthority, LogKey

_KNOWN_CRITICAL = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}
_MAX_PATH: Final = 10


def load_certificate(der: bytes) -> x509.Certificate:
    """Read a DER certificate; raises ``InvalidEvidenceError``."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        # These are only parsed when they are asked for.
        list(certificate.extensions)
        names(certificate)
        _ = certificate.serial_number
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except Exception:  # noqa: BLE001  the library raises many kinds
        raise InvalidEvidenceError("what should be a certificate is none") from None
    return certificate


def names(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    """Issuer and subject as DER, for comparing.

    Names break the lengths of X.520 in the field ("USA" for a country): that is no news.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        issuer, subject = certificate.issuer, certificate.subject
    return issuer.public_bytes(), subject.public_bytes()


def certificate_key(certificate: x509.Certificate) -> PublicKey:
    """The key in a signer's certificate, checked for strength; raises ``RejectedError``."""
    try:
        return public_key(certificate.public_key())
    except (InvalidKeyError, ValueError, UnsupportedAlgorithm) as error:
        raise RejectedError(f"the certificate's key is not accepted: {error}") from None


def check_leaf(leaf: x509.Certificate) -> None:
    """Refuse certificates that are not for signing code; raises ``RejectedError``."""
    if _is_authority(leaf):
        raise RejectedError("the signer's certificate is that of an authority")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise RejectedError("the certificate does not say what it is for") from None
    if not usage.digital_signature or ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise RejectedError("the certificate is not for signing code")


def build_path(
    leaf: x509.Certificate,
    bundled: Sequence[x509.Certificate],
    authorities: Iterable[CertificateAuthority],
    moment: datetime,
) -> tuple[x509.Certificate, ...]:
    """A path from ``leaf`` to a trusted root in which every certificate is valid at ``moment``.

    Args:
        leaf: of the signer.
        bundled: intermediates that came with the signature; not trusted by themselves.
        authorities: trusted; each only in its own time.
        moment: when the signature was made, proven.

    Raises:
        RejectedError: if there is none.
    """
    if not leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc:
        raise RejectedError(
            f"it was signed at {moment.isoformat()}, when the certificate was not valid"
        )
    for authority in authorities:
        if moment not in authority.valid_for:
            continue
        pool = [*authority.chain[:-1], *bundled]
        path = next(_paths((leaf,), pool, authority.root, moment), None)
        if path is not None:
            return path
    raise RejectedError(
        f"the certificate was issued by no trusted authority valid at {moment.isoformat()}"
    )


def check_transparency(path: Sequence[x509.Certificate], ctlogs: Sequence[LogKey]) -> None:
    """Demand a signed certificate timestamp of a trusted log (RFC 6962 §3.2).

    Raises:
        RejectedError: if there is none.
    """
    leaf = path[0]
    try:
        scts = leaf.extensions.get_extension_for_class(
            x509.PrecertificateSignedCertificateTimestamps
        ).value
    except x509.ExtensionNotFound:
        raise RejectedError("the certificate has no signed certificate timestamp") from None
    issuer = path[1] if len(path) > 1 else leaf
    issuer_hash = hashlib.sha256(certificate_spki(issuer)).digest()
    for sct in scts:
        if not isinstance(sct, SignedCertificateTimestamp):
            continue
        signed = _signed_entry(sct, issuer_hash, leaf.tbs_precertificate_bytes)
        for log in ctlogs:
            moment = sct.timestamp.replace(tzinfo=leaf.not_valid_before_utc.tzinfo)
            if (
                log.log_id == sct.log_id
                and moment in log.valid_for
                and _sct_signature(log, sct, signed)
            ):
                return
    raise RejectedError("no trusted certificate transparency log vouches for the certificate")


def certificate_spki(certificate: x509.Certificate) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a certificate."""
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _paths(
    path: tuple[x509.Certificate, ...],
    pool: Sequence[x509.Certificate],
    root: x509.Certificate,
    moment: datetime,
) -> Iterator[tuple[x509.Certificate, ...]]:
    last = path[-1]
    if not _valid_at(last, moment) or len(path) > _MAX_PATH:
        return
    if last == root:
        yield path
        return
    below = len(path) - 1
    if _valid_at(root, moment) and _issued(root, last, below):
        yield (*path, root)
        return
    for candidate in pool:
        if candidate not in path and _issued(candidate, last, below):
            yield from _paths((*path, candidate), pool, root, moment)


def _valid_at(certificate: x509.Certificate, moment: datetime) -> bool:
    unknown = any(
        extension.critical and extension.oid not in _KNOWN_CRITICAL
        for extension in certificate.extensions
    )
    window = certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc
    return window and not unknown


def _issued(issuer: x509.Certificate, subject: x509.Certificate, below: int) -> bool:
    if not _is_authority(issuer):
        return False
    limit = _constraints(issuer)
    if limit is not None and below > limit:
        return False
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return not isinstance(subject.signature_hash_algorithm, hashes.SHA1 | hashes.MD5)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.critical and constraints.value.ca and usage.key_cert_sign


def _constraints(certificate: x509.Certificate) -> int | None:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length


def _signed_entry(sct: SignedCertificateTimestamp, issuer_hash: bytes, tbs: bytes) -> bytes:
    milliseconds = round(sct.timestamp.replace(tzinfo=_UTC).timestamp() * 1000)
    extensions = sct.extension_bytes
    return b"".join(
        (
            struct.pack(">BBQH", sct.version.value, 0, milliseconds, 1),
            issuer_hash,
            len(tbs).to_bytes(3, "big"),
            tbs,
            struct.pack(">H", len(extensions)),
            extensions,
        )
    )


def _sct_signature(log: LogKey, sct: SignedCertificateTimestamp, signed: bytes) -> bool:
    if not isinstance(sct.signature_hash_algorithm, hashes.SHA256):
        return False
    try:
        if isinstance(log.key, ec.EllipticCurvePublicKey):
            log.key.verify(sct.signature, signed, ec.ECDSA(hashes.SHA256()))
        elif isinstance(log.key, rsa.RSAPublicKey):
            log.key.verify(sct.signature, signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            return False
    except InvalidSignature:
        return False
    return True
