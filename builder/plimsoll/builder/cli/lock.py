"""``plimsoll lock``, ``show-packages``, ``show-config``."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import click

from plimsoll import outfile
from plimsoll.builder import record
from plimsoll.builder.cli.imagecommand import ImageCommand, examples
from plimsoll.builder.cli.options import config_options, read_inputs
from plimsoll.builder.cli.report import Report
from plimsoll.builder.engine import Engine
from plimsoll.builder.locking import complete
from plimsoll.builder.logins import Logins
from plimsoll.builder.store import storage_errors
from plimsoll.errors import visible

#: Named formats, as programs written in Go have them.
_FORMATS = {
    "name-version": "{name} {version}",
    "name-version-source": "{name} {version} {url}",
    "name=version": "{name}={version}",
    "name=version-source": "{name}={version} {url}",
    "name-(version)": "{name} ({version})",
    "name-(version)-source": "{name} ({version}) {url}",
    "packagelock": "- {name}={version}",
    "packagelock-source": "- {name}={version} # {url}",
}
#: Fields of their templates.
_GO_FIELDS = {"Name": "name", "Version": "version", "Source": "url"}
_GO_TEMPLATE = re.compile(r"\{\{-?\s*([^{}]*?)\s*-?\}\}")


@click.command(
    cls=ImageCommand,
    epilog=examples("lock app.yaml", "lock app.yaml --arch amd64 --output app.lock.json"),
)
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--output", type=click.Path(path_type=Path), help="The file. Default: CONFIG.lock.json."
)
@config_options
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
            outfile.write(target, finished.dump())
        return len(finished.contents.packages)

    count = asyncio.run(run())
    if inputs.as_json:
        click.echo(json.dumps({"lockfile": str(target), "packages": count}))
    else:
        click.echo(str(target))


@click.command(
    "show-packages",
    cls=ImageCommand,
    epilog=examples(
        "show-packages app.yaml",
        "show-packages app.yaml --arch amd64 --format packagelock",
        "show-packages app.yaml --format '{arch} {name} {size}'",
    ),
)
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "template",
    default="name-version",
    show_default=True,
    help="One line per package: 'name-version', 'name=version', 'name-(version)' or 'packagelock' "
    "(a line of a configuration), each with '-source' at its end if wanted; or a text with {name}, "
    "{version}, {arch}, {origin}, {size}, {repository}, {url}, or {{.Name}}, {{.Version}} and "
    "{{.Source}}.",
)
@config_options
def show_packages(config: Path, template: str, **options: Any) -> None:
    """Show which packages CONFIG means today, in install order.

    A line that several architectures have in common is shown once; with --compat apko, once for
    each.
    """
    inputs = read_inputs(config, options)

    async def run() -> list[dict[str, Any]]:
        async with Engine(inputs.settings) as engine:
            found, resolutions = await engine.resolve(inputs.config, inputs.archs)
        # What a base image holds has no address of its own.
        urls = {(p.architecture, p.name): p.url for p in found.contents.packages}
        return [
            {
                "name": package.name,
                "version": package.version,
                "arch": arch.apk,
                "origin": package.entry.origin,
                "size": package.entry.installed_size,
                "repository": package.repository.url,
                "url": urls.get((arch.apk, package.name), package.repository.url),
            }
            for arch, resolution in resolutions.items()
            for package in resolution.packages
        ]

    rows = asyncio.run(run())
    if inputs.as_json:
        click.echo(json.dumps(rows))
        return
    template = own_template(_FORMATS.get(template, template))
    try:
        lines = [template.format_map(row) for row in rows]
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise _no_template(template, str(error)) from None
    for line in lines if options["compat"] else dict.fromkeys(lines):
        click.echo(visible(line))


def own_template(text: str) -> str:
    """A template as ``str.format`` takes it, of one that programs written in Go take.

    Raises:
        click.BadParameter: it has more of Go's templates than fields.
    """

    def field(found: re.Match[str]) -> str:
        own = _GO_FIELDS.get(found[1].removeprefix("."))
        if own is None or not found[1].startswith("."):
            raise _no_template(text, f"nothing is known of {found[0]}")
        return f"{{{own}}}"

    return _GO_TEMPLATE.sub(field, text)


def _no_template(template: str, problem: str) -> click.BadParameter:
    return click.BadParameter(
        f"{template!r}: {problem}; fields are name, version, arch, origin, size, repository, url, "
        "or .Name, .Version, .Source in double braces",
        param_hint="--format",
    )


@click.command(
    "show-config", cls=ImageCommand, epilog=examples("show-config app.yaml -p curl > whole.yaml")
)
@click.argument("config", type=click.Path(path_type=Path))
@config_options
def show_config(config: Path, **options: Any) -> None:
    """Show CONFIG as one configuration, with its includes and all options applied.

    It is YAML, or JSON with --json; either is a configuration again.
    """
    from plimsoll import yaml12  # noqa: PLC0415  (start-up time)

    inputs = read_inputs(config, options)
    shown = json.loads(record.dump(Logins({}).strip_config(inputs.config)))
    value = {key: part for key, part in shown.items() if part}
    text = json.dumps(value, ensure_ascii=False) + "\n" if inputs.as_json else yaml12.dump(value)
    click.echo(text.encode(), nl=False)
