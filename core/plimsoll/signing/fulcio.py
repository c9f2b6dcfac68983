"""Whom a certificate of Fulcio was issued to (Fulcio's ``oid-info.md``)."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from plimsoll.signing.errors import RejectedError
from plimsoll.signing.results import Identity

#: Fulcio's extensions: number → name. 1 to 6 are raw strings, the rest DER UTF8String.
FULCIO_ARC: Final = "1.3.6.1.4.1.57264.1."
CLAIMS: Final[dict[int, str]] = {
    1: "issuer",
    2: "githubWorkflowTrigger",
    3: "githubWorkflowSha",
    4: "githubWorkflowName",
    5: "githubWorkflowRepository",
    6: "githubWorkflowRef",
    8: "issuerV2",
    9: "buildSignerURI",
    10: "buildSignerDigest",
    11: "runnerEnvironment",
    12: "sourceRepositoryURI",
    13: "sourceRepositoryDigest",
    14: "sourceRepositoryRef",
    15: "sourceRepositoryIdentifier",
    16: "sourceRepositoryOwnerURI",
    17: "sourceRepositoryOwnerIdentifier",
    18: "buildConfigURI",
    19: "buildConfigDigest",
    20: "buildTrigger",
    21: "runInvocationURI",
    22: "sourceRepositoryVisibilityAtSigning",
    23: "deploymentEnvironment",
    24: "tokenSubject",
}
_OTHER_NAME: Final = f"{FULCIO_ARC}7"
_LAST_RAW: Final = 6
_UTF8_TAG: Final = 0x0C


def certificate_identity(leaf: x509.Certificate) -> Identity:
    """Whom a certificate was issued to.

    Raises:
        RejectedError: if it has not exactly one subject.
    """
    claims = _claims(leaf)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise RejectedError("the certificate names no subject") from None
    subjects = [text for name in names if (text := _general_name(name)) is not None]
    if len(subjects) != 1 or len(list(names)) != 1:
        raise RejectedError("the certificate does not name exactly one subject")
    issuer = claims.get("issuerV2") or claims.get("issuer") or ""
    return Identity(
        kind="certificate",
        id=f"{issuer}#{subjects[0]}",
        subject=subjects[0],
        issuer=issuer,
        claims=claims,
    )


def _general_name(name: x509.GeneralName) -> str | None:
    if isinstance(name, x509.RFC822Name | x509.UniformResourceIdentifier):
        return name.value
    if isinstance(name, x509.OtherName) and name.type_id.dotted_string == _OTHER_NAME:
        return _utf8_string(name.value)
    return None


def _claims(leaf: x509.Certificate) -> dict[str, str]:
    claims: dict[str, str] = {}
    for extension in leaf.extensions:
        oid = extension.oid.dotted_string
        number = oid.removeprefix(FULCIO_ARC)
        if number == oid or not number.isdigit() or int(number) not in CLAIMS:
            continue
        raw = extension.value.public_bytes()
        text = _raw_string(raw) if int(number) <= _LAST_RAW else _utf8_string(raw)
        if text is None:
            raise RejectedError(f"the certificate's extension {oid} is malformed")
        claims[CLAIMS[int(number)]] = text
    return claims


def _raw_string(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _utf8_string(data: bytes) -> str | None:
    """Decode a DER UTF8String that fills ``data``."""
    if len(data) < 2 or data[0] != _UTF8_TAG:
        return None
    length, start = data[1], 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 3:
            return None
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    return _raw_string(data[start:]) if len(data) == start + length else None
