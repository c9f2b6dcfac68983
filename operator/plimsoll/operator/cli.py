"""``plimsoll operator``."""

from __future__ import annotations

import click


@click.command()
def operator() -> None:
    """Run the Kubernetes operator.

    Settings come from the environment: PLIMSOLL_IMAGE (required: the image that build Jobs run),
    PLIMSOLL_NAMESPACES, PLIMSOLL_CLUSTER_NAME, PLIMSOLL_INSECURE_REGISTRIES, PLIMSOLL_HTTP_PORT,
    PLIMSOLL_WORKERS, PLIMSOLL_LOG_LEVEL and others. The cluster is that of KUBECONFIG or of the
    pod's ServiceAccount.
    """
    import asyncio  # noqa: PLC0415  the command line starts quickly without these

    from plimsoll.operator import logs  # noqa: PLC0415
    from plimsoll.operator.main import serve  # noqa: PLC0415
    from plimsoll.operator.settings import Settings  # noqa: PLC0415

    settings = Settings.load()
    logs.configure(settings.log_level)
    asyncio.run(serve(settings))
