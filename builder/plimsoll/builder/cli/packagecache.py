"""``plimsoll package update-cache``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.packageoptions import compile_options, load

if TYPE_CHECKING:
    from plimsoll.builder.package.compile import Source


@click.command("update-cache")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--arch", "archs", multiple=True, help="Architectures. Default: all.")
@compile_options
@click.option(
    "--cache-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("melange-cache"),
    show_default=True,
    help="Where to; give the same folder to 'package build'.",
)
def update_cache(config: Path, archs: tuple[str, ...], cache_dir: Path, **options: Any) -> None:
    """Fetch the sources of CONFIG into a folder, so that a build needs no network for them.

    Each file has the name of its checksum; paths are printed on standard output.
    """
    from plimsoll.builder.package.compile import compile_package  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.library import Library  # noqa: PLC0415
    from plimsoll.builder.package.targets import architectures  # noqa: PLC0415

    loaded = load(config, options)
    library = Library(options["pipeline_dirs"])
    chosen = options["build_options"]
    sources: list[Source] = []
    for arch in architectures(loaded.config, archs):
        compiled = compile_package(loaded, library, arch, options=chosen, libc=options["libc"])
        sources += compiled.sources
    for path in asyncio.run(_fetch(sources, cache_dir)):
        click.echo(path)


async def _fetch(sources: list[Source], folder: Path) -> list[Path]:
    from plimsoll.builder.package.sources import cache_sources  # noqa: PLC0415  (start-up time)
    from plimsoll.http import Http  # noqa: PLC0415

    async with Http() as http:
        return await cache_sources(http, sources, folder, lambda line: click.echo(line, err=True))
