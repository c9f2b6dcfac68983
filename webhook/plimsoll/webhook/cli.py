"""``plimsoll webhook``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from plimsoll.oci.insecure import insecure_registries
from plimsoll.webhook.settings import Settings

_DEFAULT = Settings()


@click.command(
    context_settings={"auto_envvar_prefix": "PLIMSOLL_WEBHOOK", "show_default": True},
    epilog="Which namespaces are guarded stands in the ValidatingWebhookConfiguration.",
)
@click.option("--host", default=_DEFAULT.host, help="Address to listen on.")
@click.option("--port", default=_DEFAULT.port, help="Port for admission reviews (TLS).")
@click.option("--health-port", default=_DEFAULT.health_port, help="Port for health and metrics.")
@click.option(
    "--no-match",
    type=click.Choice(["allow", "warn", "deny"]),
    default=_DEFAULT.no_match,
    help="What happens to an image that no policy matches.",
)
@click.option(
    "--timeout",
    default=_DEFAULT.timeout,
    help="timeoutSeconds of the webhook configuration; the answer comes a little earlier.",
)
@click.option(
    "--insecure-registry",
    "insecure",
    multiple=True,
    help="Registry (host:port) without TLS; $PLIMSOLL_INSECURE_REGISTRIES has several with commas.",
)
@click.option(
    "--pod-pull-secrets/--no-pod-pull-secrets",
    default=_DEFAULT.pod_pull_secrets,
    help="Read private registries with the pull secrets of the pod and its ServiceAccount.",
)
@click.option(
    "--sigstore-policies/--no-sigstore-policies",
    default=_DEFAULT.sigstore_policies,
    help="Honour ClusterImagePolicies of policy.sigstore.dev too.",
)
@click.option(
    "--default-trust-root",
    default=_DEFAULT.default_trust_root,
    help="TrustRoot for policies that name none; else the public instance of Sigstore.",
)
@click.option(
    "--exception-namespace",
    "exception_namespaces",
    multiple=True,
    envvar="PLIMSOLL_WEBHOOK_EXCEPTION_NAMESPACES",
    help="Namespace whose ImagePolicyExceptions count; the variable has several with spaces.",
)
@click.option(
    "--allow-no-authorities",
    is_flag=True,
    help="Let a policy without authorities admit the images it matches.",
)
@click.option("--success-seconds", default=_DEFAULT.success_seconds, help="Memory of passes.")
@click.option("--failure-seconds", default=_DEFAULT.failure_seconds, help="Memory of failures.")
@click.option(
    "--namespace-selector",
    default=_DEFAULT.namespace_selector,
    help="Labels of guarded namespaces, for --background.",
)
@click.option(
    "--exempt-namespace",
    "exempt_namespaces",
    multiple=True,
    envvar="PLIMSOLL_WEBHOOK_EXEMPT_NAMESPACES",
    help="Namespace that is never guarded; the variable has several with spaces.",
)
@click.option(
    "--background/--no-background",
    default=_DEFAULT.background,
    help="Judge running pods again when policies change, and write reports.",
)
@click.option(
    "--background-seconds", default=_DEFAULT.background_seconds, help="Between two looks at all."
)
@click.option(
    "--background-rate",
    type=click.FloatRange(min=0.01),
    default=_DEFAULT.background_rate,
    help="Images a second that --background asks registries about.",
)
@click.option(
    "--tracing",
    default=_DEFAULT.tracing,
    show_default=False,
    help="OpenTelemetry collector (OTLP over HTTP) that gets spans; needs plimsoll[tracing].",
)
@click.option(
    "--alerts",
    type=click.Path(path_type=Path),
    help="YAML file of receivers who are told of refusals and findings.",
)
@click.option("--drain-seconds", default=_DEFAULT.drain_seconds, help="Answering after SIGTERM.")
@click.option(
    "--tls-cert", type=click.Path(path_type=Path), help="Certificate file; else self-managed."
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="Key file of --tls-cert.")
@click.option("--tls-secret", default=_DEFAULT.tls_secret, help="Secret of the own authority.")
@click.option("--service", default=_DEFAULT.service, help="Service in front of the webhook.")
@click.option(
    "--configuration",
    default=_DEFAULT.configuration,
    help="ValidatingWebhookConfiguration that is told of the own authority.",
)
@click.option(
    "--mutating-configuration",
    default=_DEFAULT.mutating_configuration,
    show_default=False,
    help="MutatingWebhookConfiguration by which pods get digests; without it none does.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    envvar="PLIMSOLL_LOG_LEVEL",
    help="Least important line that is logged.",
)
def webhook(  # noqa: PLR0913  one parameter for each option
    *,
    host: str,
    port: int,
    health_port: int,
    no_match: str,
    timeout: float,
    insecure: tuple[str, ...],
    pod_pull_secrets: bool,
    sigstore_policies: bool,
    default_trust_root: str,
    exception_namespaces: tuple[str, ...],
    allow_no_authorities: bool,
    success_seconds: float,
    failure_seconds: float,
    namespace_selector: str,
    exempt_namespaces: tuple[str, ...],
    background: bool,
    background_seconds: float,
    background_rate: float,
    tracing: str,
    alerts: Path | None,
    drain_seconds: float,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_secret: str,
    service: str,
    configuration: str,
    mutating_configuration: str,
    log_level: str,
) -> None:
    """Run the admission webhook.

    It refuses pods whose images do not satisfy the ClusterImagePolicies, and warns about
    workloads whose pods it would refuse.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    # The server is slow to import, and ``--help`` does without it.
    from plimsoll.kube.config import KubeConfig  # noqa: PLC0415
    from plimsoll.webhook.log import configure  # noqa: PLC0415
    from plimsoll.webhook.run import run  # noqa: PLC0415

    configure(log_level)
    settings = Settings(
        host=host,
        port=port,
        health_port=health_port,
        no_match=no_match,  # type: ignore[arg-type]  # click has checked it
        timeout=timeout,
        insecure_registries=insecure_registries(insecure),
        pod_pull_secrets=pod_pull_secrets,
        sigstore_policies=sigstore_policies,
        default_trust_root=default_trust_root,
        exception_namespaces=frozenset(exception_namespaces),
        allow_no_authorities=allow_no_authorities,
        success_seconds=success_seconds,
        failure_seconds=failure_seconds,
        namespace_selector=namespace_selector,
        exempt_namespaces=frozenset(exempt_namespaces),
        background=background,
        background_seconds=background_seconds,
        background_rate=background_rate,
        tracing=tracing,
        alerts=alerts,
        drain_seconds=drain_seconds,
        tls_files=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        tls_secret=tls_secret,
        service=service,
        configuration=configuration,
        mutating_configuration=mutating_configuration,
    )
    asyncio.run(run(settings, KubeConfig.load()))
