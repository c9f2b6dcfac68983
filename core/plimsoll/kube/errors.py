"""What goes wrong between us and a Kubernetes API server."""

from __future__ import annotations

from plimsoll.errors import Error


class KubeError(Error):
    """The Kubernetes API answered with an error or not at all.

    Attributes:
        status: the HTTP status; 0 without an answer.
    """

    reason = "KubernetesApi"

    def __init__(self, message: str, *, status: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retryable = status in {0, 408, 409, 429} or status >= 500


class KubeConfigError(Error):
    """No API server is known, or a kubeconfig cannot be used."""

    reason = "NotConfigured"
