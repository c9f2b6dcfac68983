"""``reference/commands.md``: every command, argument and option."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from docs_reference.markdown import NOTE, code, prose, table
from plimsoll.cli.main import COMMANDS, cli

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """# Commands

`plimsoll COMMAND --help` shows the same.

Errors go to standard error, one line that says what happened and, indented below it, a hint. Exit
status: 0 done, 1 an error, 2 wrong usage, 130 interrupted. Commands that have further ones say so
below.
"""


def render() -> str:
    """The page."""
    root = click.Context(cli, info_name="plimsoll")
    overview = table(
        ["command", ""],
        (
            [f"[`plimsoll {name}`](#plimsoll-{name})", prose(COMMANDS[name][1])]
            for name in sorted(COMMANDS)
        ),
    )
    body = "\n".join(section for name in sorted(COMMANDS) for section in _sections(name, root, 2))
    return f"{NOTE}\n{_HEAD}\n{overview}\n{body}"


def context(command: click.Command, name: str, parent: click.Context) -> click.Context:
    """The context that the command line would make, which names environment variables."""
    return click.Context(command, parent=parent, info_name=name, **command.context_settings)


def _sections(name: str, parent: click.Context, level: int) -> Iterator[str]:
    group = parent.command
    assert isinstance(group, click.Group)
    command = group.get_command(parent, name)
    assert command is not None
    ctx = context(command, name, parent)
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    parts = [f"{'#' * level} {ctx.command_path}\n", f"    {usage}\n", _help(command)]
    options = [o for o in command.get_params(ctx) if isinstance(o, click.Option) and not o.hidden]
    rows = [_option(option, ctx) for option in options if "--help" not in option.opts]
    if rows:
        parts.append(table(["option", "meaning", "default", "environment"], rows))
    if command.epilog and command.epilog.startswith("\b\nExamples:"):
        lines = (line.strip() for line in command.epilog.splitlines()[2:])
        parts.append("".join(f"    {line}\n" for line in lines))
    elif command.epilog:
        parts.append(f"{prose(command.epilog)}\n")
    yield "\n".join(parts)
    if isinstance(command, click.Group):
        for below in command.list_commands(ctx):
            yield from _sections(below, ctx, level + 1)


def _help(command: click.Command) -> str:
    paragraphs = re.split(r"\n\s*\n", (command.help or "").replace("\b", "").strip())
    return "\n\n".join(prose(" ".join(text.split())) for text in paragraphs) + "\n"


def _option(option: click.Option, ctx: click.Context) -> tuple[str, str, str, str]:
    names = ", ".join(option.opts)
    if option.secondary_opts:
        names += " / " + ", ".join(option.secondary_opts)
    metavar = "" if option.is_flag or option.count else f" {option.make_metavar(ctx)}"
    meaning = prose(option.help or "")
    notes = [
        word for word, on in (("required", option.required), ("repeatable", option.multiple)) if on
    ]
    if notes:
        meaning += f" ({', '.join(notes)})"
    return code(names + metavar), meaning, default_of(option, ctx), variable_of(option, ctx)


def default_of(option: click.Option, ctx: click.Context) -> str:
    """The default where it says something: not of flags that are off, not of empty lists."""
    info = option.get_help_extra(ctx)
    value = option.get_default(ctx, call=False)
    if option.secondary_opts and isinstance(value, bool):
        return code((option.opts if value else option.secondary_opts)[0])
    if info.get("default", "").strip('()"'):
        return code(str(info["default"]).removeprefix("(").removesuffix(")"))
    if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        return code(str(value))
    return ""


def variable_of(option: click.Option, ctx: click.Context) -> str:
    names = option.envvar
    if names is None and option.allow_from_autoenv and ctx.auto_envvar_prefix and option.name:
        names = f"{ctx.auto_envvar_prefix}_{option.name.upper()}"
    if names is None:
        return ""
    return ", ".join(code(name) for name in ([names] if isinstance(names, str) else names))
