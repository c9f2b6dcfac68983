"""The steps of ``plimsoll step`` that build packages; see ``plimsoll.api.packagesteps``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.builder.cli.stepjob import conclude, request_option, result_option, step_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.api.packagesteps import PackageStepResult

_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_plan = click.option("--plan", "plan_digest", metavar="DIGEST", required=True, help="The plan.")
_package = click.option("--package", "name", required=True, help="Name of the configuration.")
_arch = click.option("--arch", required=True, help="Architecture.")
_token = click.option("--token", required=True, help="Opens the outbox.")


_key = click.option(
    "--key", type=_FOLDER, required=True, help="Folder with the signing key NAME.rsa."
)
_previous = click.option(
    "--previous-key",
    "previous",
    type=_FOLDER,
    multiple=True,
    help="Folder with a key that signs too while keys change.",
)


@click.command()
@result_option
@_key
@_previous
def keys(result_file: Path, key: Path, previous: tuple[Path, ...]) -> None:
    """Say which public keys belong to the signing keys."""

    async def run() -> bytes:
        from plimsoll.api.packagesteps import dump  # noqa: PLC0415  (start-up time of --help)
        from plimsoll.builder.steps.packagekeys import package_keys  # noqa: PLC0415

        return dump(package_keys(key, previous))

    conclude(run, result_file)


@click.command()
@request_option
@result_option
def plan(request_file: Path, result_file: Path) -> None:
    """Find which packages can be built now, and push the plan."""

    async def run(request: PackageRequest) -> PackageStepResult:
        from plimsoll.builder.steps.packageplan import plan_packages  # noqa: PLC0415

        async with step_engine(request) as engine:
            return await plan_packages(engine, request)

    _run(request_file, result_file, run)


@click.command()
@request_option
@result_option
@_plan
@_package
@_arch
def prepare(request_file: Path, result_file: Path, plan_digest: str, name: str, arch: str) -> None:
    """Fetch the sources of a package, and push the image that builds it."""

    async def run(request: PackageRequest) -> PackageStepResult:
        from plimsoll.arch import Arch  # noqa: PLC0415
        from plimsoll.builder.steps.packageprepare import prepare_package  # noqa: PLC0415

        async with step_engine(request) as engine:
            return await prepare_package(engine, request, plan_digest, name, Arch.parse(arch))

    _run(request_file, result_file, run)


@click.command()
@click.option("--folder", type=_FOLDER, required=True, help="What the build left.")
@_token
@click.option("--host", default="", help="Address to listen on. Default: all.")
@click.option("--port", default=8080, show_default=True, help="Port to listen on.")
@click.option("--patience", default=3600, show_default=True, help="Seconds to wait in all.")
@result_option
def outbox(  # noqa: PLR0913, PLR0917  (click passes options as arguments)
    folder: Path, token: str, host: str, port: int, patience: int, result_file: Path
) -> None:
    """Serve a folder as a tar over HTTP, until the collector has it."""

    async def run() -> bytes:
        from plimsoll.builder.steps.packageoutbox import serve_outbox  # noqa: PLC0415

        def ready(number: int) -> None:
            click.echo(f"listening on port {number}")

        await serve_outbox(folder, token, host=host, port=port, patience=patience, ready=ready)
        return b"{}"

    conclude(run, result_file)


@click.command()
@request_option
@result_option
@_plan
@_package
@_arch
@click.option("--guest", metavar="DIGEST", required=True, help="The image that built it.")
@click.option("--outbox", "url", metavar="URL", required=True, help="Where its output is.")
@_token
def collect(  # noqa: PLR0913, PLR0917  (click passes options as arguments)
    request_file: Path,
    result_file: Path,
    plan_digest: str,
    name: str,
    arch: str,
    guest: str,
    url: str,
    token: str,
) -> None:
    """Make unsigned packages of the output of a build, and an image for every test."""

    async def run(request: PackageRequest) -> PackageStepResult:
        from plimsoll.arch import Arch  # noqa: PLC0415
        from plimsoll.builder.steps.packagecollect import Outbox, collect_package  # noqa: PLC0415

        place = Outbox(url, token)
        async with step_engine(request) as engine:
            return await collect_package(
                engine, request, plan_digest, name, Arch.parse(arch), guest, place
            )

    _run(request_file, result_file, run)


@click.command()
@request_option
@result_option
@_arch
@click.option("--plan", "plan_digest", metavar="DIGEST", help="Not used.")
@click.option("--artifact", "artifacts", multiple=True, metavar="DIGEST", help="Unsigned packages.")
@_key
@_previous
def publish(  # noqa: PLR0913, PLR0917  (click passes options as arguments)
    request_file: Path,
    result_file: Path,
    arch: str,
    plan_digest: str | None,
    artifacts: tuple[str, ...],
    key: Path,
    previous: tuple[Path, ...],
) -> None:
    """Sign packages and move the index of one architecture."""
    del plan_digest

    async def run(request: PackageRequest) -> PackageStepResult:
        from plimsoll.arch import Arch  # noqa: PLC0415
        from plimsoll.builder.steps.packagepublish import (  # noqa: PLC0415
            publish_packages,
            read_signing_key,
        )

        keys = [read_signing_key(folder) for folder in (key, *previous)]
        return await publish_packages(request, Arch.parse(arch), artifacts, keys)

    _run(request_file, result_file, run)


def _run(
    request_file: Path,
    result_file: Path,
    work: Callable[[PackageRequest], Coroutine[Any, Any, PackageStepResult]],
) -> None:
    from plimsoll.api.packagerequest import PackageRequest  # noqa: PLC0415  (start-up time)
    from plimsoll.api.packagesteps import dump  # noqa: PLC0415
    from plimsoll.builder.steps.common import parse_request  # noqa: PLC0415

    async def run() -> bytes:
        return dump(await work(parse_request(PackageRequest, request_file)))

    conclude(run, result_file)
