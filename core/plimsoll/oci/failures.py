"""Turns what HTTP and a registry say into the errors of this package."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NoReturn

from plimsoll.errors import Error
from plimsoll.http.errors import (
    AddressRefusedError,
    DigestError,
    HttpError,
    HttpTimeoutError,
    TooLargeError,
)
from plimsoll.http.retry import retry_after_seconds
from plimsoll.oci.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    RegistryError,
    RegistryForbiddenError,
    RegistryTimeoutError,
    RegistryUnauthorizedError,
    RegistryUnavailableError,
    ResponseTooLargeError,
)
from plimsoll.oci.strictjson import load_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plimsoll.oci.reference import Reference

_KINDS: tuple[tuple[type[HttpError], type[RegistryError]], ...] = (
    (HttpTimeoutError, RegistryTimeoutError),
    (TooLargeError, ResponseTooLargeError),
    (DigestError, DigestMismatchError),
)
ERROR_BODY_LIMIT = 64 << 10


class RegistryAddressRefusedError(RegistryError):
    """The registry sent us to an address where it has no business sending us."""

    reason = AddressRefusedError.reason


@contextlib.contextmanager
def unwrapped(ref: Reference) -> Iterator[None]:
    """Raise an ``HttpError`` inside as a ``RegistryError`` about ``ref``."""
    try:
        yield
    except HttpError as error:
        kind: type[RegistryError] = RegistryUnavailableError if error.retryable else RegistryError
        if isinstance(error, AddressRefusedError):
            kind = RegistryAddressRefusedError
        for source, target in _KINDS:
            if isinstance(error, source):
                kind = target
        raise kind(
            error.message,
            hint=error.hint,
            host=ref.registry,
            repository=ref.repository,
            status=error.status,
            retry_after=error.retry_after,
        ) from error


def raise_for(  # noqa: PLR0913  an answer has that many parts
    ref: Reference,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    what: str,
    hint: str = "",
) -> NoReturn:
    """Raise the error that a status means.

    Args:
        ref: what was asked about.
        status: HTTP status.
        headers: of the answer.
        body: of the answer; the registry's own code and words are taken from it.
        what: what was tried: ``read the manifest latest``.
        hint: what to do about 401 and 403.
    """
    code, words = _own_words(body)
    said = ": ".join(item for item in (code, words) if item)
    tail = f": {said}" if said else ""
    kind: type[RegistryError] = RegistryError
    message = f"{ref.registry} answered {status} when asked to {what} in {ref.repository}{tail}"
    advice: str | None = None
    retry_after = None
    if status == 401:
        kind, advice = RegistryUnauthorizedError, hint
        message = (
            f"{ref.registry} wants a login, or another one, to {what} in {ref.repository}{tail}"
        )
    elif status == 403:
        kind = RegistryForbiddenError
        advice = hint or "ask for the right to do this, or use another login"
        message = f"{ref.registry} does not allow us to {what} in {ref.repository}{tail}"
    elif status == 404:
        kind, advice = (
            ImageNotFoundError,
            "check the names of repository and tag; it may have been deleted",
        )
        message = f"{ref.registry} found nothing when asked to {what} in {ref.repository}{tail}"
    elif status in {408, 425, 429} or status in {500, 502, 503, 504}:
        from datetime import UTC, datetime  # noqa: PLC0415  only for this rare case

        kind = RegistryUnavailableError
        advice = "it is busy; try later" if status == 429 else "try later"
        retry_after = retry_after_seconds(headers.get("Retry-After"), datetime.now(UTC))
    raise kind(
        message,
        hint=advice or None,
        host=ref.registry,
        repository=ref.repository,
        status=status,
        code=code,
        retry_after=retry_after,
    )


def _own_words(body: bytes) -> tuple[str, str]:
    """Code and message of the first error (distribution-spec, "Error Codes"), made harmless."""
    try:
        errors = load_object(body, what="error", max_size=ERROR_BODY_LIMIT).get("errors")
    except Error:
        return "", ""
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return "", ""
    return _harmless(first.get("code"), 60), _harmless(first.get("message"), 200)


def _harmless(value: object, limit: int) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(c if c.isprintable() else " " for c in text[:limit]).strip()
