"""``plimsoll sbom``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from plimsoll.builder.cli.options import config_options, read_inputs
from plimsoll.builder.cli.report import Report
from plimsoll.builder.engine import Engine
from plimsoll.builder.sbomfiles import in_format
from plimsoll.builder.store import storage_errors


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@config_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["spdx", "cyclonedx"]),
    default="spdx",
    show_default=True,
    help="SPDX 2.3 or CycloneDX 1.6, as JSON.",
)
@click.option(
    "--lockfile",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The image of exactly these packages.",
)
@click.option("--name", default="image", show_default=True, help="Repository of the image.")
@click.option("--output", type=click.Path(path_type=Path), help="A file instead of the screen.")
def sbom(config: Path, form: str, name: str, output: Path | None, **options: Any) -> None:
    """Write the bill of materials of the image that CONFIG describes, for one architecture.

    Every package of the image is in it, and every file that belongs to none. With several
    architectures it is that of the first one.
    """
    inputs = read_inputs(config, options)
    arch = inputs.archs[0]
    report = Report(inputs.progress)

    async def run() -> bytes:
        async with Engine(inputs.settings, report.events) as engine:
            lock = inputs.lock
            if lock is None:
                lock, _ = await engine.resolve(inputs.config, [arch], origin=inputs.origin)
            image = await engine.build(inputs.config, lock, arch, name=name)
        return image.sbom

    document = in_format(asyncio.run(run()), form)
    if output is None:
        click.echo(document.decode(), nl=False)
        return
    with storage_errors(f"writing {output}"):
        output.write_bytes(document)
