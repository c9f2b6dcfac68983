"""``plimsoll package update-cache``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.packageoptions import compile_options, load
from plimsoll.builder.cli.packagesources import credentials_option, prefetcher, signed_option

if TYPE_CHECKING:
    from plimsoll.builder.package.compile import Compiled


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
@credentials_option
@signed_option
def update_cache(config: Path, archs: tuple[str, ...], cache_dir: Path, **options: Any) -> None:
    """Fetch the sources of CONFIG into a folder, so that a build needs no network for them.

    Each file has the name of its checksum, each Git repository a copy below 'git'; paths are
    printed on standard output. What is there already is checked and kept.
    """
    from plimsoll.builder.package.compile import compile_package  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.library import Library  # noqa: PLC0415
    from plimsoll.builder.package.targets import architectures  # noqa: PLC0415

    loaded = load(config, options)
    library = Library(options["pipeline_dirs"])
    chosen = options["build_options"]
    compiled = [
        compile_package(loaded, library, arch, options=chosen, libc=options["libc"])
        for arch in architectures(loaded.config, archs)
    ]
    for path in asyncio.run(_fetch(compiled, cache_dir, options)):
        click.echo(path)


async def _fetch(compiled: list[Compiled], folder: Path, options: dict[str, Any]) -> list[Path]:
    from plimsoll.http import Http  # noqa: PLC0415  (start-up time)

    async with Http() as http:
        get = await asyncio.to_thread(
            prefetcher, http, folder, options, lambda line: click.echo(line, err=True)
        )
        distinct = {
            (source.uses, *sorted(source.inputs.items())): source
            for item in compiled
            for source in (await get.verified(item)).sources
        }
        return await get.fetch(list(distinct.values()))
