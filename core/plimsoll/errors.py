"""The one base of every error a person can meet."""

from __future__ import annotations

import errno
import re

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


#: What steers a terminal, turns the reading direction, or cannot be encoded.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """``text`` as it may be shown anywhere; only tabs and line feeds are left of what is unseen."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


class Error(Exception):
    """Something went wrong that a person can act on.

    What strangers wrote may stand in both texts: they are made ``visible``.

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
        message = visible(message)
        super().__init__(message)
        self.message = message
        self.hint = hint and visible(hint)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message
