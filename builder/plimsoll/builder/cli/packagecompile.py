"""``plimsoll package compile``, ``query`` and ``package-version``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.arch import Arch
from plimsoll.builder.cli.packageoptions import compile_options, load, load_options
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from plimsoll.builder.package.compile import Compiled


@click.command("compile")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--arch", default="host", show_default=True, help="Architecture to compile for.")
@compile_options
@click.option(
    "--format",
    "style",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="How to print the compiled configuration.",
)
@click.option(
    "--scripts",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write every script, exactly as it is run, into this folder too.",
)
@click.option("--trace", is_flag=True, help="In these scripts, print each command.")
def compile_(config: Path, arch: str, style: str, **options: Any) -> None:
    """Print CONFIG as one architecture's build runs it.

    Every variable is replaced, pipelines stand where they are used, and what a condition excludes
    is gone.
    """
    from plimsoll.builder.package.compile import compile_package  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.library import Library  # noqa: PLC0415
    from plimsoll.builder.package.show import to_plain, to_yaml  # noqa: PLC0415
    from plimsoll.builder.package.targets import architectures  # noqa: PLC0415

    loaded = load(config, options)
    wanted = Arch.parse(arch)
    if wanted not in architectures(loaded.config):
        allowed = ", ".join(map(str, architectures(loaded.config)))
        raise PackageConfigError(
            f"{loaded.document.place(('package', 'target-architecture'))}: the package is not for "
            f"{wanted}",
            hint=f"choose with --arch: {allowed}",
        )
    compiled = compile_package(
        loaded,
        Library(options["pipeline_dirs"]),
        wanted,
        options=options["build_options"],
        libc=options["libc"],
    )
    if options["scripts"]:
        _write_scripts(compiled, options["scripts"], trace=options["trace"])
    if style == "json":
        click.echo(json.dumps(to_plain(compiled.config), indent=2))
    else:
        click.echo(to_yaml(compiled.config), nl=False)


def _write_scripts(compiled: Compiled, folder: Path, *, trace: bool) -> None:
    with storage_errors(f"writing scripts to {folder}"):
        groups = [("", compiled.scripts)]
        groups.append(("test-", {name: test.scripts for name, test in compiled.tests.items()}))
        for prefix, scripts in groups:
            for package, items in scripts.items():
                target = folder / f"{prefix}{package}"
                target.mkdir(parents=True, exist_ok=True)
                for number, script in enumerate(items, 1):
                    slug = re.sub(r"[^A-Za-z0-9]+", "-", script.name).strip("-")[:60]
                    path = target / f"{number:03}-{slug or 'step'}.sh"
                    path.write_text(f"#!/bin/sh\n{script.shell(trace=trace)}")
                    path.chmod(0o755)


@click.command("query")
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("template")
@load_options
def query(config: Path, template: str, **options: Any) -> None:
    """Print what TEMPLATE says of CONFIG.

    \b
    For example: '{{ .Package.Name }}-{{ .Package.Version }}'
                 '{{ range .Subpackages }}{{ .Name }} {{ end }}'
    """  # noqa: D301  (click looks for the control character)
    from plimsoll.builder.package.query import query as ask  # noqa: PLC0415  (start-up time)

    click.echo(ask(load(config, options).config, template))


@click.command("package-version")
@click.argument("config", type=click.Path(path_type=Path))
@load_options
def package_version(config: Path, **options: Any) -> None:
    """Print name, version and epoch of CONFIG's package."""
    package = load(config, options).config.package
    click.echo(f"{package.name}-{package.full_version}")
