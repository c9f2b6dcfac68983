"""How a step runs in its Job: with which engine, and what it says at its end."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.errors import Error, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.api.steps import BuildRequest

TERMINATION_LOG = Path("/dev/termination-log")

request_option = click.option(
    "--request",
    "request_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The request (JSON).",
)
result_option = click.option(
    "--result",
    "result_file",
    type=click.Path(path_type=Path),
    default=TERMINATION_LOG,
    show_default=True,
    help="Where the result goes.",
)


def step_engine(request: BuildRequest | PackageRequest) -> Any:
    """The engine with the cache of this Job; it asks no host that only this node should reach."""
    from plimsoll.builder.engine import Engine  # noqa: PLC0415
    from plimsoll.builder.events import Events  # noqa: PLC0415
    from plimsoll.builder.settings import Settings  # noqa: PLC0415
    from plimsoll.builder.store import default_cache_dir  # noqa: PLC0415
    from plimsoll.oci.insecure import VARIABLE, insecure_registries  # noqa: PLC0415

    def say(text: str) -> None:
        click.echo(visible(text), err=True)

    # Repositories in registries are read by the engine, which knows only the environment.
    os.environ[VARIABLE] = ",".join(sorted(insecure_registries(request.insecure_registries)))
    return Engine(
        Settings(cache_dir=default_cache_dir(), trusted_hosts=frozenset(request.trusted_hosts)),
        Events(say=say, warn=say),
    )


def conclude(work: Callable[[], Coroutine[Any, Any, bytes]], result_file: Path) -> None:
    """Do the work of a step, write its result, and exit with the status that its kind has."""
    from plimsoll.api.steps import (  # noqa: PLC0415  (start-up time of --help)
        EXIT_PERMANENT,
        EXIT_RETRY,
        StepFailure,
        dump,
    )

    try:
        message = asyncio.run(work())
        status = 0
    except Error as error:
        status = EXIT_RETRY if error.retryable else EXIT_PERMANENT
        text = f"{error.message} ({error.hint})" if error.hint else error.message
        message = dump(StepFailure(reason=error.reason, message=text, retryable=error.retryable))
        click.echo(f"error: {text}", err=True)
    except Exception as error:  # noqa: BLE001  (a Job's last words must be readable)
        traceback.print_exc()
        status = EXIT_PERMANENT
        message = dump(StepFailure(reason="InternalError", message=repr(error), retryable=False))
    click.echo(message.decode())
    # Outside a container there is no termination log, unless a file is named.
    if result_file != TERMINATION_LOG or result_file.exists():
        result_file.write_bytes(message)
    sys.exit(status)
