"""``plimsoll package``: a table of sub-commands, each imported only when it is asked for."""

from __future__ import annotations

import importlib

import click

_HERE = "plimsoll.builder.cli"

#: Command name → (``module:attribute``, one-line help).
COMMANDS: dict[str, tuple[str, str]] = {
    "build": (f"{_HERE}.packagebuild:build", "Build packages from a configuration."),
    "bump": (f"{_HERE}.packagebump:bump", "Write a new version into a configuration."),
    "compile": (f"{_HERE}.packagecompile:compile_", "Show exactly what a build would run."),
    "index": (f"{_HERE}.packagesign:index", "Make the index of a repository."),
    "keygen": (f"{_HERE}.packagesign:keygen", "Make a key that signs packages."),
    "license-check": (
        f"{_HERE}.licencecheck:license_check_command",
        "Compare declared licences with the sources.",
    ),
    "lint": (f"{_HERE}.lint:lint_command", "Look for what is wrong in packages."),
    "package-version": (
        f"{_HERE}.packagecompile:package_version",
        "Print name and version of a package.",
    ),
    "query": (f"{_HERE}.packagecompile:query", "Ask a configuration by a template."),
    "scan": (f"{_HERE}.scan:scan_command", "Show what packages need and offer."),
    "sign": (f"{_HERE}.packagesign:sign", "Sign packages."),
    "test": (f"{_HERE}.packagetest:test", "Test built packages."),
    "sign-index": (f"{_HERE}.packagesign:sign_index", "Sign an index."),
    "update-cache": (
        f"{_HERE}.packagecache:update_cache",
        "Fetch sources into a folder for builds.",
    ),
}


class _Commands(click.Group):
    """Imports a command when it is used, to keep start-up short."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(cls=_Commands)
def package() -> None:
    """Build packages from declarative configurations."""
