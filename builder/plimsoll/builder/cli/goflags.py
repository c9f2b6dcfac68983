"""Options as programs written in Go take them, for scripts that were written for such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"0", "f", "false"})


class GoFlags(click.Command):
    """A command whose switches may be written ``--name=true`` and ``--name=false`` too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See ``click.Command.parse_args``."""
        switches = {
            name: option
            for option in self.params
            if isinstance(option, click.Option) and option.is_flag
            for name in option.opts
        }
        plain = []
        for number, arg in enumerate(args):
            if arg == "--":
                plain += args[number:]
                break
            name, equals, value = arg.partition("=")
            option = switches.get(name) if equals else None
            if option is None or value.lower() not in _TRUE | _FALSE:
                plain.append(arg)
            elif value.lower() in _TRUE:
                plain.append(name)
            elif option.secondary_opts:
                plain.append(option.secondary_opts[0])
        return super().parse_args(ctx, plain)


class Seconds(click.ParamType[int]):
    """Seconds, or a duration as Go writes it (``1h30m``)."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See ``click.ParamType.convert``."""
        from plimsoll.builder.package.packagemodel import read_seconds  # noqa: PLC0415  (start-up)

        try:
            return int(read_seconds(value))
        except ValueError:
            self.fail(f"{value!r} is no duration: write 90 (seconds), 90s or 1h30m", param, ctx)


def refused(name: str, why: str, **settings: Any) -> Callable[[F], F]:
    """An option that the command knows and does not take; ``why`` says what to do instead."""

    def refuse(_ctx: click.Context, _option: click.Parameter, value: Any) -> None:
        if value not in {None, False}:
            raise click.UsageError(f"{name} cannot be used here: {why}")

    return click.option(
        name, hidden=True, expose_value=False, callback=refuse, default=None, **settings
    )
