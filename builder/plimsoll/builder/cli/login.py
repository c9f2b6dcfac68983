"""``plimsoll login``."""

from __future__ import annotations

import re
import sys

import click

from plimsoll.builder.cli.imagecommand import ImageCommand, examples


@click.command(
    cls=ImageCommand,
    epilog=examples("login registry.example -u me --password-stdin < password.txt"),
)
@click.argument("registry")
@click.option("-u", "--username", required=True, help="User name.")
@click.option("-p", "--password", help="Password; seen by everybody who lists processes.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def login(registry: str, username: str, password: str | None, *, password_stdin: bool) -> None:
    """Keep a login for REGISTRY in docker's configuration, or in the store that it names.

    Without --password or --password-stdin the password is asked for on a terminal.
    """
    from plimsoll.builder.registrylogin import (  # noqa: PLC0415  (start-up time)
        docker_config_path,
        save_login,
    )

    if password is not None and password_stdin:
        raise click.UsageError("--password and --password-stdin exclude each other")
    if password is None:
        if password_stdin or not sys.stdin.isatty():
            password = sys.stdin.read().rstrip("\r\n")
        else:
            password = click.prompt("Password", hide_input=True)
    if not password:
        raise click.UsageError("the password is empty")
    host = registry.removeprefix("https://").removeprefix("http://").strip("/")
    if not re.fullmatch(r"[A-Za-z0-9.\-\[\]:]+(/[a-z0-9._/-]+)?", host):
        raise click.UsageError(f"{registry!r} is no registry: write registry.example:5000")
    place = save_login(docker_config_path(), host, username, password)
    click.echo(f"login for {host} kept in {place}")
