"""Timestamps of a timestamp authority (RFC 3161) over a signature."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from cryptography import x509
from rfc3161_client import VerifierBuilder, decode_timestamp_response
from rfc3161_client.errors import VerificationError

from plimsoll.signing.errors import RejectedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rfc3161_client import TimeStampResponse

    from plimsoll.signing.trustroot import CertificateAuthority


@dataclass(frozen=True, slots=True)
class VerifiedTime:
    """When a signature existed at the latest, and who says so."""

    moment: datetime
    source: str
    """Unique per authority or log: what thresholds count."""


def verify_timestamps(
    responses: Sequence[bytes],
    signature: bytes,
    authorities: Sequence[CertificateAuthority],
) -> tuple[VerifiedTime, ...]:
    """The times that trusted authorities vouch for, one per authority.

    Args:
        responses: DER; those of unknown authorities are passed over.
        signature: what was stamped.
        authorities: trusted, each only in its own time.

    Raises:
        RejectedError: if there are responses and none is by a trusted authority.
    """
    verified: dict[str, VerifiedTime] = {}
    reasons: list[str] = []
    for data in responses:
        try:
            response = decode_timestamp_response(data)
        except ValueError:
            reasons.append("it is no timestamp response")
            continue
        for number, authority in enumerate(authorities):
            reason = _check(response, signature, authority)
            if reason is None:
                moment = response.tst_info.gen_time.astimezone(UTC)
                source = f"timestamp authority {number}"
                verified.setdefault(source, VerifiedTime(moment, source))
                break
            reasons.append(reason)
    if responses and not verified:
        why = reasons[0] if reasons else "no timestamp authority is trusted"
        raise RejectedError(f"no timestamp is by a trusted authority: {why}")
    return tuple(verified.values())


def _check(
    response: TimeStampResponse, signature: bytes, authority: CertificateAuthority
) -> str | None:
    first = authority.chain[0]
    leaf = first if len(authority.chain) > 1 and not _is_ca(first) else None
    intermediates = [one for one in authority.chain[:-1] if one != leaf]
    verifier = VerifierBuilder(
        tsa_certificate=leaf, intermediates=intermediates, roots=[authority.root]
    ).build()
    try:
        verifier.verify_message(response, signature)
        moment = response.tst_info.gen_time.astimezone(UTC)
    except (VerificationError, ValueError) as error:
        # What the library adds after the colon is OpenSSL's error stack.
        return str(error).partition(":")[0][:160] or "it does not verify"
    if moment not in authority.valid_for:
        return f"the authority is not trusted at {moment.isoformat()}"
    return None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
