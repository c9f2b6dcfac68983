"""The one base of every error a person can meet."""

from __future__ import annotations

import errno

_ADVICE = {
    errno.ENOSPC: "free some space, or choose another directory",
    errno.EDQUOT: "free some of your quota, or choose another directory",
    errno.ENOENT: "make the directory first, or choose another",
    errno.EACCES: "choose a directory that you may write, or change its owner",
    errno.EROFS: "choose a directory that is not read-only",
}


def write_advice(error: OSError) -> str:
    """What helps when a file could not be written."""
    return _ADVICE.get(error.errno or 0, "choose another directory")


class Error(Exception):
    """Something went wrong that a person can act on.

    Args:
        message: what happened and where, in one sentence.
        hint: what to do next; printed after the message.
    """

    #: Whether the same call may succeed later with nothing changed (a network fault, a 503, a
    #: full queue). A build step exits 1 for these and 3 for all others; see ``plimsoll.api.steps``.
    retryable: bool = False

    #: CamelCase word for a Kubernetes condition or event. Subclasses set it.
    reason: str = "Error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message
