"""What an administrator can set; the chart passes it as options or ``PLIMSOLL_WEBHOOK_…``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

#: A namespace is guarded when it carries this label with the value ``true``. The selector of the
#: ValidatingWebhookConfiguration decides; the webhook answers whatever it is asked.
NAMESPACE_LABEL = "policy.plimsoll.dev/include"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of the webhook."""

    host: str = "0.0.0.0"  # noqa: S104  a pod's address is not known before it runs
    port: int = 8443
    health_port: int = 8081
    """Plain HTTP: ``/healthz``, ``/readyz``, ``/metrics``."""

    no_match: Literal["allow", "warn", "deny"] = "deny"
    """What happens to an image that no policy matches. A namespace is guarded because somebody
    asked for it, so what nobody vouched for stays out."""

    timeout: float = 10.0
    """``timeoutSeconds`` of the webhook configuration; the answer comes ``margin`` earlier."""

    margin: float = 1.5
    drain_seconds: float = 5.0
    """How long requests are still answered after the process was asked to end."""

    sigstore_policies: bool = True
    default_trust_root: str = ""
    """TrustRoot for policies that name none; empty: the public instance of Sigstore."""

    exception_namespaces: frozenset[str] = frozenset()
    """Namespaces whose ImagePolicyExceptions count."""

    allow_no_authorities: bool = False
    pod_pull_secrets: bool = True
    """Read private registries with the pull secrets of the pod and its ServiceAccount too."""

    insecure_registries: frozenset[str] = frozenset()
    """Registries (host:port) spoken to over plain HTTP."""

    success_seconds: float = 300.0
    """How long an image that passed is not looked at again. What a verdict rests on is part of
    its key, so only evidence that was removed meanwhile goes unnoticed."""

    failure_seconds: float = 5.0
    """How long an image that failed is not looked at again."""

    namespace_selector: str = f"{NAMESPACE_LABEL}=true"
    """Labels of guarded namespaces; for what runs already."""

    exempt_namespaces: frozenset[str] = frozenset()
    """Namespaces that are never guarded, whatever their labels."""

    background: bool = False
    """Judge what runs already, too."""

    background_seconds: float = 3600.0
    """How often, if policies stay the same: reports and signatures may change in registries."""

    background_rate: float = 5.0
    """Images a second that are asked about anew."""

    tracing: str = ""
    """Endpoint of an OpenTelemetry collector (OTLP over HTTP); empty: no spans."""

    alerts: Path | None = None
    """File of those who are told of refusals and findings."""

    cache_size: int = 20_000
    concurrency: int = 32
    """Images whose evidence is read at the same time."""

    tls_files: tuple[Path, Path] | None = None
    """Certificate and key files, read again when they change; ``None``: self-managed."""

    tls_secret: str = "plimsoll-webhook-tls"  # noqa: S105  the name of an object
    """Secret that holds the self-managed authority and certificate."""

    service: str = "plimsoll-webhook"
    """Service in front of the webhook; its name stands in the certificate."""

    mutating_configuration: str = ""
    """MutatingWebhookConfiguration that sends new pods to ``/mutate`` to get digests; empty: the
    webhook changes nothing."""

    configuration: str = "plimsoll-webhook"
    """ValidatingWebhookConfiguration that gets the authority's certificate."""

    @property
    def deadline(self) -> float:
        """Seconds after which a request is answered with a denial."""
        return max(self.timeout - self.margin, self.timeout / 2)
