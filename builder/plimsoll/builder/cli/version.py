"""``plimsoll version``."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version as version_of

import click

from plimsoll.builder.cli.imagecommand import ImageCommand


@click.command(cls=ImageCommand)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def version(*, as_json: bool) -> None:
    """Say which version this is, and on what it runs."""
    value = {
        "version": version_of("plimsoll"),
        "python": platform.python_version(),
        "isal": version_of("isal"),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }
    if as_json:
        click.echo(json.dumps(value))
        return
    for name, text in value.items():
        click.echo(f"{name:9} {text}")
