"""``plimsoll sbom``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from plimsoll import outfile
from plimsoll.builder.cli.imagecommand import ImageCommand, examples
from plimsoll.builder.cli.options import config_options, read_inputs
from plimsoll.builder.cli.registry import insecure_option, open_registry
from plimsoll.builder.cli.report import Report
from plimsoll.builder.engine import Engine
from plimsoll.builder.sbomfiles import in_format
from plimsoll.builder.store import storage_errors


@click.command(
    cls=ImageCommand,
    epilog=examples(
        "sbom app.yaml --output app.spdx.json",
        "sbom registry.example/app:1 --arch arm64 --format cyclonedx",
    ),
)
@click.argument("what", metavar="CONFIG|IMAGE")
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
@click.option(
    "--name", help="Repository of the image. Default: that of IMAGE, or 'image' for a CONFIG."
)
@click.option("--output", type=click.Path(path_type=Path), help="A file instead of the screen.")
@insecure_option
@config_options
def sbom(what: str, form: str, name: str | None, output: Path | None, **options: Any) -> None:
    """Write the bill of materials of an image, for one architecture.

    CONFIG is a configuration file, whose image is built for it. IMAGE is an image that exists: a
    reference to a registry, an OCI layout (a folder), or a .tar file. Every package of the image's
    database is in the document, and every file that belongs to none. With several architectures it
    is that of the first one.
    """
    if is_image(what):
        made = _existing(what, name, options)
    else:
        made = _built(Path(what), name or "image", options)
    document = in_format(asyncio.run(made), form)
    if output is None:
        click.echo(document, nl=False)
        return
    with storage_errors(f"writing {output}"):
        outfile.write(output, document)


def is_image(what: str) -> bool:
    """Whether an argument names an image that exists, and no configuration."""
    from plimsoll.builder.imagesource import is_image_file  # noqa: PLC0415  (start-up time)

    path = Path(what)
    if path.exists():
        return is_image_file(path)
    return path.suffix not in {".yaml", ".yml", ".json"}


async def _built(config: Path, name: str, options: dict[str, Any]) -> bytes:
    inputs = read_inputs(config, options)
    arch = inputs.archs[0]
    report = Report(inputs.progress)
    async with Engine(inputs.settings, report.events) as engine:
        lock = inputs.lock
        if lock is None:
            lock, _ = await engine.resolve(inputs.config, [arch], origin=inputs.origin)
        image = await engine.build(inputs.config, lock, arch, name=name)
    return image.sbom


async def _existing(what: str, name: str | None, options: dict[str, Any]) -> bytes:
    from plimsoll.arch import Arch  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.imagesbom import sbom_of  # noqa: PLC0415
    from plimsoll.builder.imagesource import open_image  # noqa: PLC0415
    from plimsoll.oci.reference import Reference  # noqa: PLC0415

    archs = [one for text in options["archs"] for one in text.split(",") if one]
    arch = Arch.parse(archs[0]) if archs else None
    report = Report(options["progress"])
    async with open_image(what, arch, lambda: open_registry(options["insecure"])) as image:
        if name is None:
            exists = await asyncio.to_thread(Path(what).exists)
            name = Path(what).stem if exists else Reference.parse(what).repository
        return await sbom_of(image, name, report.warn)
