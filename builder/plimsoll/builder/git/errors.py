"""What can go wrong with a Git repository."""

from __future__ import annotations

from plimsoll.errors import Error


class GitError(Error):
    """A repository cannot be had, or does not hold what was asked for."""

    reason = "GitFailed"


class GitBusyError(GitError):
    """A repository cannot be had now; the same call may succeed later."""

    retryable = True


class NotSignedError(Error):
    """A commit or tag is not signed by anybody who may."""

    reason = "NotSigned"
