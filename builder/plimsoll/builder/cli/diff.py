"""``plimsoll diff``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.builder.cli.imagecommand import ImageCommand, examples
from plimsoll.builder.cli.registry import insecure_option, open_registry

if TYPE_CHECKING:
    from plimsoll.builder.view import View


@click.command(
    cls=ImageCommand,
    epilog=examples(
        "diff registry.example/app:1 registry.example/app:2",
        "diff old.lock.json new.lock.json --exit-code",
        "diff registry.example/app:1 app.tar --arch arm64 --format html > changes.html",
    ),
)
@click.argument("before")
@click.argument("after")
@click.option("--arch", help="Architecture to compare. Default: the first one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    show_default=True,
    help="How to show it.",
)
@click.option("--exit-code", is_flag=True, help="Exit with status 1 if there is a difference.")
@insecure_option
def diff(  # noqa: PLR0913  (one argument per option)
    before: str,
    after: str,
    arch: str | None,
    form: str,
    *,
    exit_code: bool,
    insecure: tuple[str, ...],
) -> None:
    """Show what differs between two images, locks or SBOMs.

    BEFORE and AFTER are each an image in a registry, an OCI layout (a folder or a .tar file), a
    lock, or an SPDX or CycloneDX document.
    """
    from plimsoll.builder import diffrender  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.diff import difference  # noqa: PLC0415

    async def run() -> tuple[View, View]:
        return (
            await _view(before, arch, insecure),
            await _view(after, arch, insecure),
        )

    found = difference(*asyncio.run(run()))
    if form == "json":
        click.echo(json.dumps(found.to_dict(), indent=2))
    elif form == "html":
        click.echo(diffrender.html(found).encode(), nl=False)
    else:
        click.echo(diffrender.text(found))
    if exit_code and found:
        raise SystemExit(1)


async def _view(name: str, arch: str | None, insecure: tuple[str, ...]) -> View:
    from plimsoll.arch import Arch  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.imagesource import is_image_file, open_image  # noqa: PLC0415
    from plimsoll.builder.view import file_view, image_view  # noqa: PLC0415

    path = Path(name)
    if await asyncio.to_thread(path.exists) and not await asyncio.to_thread(is_image_file, path):
        return await asyncio.to_thread(file_view, path, arch)
    wanted = Arch.parse(arch) if arch else None
    async with open_image(name, wanted, lambda: open_registry(insecure)) as image:
        return await image_view(image)
