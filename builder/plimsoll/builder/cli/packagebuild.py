"""``plimsoll package build``."""

from __future__ import annotations

import asyncio
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.goflags import GoFlags, Seconds, refused
from plimsoll.builder.cli.packageoptions import compile_options, load
from plimsoll.builder.cli.packagesign import read_key
from plimsoll.builder.cli.packagesources import prepared, source_options
from plimsoll.builder.cli.packagevalues import (
    check_archs,
    configuration_origin,
    read_environment,
    source_date_epoch,
)

if TYPE_CHECKING:
    from plimsoll.builder.package.build import BuildSettings, Built
    from plimsoll.builder.package.compile import Compiled
    from plimsoll.builder.package.sbom import Origin

_ELSEWHERE = {
    "kubernetes": "the cluster builds packages that a PackageRepo names",
    "docker": "bubblewrap needs no daemon and no root",
    "lima": "run it inside the virtual machine",
    "qemu": "bubblewrap needs no virtual machine",
}


class Runner(click.Choice[str]):
    """Where steps run; those of melange that are not here are refused with what to do."""

    def __init__(self) -> None:
        super().__init__(["bubblewrap", "host"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See ``click.Choice.convert``."""
        if value in _ELSEWHERE:
            self.fail(f"there is no runner {value!r}: {_ELSEWHERE[value]}", param, ctx)
        return super().convert(value, param, ctx)


_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(cls=GoFlags)
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--arch", "archs", multiple=True, help="Architectures. Default: this machine's.")
@compile_options
@click.option("-k", "--keyring-append", multiple=True, help="Another key (path or URL).")
@click.option("-r", "--repository-append", multiple=True, help="Another repository.")
@click.option("--package-append", multiple=True, help="Another package for the guest.")
@click.option("--ignore-signatures", is_flag=True, help="Take indexes that no known key signed.")
@click.option(
    "--apk-cache-dir", type=_FOLDER, help="The package cache. Default: PLIMSOLL_CACHE_DIR."
)
@click.option(
    "--cache-dir",
    type=_FOLDER,
    help="Folder that steps find as /var/cache/melange: sources, modules, and what ccache keeps.",
)
@click.option(
    "--cache-source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of sources by checksum; what is wanted of it goes into --cache-dir.",
)
@click.option("--source-dir", type=_FOLDER, help="Folder whose files the steps find.")
@click.option("--empty-workspace", is_flag=True, help="Let the steps find no files.")
@click.option(
    "--workspace-dir",
    type=_FOLDER,
    help="Work here, keep it, and go on after the last good step next time.",
)
@click.option(
    "--cleanup/--no-cleanup",
    "--rm/--no-rm",
    default=True,
    help="Remove the workspace afterwards, where --workspace-dir does not name one.",
)
@click.option("--debug-runner", is_flag=True, help="The same as --no-cleanup.")
@click.option(
    "--out-dir",
    type=_FOLDER,
    default=Path("packages"),
    show_default=True,
    help="Packages go to a folder per architecture in here.",
)
@click.option(
    "--runner",
    type=Runner(),
    default="bubblewrap",
    show_default=True,
    help="Where steps run: in a sandbox, or (for development only) on this machine.",
)
@click.option(
    "--overlay-binsh",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file that steps find as /bin/sh.",
)
@click.option("--cpu", type=click.FloatRange(min=0), help="Processors that steps may use.")
@refused("--cpumodel", "steps run on the processor that is here")
@refused("--memory", "bubblewrap sets no limits; run all of it under 'systemd-run -p MemoryMax='")
@refused("--disk", "give --workspace-dir a file system of the size that you want")
@refused("--trace", "there are no traces; --debug prints each command of the steps")
@click.option("-i", "--interactive", is_flag=True, help="Open a shell where a step failed.")
@click.option("--network", is_flag=True, help="Let every step use the network, not only fetches.")
@source_options
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="NAME=VALUE lines for the steps; they do not go into the package.",
)
@click.option("--build-date", metavar="RFC3339", help="Date. SOURCE_DATE_EPOCH goes before it.")
@click.option("--namespace", default="", help="The distribution, for package URLs.")
@click.option("--git-commit", default="", help="Commit of the configuration. Default: HEAD.")
@click.option(
    "--git-repo-url", default="", help="Repository of the configuration. Default: 'origin'."
)
@click.option("--license", "licence", default="NOASSERTION", help="Licence of the configuration.")
@click.option("--signing-key", type=click.Path(path_type=Path), help="Sign packages and index.")
@click.option("--generate-index/--no-generate-index", default=True, help="Write an index.")
@click.option(
    "--generate-provenance",
    is_flag=True,
    help="Write an in-toto statement (SLSA v1 provenance), unsigned, beside the package.",
)
@click.option(
    "--dependency-log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what each package needs and offers to FILE.ARCH (JSON).",
)
@click.option(
    "--create-build-log", is_flag=True, help="Add a line for each package to ./packages.log."
)
@click.option(
    "--strip-origin-name", is_flag=True, help="Packages do not name their origin (bootstrap)."
)
@click.option("--lint-require", help="Linters that must pass, separated by commas.")
@click.option("--lint-warn", help="Linters that warn, separated by commas.")
@click.option(
    "--timeout", type=Seconds(), default=0, help="Seconds (or 1h30m) that all steps may take."
)
@click.option("--debug", is_flag=True, help="Print each command of the steps.")
def build(config: Path, archs: tuple[str, ...], **options: Any) -> None:
    """Build the packages of CONFIG.

    Steps run one after the other in a guest made of packages, without network except where they
    fetch sources by checksum. Paths of the packages are printed on standard output.
    """
    from plimsoll.builder.package.compile import compile_package  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.library import Library  # noqa: PLC0415
    from plimsoll.builder.package.targets import architectures  # noqa: PLC0415

    loaded = load(config, options)
    chosen = architectures(loaded.config, archs or ["host"])
    if not chosen:
        click.echo(f"{config} is not for {', '.join(archs) or 'this machine'}: nothing to do")
        return
    library = Library(options["pipeline_dirs"])
    compiled = [
        compile_package(
            loaded, library, arch, options=options["build_options"], libc=options["libc"]
        )
        for arch in chosen
    ]
    check_archs(chosen, options["runner"])
    asyncio.run(_build([_appended(item, options) for item in compiled], config, options))


def _appended(compiled: Compiled, options: dict[str, Any]) -> Compiled:
    """With the repositories, keys and packages of the command line."""
    from dataclasses import replace  # noqa: PLC0415  (as above)

    environment = compiled.guest
    contents = environment.contents
    more = {
        "keyring": [*contents.keyring, *options["keyring_append"]],
        "build_repositories": [*contents.build_repositories, *options["repository_append"]],
        "packages": [*contents.packages, *options["package_append"]],
    }
    environment = environment.model_copy(update={"contents": contents.model_copy(update=more)})
    config = compiled.config.model_copy(update={"environment": environment})
    return replace(compiled, config=config)


async def _build(compiled: list[Compiled], config: Path, options: dict[str, Any]) -> None:
    from plimsoll.builder.engine import Engine  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.package.build import build_package  # noqa: PLC0415
    from plimsoll.builder.package.sources import preload  # noqa: PLC0415
    from plimsoll.builder.settings import Settings  # noqa: PLC0415
    from plimsoll.builder.store import default_cache_dir  # noqa: PLC0415

    origin = configuration_origin(
        config, options["git_repo_url"], options["git_commit"], options["licence"]
    )
    settings = _settings(config, options)
    if options["cache_source"]:
        if settings.cache is None:
            raise click.UsageError("--cache-source needs --cache-dir, which it fills")
        wanted = [source for item in compiled for source in item.sources]
        preload(wanted, options["cache_source"], settings.cache)
    engine_settings = Settings(
        cache_dir=options["apk_cache_dir"] or default_cache_dir(),
        ignore_signatures=options["ignore_signatures"],
        offline=options["offline"],
    )
    async with Engine(engine_settings) as engine:
        for item in compiled:
            async with prepared(engine.http, item, settings, options) as (ready, how):
                built = await build_package(engine, ready, origin, how)
            _beside(built, ready, origin, options)
            for path in built.packages:
                click.echo(path)


def _beside(built: Built, compiled: Compiled, origin: Origin, options: dict[str, Any]) -> None:
    from plimsoll.builder.package import byproducts  # noqa: PLC0415  (start-up time)

    if options["dependency_log"]:
        byproducts.dependency_log(built, compiled, options["dependency_log"])
    if options["create_build_log"]:
        byproducts.build_log(built, compiled, Path(byproducts.BUILD_LOG))
    if options["generate_provenance"]:
        byproducts.write_provenance(built, compiled, origin)


def _settings(config: Path, options: dict[str, Any]) -> BuildSettings:
    from plimsoll.builder.package.build import BuildSettings  # noqa: PLC0415  (start-up time)

    source = options["source_dir"]
    if source is None and not options["empty_workspace"]:
        beside = config.parent / config.stem
        source = beside if beside.is_dir() else None
    key = options["signing_key"]
    return BuildSettings(
        out=options["out_dir"].absolute(),
        runner=options["runner"],
        source=None if options["empty_workspace"] else source,
        workspace=options["workspace_dir"].absolute() if options["workspace_dir"] else None,
        keep=options["debug_runner"] or not options["cleanup"],
        cache=options["cache_dir"].absolute() if options["cache_dir"] else None,
        network=options["network"],
        environment=read_environment(options["env_file"]) if options["env_file"] else {},
        epoch=source_date_epoch(os.environ.get("SOURCE_DATE_EPOCH", ""), options["build_date"]),
        namespace=options["namespace"],
        commit=options["git_commit"],
        key=read_key(key) if key else None,
        index=options["generate_index"],
        trace=options["debug"],
        shell=options["overlay_binsh"].absolute() if options["overlay_binsh"] else None,
        cpus=math.ceil(options["cpu"] or 0),
        interactive=options["interactive"],
        strip_origin=options["strip_origin_name"],
        timeout=options["timeout"],
        require=_names(options["lint_require"]),
        warn=_names(options["lint_warn"]),
        say=lambda line: click.echo(line, err=True),
    )


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
