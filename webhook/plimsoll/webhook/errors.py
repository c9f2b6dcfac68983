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
