"""``plimsoll package test``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.goflags import GoFlags, Seconds
from plimsoll.builder.cli.packageoptions import compile_options, load
from plimsoll.builder.cli.packagevalues import check_archs, read_environment

if TYPE_CHECKING:
    from plimsoll.builder.package.check import TestSettings
    from plimsoll.builder.package.compile import Compiled

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(cls=GoFlags)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("packages", nargs=-1)
@click.option("--arch", "archs", multiple=True, help="Architectures. Default: this machine's.")
@compile_options
@click.option("-k", "--keyring-append", multiple=True, help="Another key (path or URL).")
@click.option(
    "-r",
    "--repository-append",
    multiple=True,
    help="Another repository; that of the built packages among them.",
)
@click.option(
    "--test-package-append", multiple=True, help="Another package for the guest of every test."
)
@click.option("--ignore-signatures", is_flag=True, help="Take indexes that no known key signed.")
@click.option(
    "--apk-cache-dir", type=_FOLDER, help="The package cache. Default: PLIMSOLL_CACHE_DIR."
)
@click.option("--cache-dir", type=_FOLDER, help="Folder that steps find as /var/cache/melange.")
@click.option("--source-dir", type=_FOLDER, help="Folder whose files the steps find.")
@click.option("--network", is_flag=True, help="Let every step use the network.")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="NAME=VALUE lines for the steps.",
)
@click.option("--require-tests", is_flag=True, help="A package without a test is an error.")
@click.option("--record", type=_FOLDER, help="Write down in this folder what each guest held.")
@click.option(
    "--overlay-binsh",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file that steps find as /bin/sh.",
)
@click.option("-i", "--interactive", is_flag=True, help="Open a shell where a step failed.")
@click.option(
    "--timeout", type=Seconds(), default=0, help="Seconds (or 1h30m) that one test may take."
)
@click.option("--debug", is_flag=True, help="Print each command of the steps.")
def test(config: Path, packages: tuple[str, ...], archs: tuple[str, ...], **options: Any) -> None:
    """Run the tests of CONFIG, or those of PACKAGES of it.

    Each test runs in a guest of its own, which holds exactly the version that CONFIG names. Names
    of the packages that passed are printed on standard output.
    """
    from plimsoll.builder.package.compile import compile_package  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.library import Library  # noqa: PLC0415
    from plimsoll.builder.package.targets import architectures  # noqa: PLC0415

    loaded = load(config, options)
    chosen = architectures(loaded.config, archs or ["host"])
    library = Library(options["pipeline_dirs"])
    compiled = [
        compile_package(
            loaded, library, arch, options=options["build_options"], libc=options["libc"]
        )
        for arch in chosen
    ]
    check_archs(chosen, "bubblewrap")
    asyncio.run(_test(compiled, config, packages, options))


async def _test(
    compiled: list[Compiled], config: Path, packages: tuple[str, ...], options: dict[str, Any]
) -> None:
    from plimsoll.builder.engine import Engine  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.check import check_packages  # noqa: PLC0415
    from plimsoll.builder.settings import Settings  # noqa: PLC0415
    from plimsoll.builder.store import default_cache_dir  # noqa: PLC0415

    settings = _settings(config, options)
    engine_settings = Settings(
        cache_dir=options["apk_cache_dir"] or default_cache_dir(),
        ignore_signatures=options["ignore_signatures"],
    )
    async with Engine(engine_settings) as engine:
        for item in compiled:
            for name in await check_packages(engine, item, settings, packages):
                click.echo(f"{name}-{item.config.package.full_version}")


def _settings(config: Path, options: dict[str, Any]) -> TestSettings:
    from plimsoll.builder.package.check import TestSettings  # noqa: PLC0415  (start-up time)

    beside = config.parent / config.stem
    return TestSettings(
        repositories=options["repository_append"],
        keyring=options["keyring_append"],
        packages=options["test_package_append"],
        source=options["source_dir"] or (beside if beside.is_dir() else None),
        cache=options["cache_dir"].absolute() if options["cache_dir"] else None,
        record=options["record"],
        network=options["network"],
        environment=read_environment(options["env_file"]) if options["env_file"] else {},
        require=options["require_tests"],
        timeout=options["timeout"],
        trace=options["debug"],
        shell=options["overlay_binsh"].absolute() if options["overlay_binsh"] else None,
        interactive=options["interactive"],
        say=lambda line: click.echo(line, err=True),
    )
