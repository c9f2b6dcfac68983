"""``plimsoll step``: one step of a build inside a Job; see ``plimsoll.api.steps``."""

from __future__ import annotations

import asyncio
import sys
import traceback
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from plimsoll.api.steps import BuildRequest, StepResult
    from plimsoll.signing.statementsigner import StatementSigner

TERMINATION_LOG = Path("/dev/termination-log")

_request = click.option(
    "--request",
    "request_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The request (JSON).",
)
_result = click.option(
    "--result",
    "result_file",
    type=click.Path(path_type=Path),
    default=TERMINATION_LOG,
    show_default=True,
    help="Where the result goes.",
)
_lock = click.option(
    "--plan-lock", "--lock", "lock", metavar="DIGEST", required=True, help="Lock of the plan."
)


@click.group()
def step() -> None:
    """Run one step of a build inside a Job of the operator.

    Exit status: 0 done, 1 try again, 3 something must be changed first.
    """


@step.command()
@_request
@_result
def plan(request_file: Path, result_file: Path) -> None:
    """Resolve the packages of all architectures into one lock."""

    async def run(request: BuildRequest) -> StepResult:
        from plimsoll.builder.steps.plan import plan as work  # noqa: PLC0415

        async with _engine(request) as engine:
            return await work(engine, request)

    _run(request_file, result_file, run)


@step.command()
@_request
@_result
@_lock
@click.option("--arch", required=True, help="Architecture.")
def assemble(request_file: Path, result_file: Path, lock: str, arch: str) -> None:
    """Make the image of one architecture and push it by digest."""

    async def run(request: BuildRequest) -> StepResult:
        from plimsoll.arch import Arch  # noqa: PLC0415
        from plimsoll.builder.steps.assemble import assemble as work  # noqa: PLC0415

        async with _engine(request) as engine:
            return await work(engine, request, Arch.parse(arch), lock)

    _run(request_file, result_file, run)


@step.command()
@_request
@_result
@_lock
@click.option(
    "--assembled",
    multiple=True,
    metavar="JSON",
    help="Result of an assemble step, once for each architecture.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="ARCH=DIGEST",
    help="The same in short.",
)
@click.option(
    "--key",
    "--signing-key-dir",
    "key",
    type=click.Path(path_type=Path),
    help="Folder with cosign.key and cosign.password. Without it nothing is signed.",
)
@click.option(
    "--keyless",
    type=click.Path(path_type=Path),
    help="Folder with signing_config.json, trusted_root.json and token: sign as whom the OIDC "
    "token names, with a certificate for minutes.",
)
def seal(  # noqa: PLR0913, PLR0917  (click passes options as arguments)
    request_file: Path,
    result_file: Path,
    lock: str,
    assembled: tuple[str, ...],
    images: tuple[str, ...],
    key: Path | None,
    keyless: Path | None,
) -> None:
    """Push the index; sign and attest it and every image below it."""

    async def run(request: BuildRequest) -> StepResult:
        from plimsoll.api.steps import AssembleResult  # noqa: PLC0415
        from plimsoll.builder.steps.seal import seal as work  # noqa: PLC0415

        results = [AssembleResult.model_validate_json(text) for text in assembled]
        for text in images:
            arch, _, digest = text.partition("=")
            results.append(AssembleResult(arch=arch, digest=digest, size=0, sbom=""))
        async with _signer(request, key, keyless) as signer:
            return await work(request, results, lock, signer)

    _run(request_file, result_file, run)


@step.command()
@_request
@_result
@click.option("--digest", required=True, help="The sealed index.")
@click.option("--tag", "tags", multiple=True, required=True, help="A tag to move.")
@click.option("--plan-lock", "--lock", "lock", metavar="DIGEST", help="Not used.")
def promote(
    request_file: Path, result_file: Path, digest: str, tags: tuple[str, ...], lock: str | None
) -> None:
    """Move the tags to the sealed index."""
    del lock

    async def run(request: BuildRequest) -> StepResult:
        from plimsoll.builder.steps.promote import promote as work  # noqa: PLC0415

        return await work(request, digest, tags)

    _run(request_file, result_file, run)


@asynccontextmanager
async def _signer(
    request: BuildRequest, key: Path | None, keyless: Path | None
) -> AsyncIterator[StatementSigner | None]:
    """Who signs, if anybody."""
    if key is not None:
        from plimsoll.signing.privatekey import load_key_directory  # noqa: PLC0415
        from plimsoll.signing.statementsigner import KeyStatements  # noqa: PLC0415

        yield KeyStatements(load_key_directory(key))
    elif keyless is not None:
        from plimsoll.signing.keylesssign import keyless_signer, read_signing_folder  # noqa: PLC0415

        # The servers are the words of whoever wrote the ImageBuild.
        hosts = frozenset(request.trusted_hosts)
        config, root, token = read_signing_folder(keyless)
        async with keyless_signer(config, root, token, trusted_hosts=hosts) as signer:
            yield signer
    else:
        yield None


def _engine(request: BuildRequest) -> Any:
    """The engine with the cache of this Job; it asks no host that only this node should reach."""
    from plimsoll.builder.engine import Engine  # noqa: PLC0415
    from plimsoll.builder.settings import Events, Settings  # noqa: PLC0415
    from plimsoll.builder.store import default_cache_dir  # noqa: PLC0415

    def say(text: str) -> None:
        click.echo(text, err=True)

    return Engine(
        Settings(cache_dir=default_cache_dir(), trusted_hosts=frozenset(request.trusted_hosts)),
        Events(say=say, warn=say),
    )


def _run(
    request_file: Path,
    result_file: Path,
    work: Callable[[BuildRequest], Coroutine[Any, Any, StepResult]],
) -> None:
    """Run a step, write its result, and exit with the status that its kind has."""
    from plimsoll.api.steps import (  # noqa: PLC0415  (start-up time of --help)
        EXIT_PERMANENT,
        EXIT_RETRY,
        StepFailure,
        dump,
    )
    from plimsoll.builder.steps.common import read_request  # noqa: PLC0415

    try:
        result: StepResult | StepFailure = asyncio.run(work(read_request(request_file)))
        status = 0
    except Error as error:
        status = EXIT_RETRY if error.retryable else EXIT_PERMANENT
        text = f"{error.message} ({error.hint})" if error.hint else error.message
        result = StepFailure(reason=error.reason, message=text, retryable=error.retryable)
        click.echo(f"error: {text}", err=True)
    except Exception as error:  # noqa: BLE001  (a Job's last words must be readable)
        traceback.print_exc()
        status = EXIT_PERMANENT
        result = StepFailure(reason="InternalError", message=repr(error), retryable=False)
    message = dump(result)
    click.echo(message.decode())
    # Outside a container there is no termination log, unless a file is named.
    if result_file != TERMINATION_LOG or result_file.exists():
        result_file.write_bytes(message)
    sys.exit(status)
