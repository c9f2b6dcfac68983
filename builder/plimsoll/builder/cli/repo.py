"""``plimsoll repo``."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.errors import Error

if TYPE_CHECKING:
    from plimsoll.builder.reposerver import RepositoryServer

#: Seconds that downloads under way may go on after a request to stop.
GRACE = 25.0
_CONNECTIONS = 256


class ListenError(Error):
    """An address that cannot be listened on."""

    reason = "ListenFailed"


@click.group()
def repo() -> None:
    """Package repositories in registries."""


@repo.command()
@click.argument("repository")
@click.option("--listen", default=":8080", show_default=True, help="ADDRESS:PORT; 0: a free port.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="Public key (or a folder of *.rsa.pub) to show at /NAME.rsa.pub.",
)
@click.option("--insecure-registry", "insecure", multiple=True, help="HOST:PORT without TLS.")
def serve(repository: str, listen: str, keys: tuple[Path, ...], insecure: tuple[str, ...]) -> None:
    """Show the packages in REPOSITORY (HOST/PATH of a registry) to apk clients over HTTP.

    Read-only, and open to everybody who can reach it. It stops on SIGTERM once downloads are done.
    """
    from plimsoll.oci.auth import Credentials  # noqa: PLC0415  (start-up time)
    from plimsoll.oci.insecure import insecure_registries  # noqa: PLC0415
    from plimsoll.oci.reference import Reference  # noqa: PLC0415
    from plimsoll.oci.registry import RegistryReader  # noqa: PLC0415

    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{listen!r} is not ADDRESS:PORT", param_hint="--listen")
    where = Reference.repository_of(repository.removeprefix("oci://"))
    public = {path.name: path.read_bytes() for path in _key_files(keys)}

    async def run() -> None:
        from plimsoll.builder.reposerver import RepositoryServer  # noqa: PLC0415

        async with RegistryReader(
            Credentials.default(),
            insecure=insecure_registries(insecure),
            concurrency=_CONNECTIONS,
        ) as registry:
            await _serve(RepositoryServer(registry, where, public), host.strip("[]"), int(port))

    asyncio.run(run())


def _key_files(paths: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += _in(path) if path.is_dir() else [path]
    return found


def _in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.rsa.pub") if path.is_file())


async def _serve(server: RepositoryServer, host: str, port: int) -> None:
    from aiohttp import web  # noqa: PLC0415  (start-up time)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=GRACE)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host or None, port).start()
        except OSError as error:
            raise ListenError(
                f"cannot listen on {host}:{port}: {error.strerror}",
                hint="choose another address with --listen",
            ) from None
        click.echo(f"listening on port {runner.addresses[0][1]}")
        await stop.wait()
        click.echo("stopping")
    finally:
        await runner.cleanup()
