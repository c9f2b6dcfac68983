"""What all commands around images have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from plimsoll.builder.cli.goflags import GoFlags
from plimsoll.errors import Error, visible

_LEVEL = "plimsoll.log-level"


class ImageCommand(GoFlags):
    """A command that takes the options of the whole program too.

    With ``--log-level debug`` it shows where an error comes from.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        workdir_option(self)
        log_level_option(self)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See ``click.Command.parse_args``; names go into documents, which are text."""
        for arg in args:
            try:
                arg.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"{visible(arg)!r} is no UTF-8 text", ctx) from None
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """See ``click.Command.invoke``."""
        try:
            return super().invoke(ctx)
        except (Error, OSError):
            if log_level() == "debug":
                import traceback  # noqa: PLC0415  (start-up time)

                traceback.print_exc()
            raise


def examples(*lines: str) -> str:
    """What stands below the help of a command.

    Args:
        lines: command lines, without the program's name.
    """
    # The first character keeps click from filling the lines.
    return "\b\nExamples:\n" + "\n".join(f"  plimsoll {line}" for line in lines)


def log_level() -> str:
    """What ``--log-level`` says: ``debug``, ``info``, ``warn`` or ``error``."""
    context = click.get_current_context(silent=True)
    return str(context.meta.get(_LEVEL, "info")) if context is not None else "info"


def _change_folder(ctx: click.Context, _: click.Parameter, folder: Path | None) -> None:
    if folder is None or ctx.resilient_parsing:
        return
    try:
        os.chdir(folder)
    except OSError as error:
        raise click.BadParameter(f"{folder}: {error.strerror}", param_hint="--workdir") from None


def _keep_level(ctx: click.Context, _: click.Parameter, level: str | None) -> None:
    if level is not None:
        ctx.meta[_LEVEL] = level


workdir_option = click.option(
    "-C",
    "--workdir",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_change_folder,
    help="The folder to work in. Default: the current one.",
)
log_level_option = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warn", "error"], case_sensitive=False),
    is_eager=True,
    expose_value=False,
    callback=_keep_level,
    help="How much to say on standard error. Default: info; debug shows where errors come from.",
)
