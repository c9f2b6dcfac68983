"""HTTP for all of Plimsoll: bounded, retried, resumable, guarded."""

from __future__ import annotations

from plimsoll.http.answers import NotModified, Response, Timeouts
from plimsoll.http.client import Http
from plimsoll.http.download import Download
from plimsoll.http.errors import (
    AddressRefusedError,
    DigestError,
    HttpConnectionError,
    HttpError,
    HttpTimeoutError,
    StorageError,
    TooLargeError,
    public_url,
)
from plimsoll.http.retry import NO_RETRY, RetryPolicy, retrying

__all__ = [
    "NO_RETRY",
    "AddressRefusedError",
    "DigestError",
    "Download",
    "Http",
    "HttpConnectionError",
    "HttpError",
    "HttpTimeoutError",
    "NotModified",
    "Response",
    "RetryPolicy",
    "StorageError",
    "Timeouts",
    "TooLargeError",
    "public_url",
    "retrying",
]
