"""What can be wrong with keys and evidence."""

from __future__ import annotations

from plimsoll.errors import Error


class SigningError(Error):
    """Base of the errors of this package."""

    reason = "SigningError"


class InvalidKeyError(SigningError):
    """Bytes that are no key, or a key too weak to trust."""

    reason = "InvalidKey"


class WrongPasswordError(InvalidKeyError):
    """A private key that the given password does not open."""

    reason = "WrongKeyPassword"


class InvalidEvidenceError(SigningError):
    """A bundle, envelope, statement or payload that does not follow its format."""

    reason = "InvalidEvidence"


class RejectedError(SigningError):
    """Well-formed evidence that does not prove what is wanted."""

    reason = "EvidenceRejected"


class InvalidTrustRootError(SigningError):
    """A trust root that cannot be read."""

    reason = "InvalidTrustRoot"


class InvalidIdentityError(SigningError):
    """A rule about identities that cannot be one."""

    reason = "InvalidIdentity"


class InvalidSigningConfigError(SigningError):
    """A signing config that cannot be read, or names no server that can be used."""

    reason = "InvalidSigningConfig"


class IdentityTokenError(SigningError):
    """There is no OIDC token that says who signs, or it is of no use."""

    reason = "IdentityToken"


class SigningServiceError(SigningError):
    """A server that signing needs refused, failed, or answered nonsense."""

    reason = "SigningServiceFailed"

    def __init__(self, message: str, *, hint: str | None = None, retryable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable
