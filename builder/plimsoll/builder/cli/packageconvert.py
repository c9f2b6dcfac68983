"""``plimsoll package convert``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.builder.cli.goflags import GoFlags
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from plimsoll.builder.convert.draft import Draft

_KINDS = ("apkbuild", "crate", "gem", "go", "npm", "python")


@click.command(cls=GoFlags)
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("name")
@click.option("--package-version", default="", help="Version. Default: the newest.")
@click.option(
    "--index-url",
    "--base-uri-format",
    default="",
    help="The registry. Default: what the ecosystem's own client is told on this machine.",
)
@click.option("--python-version", default="3", show_default=True, help="Python to build for.")
@click.option("--ruby-version", default="3.4", show_default=True, help="Ruby to build for.")
@click.option(
    "-o",
    "--out-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write NAME.yaml into this folder. Default: standard output.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def convert(kind: str, name: str, *, out_dir: Path | None, force: bool, **options: str) -> None:
    """Write a first configuration of a project.

    NAME is a project of a Python index, an npm, gem or crate registry, an import path of Go, or a
    file called APKBUILD, which is read and not run. What is not certain stands in comments at the
    top; read all of it before you build it.
    """
    from plimsoll.builder.convert.draft import write  # noqa: PLC0415  (start-up time)

    draft = _read(Path(name)) if kind == "apkbuild" else asyncio.run(_ask(kind, name, options))
    text = write(draft, f"the APKBUILD of {draft.name}" if kind == "apkbuild" else f"{kind} {name}")
    if out_dir is None:
        click.echo(text, nl=False)
        return
    path = out_dir / f"{draft.name}.yaml"
    if path.exists() and not force:
        raise click.UsageError(f"{path} is there already; --force replaces it")
    with storage_errors(f"writing {path}"):
        out_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    click.echo(path)


def _read(path: Path) -> Draft:
    from plimsoll.builder.convert import apkbuild  # noqa: PLC0415  (start-up time)

    with storage_errors(f"reading {path}"):
        file = path / "APKBUILD" if path.is_dir() else path
        return apkbuild.convert(file.read_text(errors="replace"))


async def _ask(kind: str, name: str, options: dict[str, str]) -> Draft:
    from plimsoll.builder.convert import crate, gem, gomodule, npm, python  # noqa: PLC0415
    from plimsoll.builder.convert.indexes import Machine, find_index  # noqa: PLC0415
    from plimsoll.http import Http  # noqa: PLC0415

    index = find_index(kind, options["index_url"], Machine(os.environ, Path.home()))
    version = options["package_version"]
    async with Http() as http:
        if kind == "python":
            return await python.convert(http, index, name, version, options["python_version"])
        if kind == "gem":
            return await gem.convert(http, index, name, version, options["ruby_version"])
        converters = {"npm": npm.convert, "go": gomodule.convert, "crate": crate.convert}
        return await converters[kind](http, index, name, version)
