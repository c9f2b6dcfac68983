"""``plimsoll lock``, ``show-packages``, ``show-config``."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import click

from plimsoll.builder import record
from plimsoll.builder.cli.imagecommand import ImageCommand
from plimsoll.builder.cli.options import config_options, read_inputs
from plimsoll.builder.cli.report import Report
from plimsoll.builder.engine import Engine
from plimsoll.builder.locking import complete
from plimsoll.builder.store import storage_errors

_FORMATS = {"name-version": "{name} {version}", "packagelock": "- {name}={version}"}
#: Fields of templates as programs written in Go have them.
_GO_FIELDS = {"Name": "name", "Version": "version", "Source": "repository"}


@click.command(cls=ImageCommand)
@click.argument("config", type=click.Path(path_type=Path))
@config_options
@click.option(
    "--output", type=click.Path(path_type=Path), help="The file. Default: CONFIG.lock.json."
)
def lock(config: Path, output: Path | None, **options: Any) -> None:
    """Write down exactly which packages CONFIG means today."""
    inputs = read_inputs(config, options)
    target = output or config.with_suffix(".lock.json")

    async def run() -> int:
        report = Report(inputs.progress)
        async with Engine(inputs.settings, report.events) as engine:
            found, _ = await engine.resolve(inputs.config, inputs.archs, origin=inputs.origin)
            report.resolved(found)
            finished = complete(found, await engine.packages(found))
        with storage_errors(f"writing {target}"):
            target.write_bytes(finished.dump())
        return len(finished.contents.packages)

    count = asyncio.run(run())
    if inputs.as_json:
        click.echo(json.dumps({"lockfile": str(target), "packages": count}))
    else:
        click.echo(str(target))


@click.command("show-packages", cls=ImageCommand)
@click.argument("config", type=click.Path(path_type=Path))
@config_options
@click.option(
    "--format",
    "template",
    default="name-version",
    show_default=True,
    help="One line per package: 'name-version', 'packagelock' (name=version), or a text with "
    "{name}, {version}, {arch}, {origin}, {size}, {repository}; {{.Name}}, {{.Version}} and "
    "{{.Source}} are understood too.",
)
def show_packages(config: Path, template: str, **options: Any) -> None:
    """Show which packages CONFIG means today, in install order."""
    inputs = read_inputs(config, options)

    async def run() -> list[dict[str, Any]]:
        async with Engine(inputs.settings) as engine:
            _, resolutions = await engine.resolve(inputs.config, inputs.archs)
        return [
            {
                "name": package.name,
                "version": package.version,
                "arch": arch.apk,
                "origin": package.entry.origin,
                "size": package.entry.installed_size,
                "repository": package.repository.url,
            }
            for arch, resolution in resolutions.items()
            for package in resolution.packages
        ]

    rows = asyncio.run(run())
    if inputs.as_json:
        click.echo(json.dumps(rows))
        return
    template = _FORMATS.get(template, template)
    for go, own in _GO_FIELDS.items():
        template = re.sub(rf"\{{\{{\s*\.{go}\s*\}}\}}", f"{{{own}}}", template)
    try:
        lines = [template.format(**row) for row in rows]
    except (KeyError, IndexError, ValueError) as error:
        raise click.BadParameter(
            f"{template!r}: {error}; fields are name, version, arch, origin, size, repository",
            param_hint="--format",
        ) from None
    for line in dict.fromkeys(lines):
        click.echo(line)


@click.command("show-config", cls=ImageCommand)
@click.argument("config", type=click.Path(path_type=Path))
@config_options
def show_config(config: Path, **options: Any) -> None:
    """Show CONFIG as JSON with its includes and all options applied."""
    inputs = read_inputs(config, options)
    click.echo(json.dumps(json.loads(record.dump(inputs.config)), indent=2, ensure_ascii=False))
