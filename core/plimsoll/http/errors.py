"""What can go wrong between us and a server, without ever repeating a secret."""

from __future__ import annotations

from urllib.parse import urlsplit

from plimsoll.errors import Error

RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpError(Error):
    """A request that did not succeed.

    Attributes:
        status: the HTTP status; 0 where there was no answer.
        retry_after: seconds the server asked us to wait, where it did.
    """

    reason = "HttpError"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status: int = 0,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after
        self.retryable = status in RETRYABLE_STATUS if retryable is None else retryable


class HttpConnectionError(HttpError):
    """No connection, or one that broke."""

    reason = "ConnectionFailed"


class HttpTimeoutError(HttpError):
    """The server was too slow: to connect, to go on, or altogether."""

    reason = "Timeout"


class TooLargeError(HttpError):
    """An answer beyond the limit set for it."""

    reason = "ResponseTooLarge"


class AddressRefusedError(HttpError):
    """A server sent us to an address where it has no business sending us."""

    reason = "AddressRefused"


class DigestError(HttpError):
    """A download whose bytes are not those expected."""

    reason = "DigestMismatch"


class StorageError(Error):
    """A file could not be written: a full disk, a missing directory, missing rights."""

    reason = "StorageFailed"


def public_url(url: str) -> str:
    """``url`` without user information, query and fragment: fit for logs and errors."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        return "an unreadable URL"
    host = f"[{host}]" if ":" in host else host
    where = f"{host}:{port}" if port is not None else host
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    query = "?…" if parts.query else ""
    return f"{scheme}{where}{parts.path[:300]}{query}"
