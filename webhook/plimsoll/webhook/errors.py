"""What stops the webhook from deciding."""

from __future__ import annotations

from plimsoll.errors import Error


class BadReviewError(Error):
    """A request that is no AdmissionReview, or one this webhook does not understand."""

    reason = "BadReview"


class NotConfiguredError(Error):
    """A setting or file that the webhook needs is missing or wrong."""

    reason = "NotConfigured"


class UndecidedError(Error):
    """Evidence could not be read, so nothing can be said about an image; never a pass."""

    reason = "Undecided"
    retryable = True


class DeadlineError(UndecidedError):
    """The time that the API server waits is nearly over."""

    reason = "DeadlineExceeded"


class KubeApiError(Error):
    """The Kubernetes API answered with an error or not at all.

    Attributes:
        status: the HTTP status; 0 without an answer.
    """

    reason = "KubernetesApi"

    def __init__(self, message: str, *, status: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retryable = status in {0, 408, 409, 429} or status >= 500
