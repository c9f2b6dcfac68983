"""What a registry can do wrong, in words for the person who waits for the image."""

from __future__ import annotations

from plimsoll.errors import Error


class InvalidReferenceError(Error):
    """A text that is no image reference or no digest."""

    reason = "InvalidReference"


class InvalidManifestError(Error):
    """Bytes that are no manifest, or one beyond the limits of a well-meaning registry."""

    reason = "InvalidManifest"


class InvalidDockerConfigError(Error):
    """A docker configuration that cannot be read, or a credential helper that fails."""

    reason = "InvalidDockerConfig"


class LayoutError(Error):
    """A directory or archive that is no OCI image layout, or lacks a blob."""

    reason = "InvalidLayout"


class RegistryError(Error):
    """A registry did not do what it was asked.

    Attributes:
        host: the registry, with its port.
        repository: the repository without the host; empty where none was concerned.
        status: the HTTP status; 0 where there was no answer.
        code: the registry's own error code (distribution-spec, "Error Codes"), or empty.
    """

    reason = "RegistryError"

    def __init__(  # noqa: PLR0913  all by name, all optional
        self,
        message: str,
        *,
        hint: str | None = None,
        host: str = "",
        repository: str = "",
        status: int = 0,
        code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.host = host
        self.repository = repository
        self.status = status
        self.code = code
        self.retry_after = retry_after


class RegistryUnauthorizedError(RegistryError):
    """401: no credentials, or credentials that the registry does not know."""

    reason = "RegistryUnauthorized"


class RegistryForbiddenError(RegistryError):
    """403: known credentials without the right to do this."""

    reason = "RegistryForbidden"


class ImageNotFoundError(RegistryError):
    """404: no such repository, tag, manifest or blob."""

    reason = "ImageNotFound"


class RegistryUnavailableError(RegistryError):
    """The registry is not reachable, too busy, or broken at the moment."""

    reason = "RegistryUnavailable"
    retryable = True


class RegistryTimeoutError(RegistryUnavailableError):
    """The registry did not answer in time."""

    reason = "RegistryTimeout"


class DigestMismatchError(RegistryError):
    """The bytes are not those that the digest names."""

    reason = "DigestMismatch"


class ResponseTooLargeError(RegistryError):
    """An answer beyond the limit that was set for it."""

    reason = "ResponseTooLarge"
