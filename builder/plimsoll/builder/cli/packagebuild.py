"""``plimsoll package build``."""

from __future__ import annotations

import asyncio
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.packageoptions import compile_options, load
from plimsoll.builder.cli.packagesign import read_key
from plimsoll.builder.package.errors import PackageConfigError

if TYPE_CHECKING:
    from plimsoll.arch import Arch
    from plimsoll.builder.package.build import BuildSettings
    from plimsoll.builder.package.compile import Compiled

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
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
@click.option("--cache-dir", type=_FOLDER, help="Folder that steps find as /var/cache/melange.")
@click.option("--source-dir", type=_FOLDER, help="Folder whose files the steps find.")
@click.option("--empty-workspace", is_flag=True, help="Let the steps find no files.")
@click.option(
    "--workspace-dir",
    type=_FOLDER,
    help="Work here, keep it, and go on after the last good step next time.",
)
@click.option(
    "--out-dir",
    type=_FOLDER,
    default=Path("packages"),
    show_default=True,
    help="Packages go to a folder per architecture in here.",
)
@click.option(
    "--runner",
    type=click.Choice(["bubblewrap", "host"]),
    default="bubblewrap",
    show_default=True,
    help="Where steps run: in a sandbox, or (for development only) on this machine.",
)
@click.option("--network", is_flag=True, help="Let every step use the network, not only fetches.")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="NAME=VALUE lines for the steps; they do not go into the package.",
)
@click.option("--build-date", metavar="RFC3339", help="Date. SOURCE_DATE_EPOCH goes before it.")
@click.option("--namespace", default="", help="The distribution, for package URLs.")
@click.option("--git-commit", default="", help="Commit of the configuration.")
@click.option("--git-repo-url", default="", help="Repository of the configuration.")
@click.option("--license", "licence", default="NOASSERTION", help="Licence of the configuration.")
@click.option("--signing-key", type=click.Path(path_type=Path), help="Sign packages and index.")
@click.option("--generate-index/--no-generate-index", default=True, help="Write an index.")
@click.option("--lint-require", help="Linters that must pass, separated by commas.")
@click.option("--lint-warn", help="Linters that warn, separated by commas.")
@click.option("--timeout", default=0, help="Seconds that all steps may take.")
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


def check_archs(archs: list[Arch], runner: str) -> None:
    """Other architectures than this machine's need an emulator that the kernel knows.

    Raises:
        PackageConfigError: there is none.
    """
    from plimsoll.arch import Arch as Known  # noqa: PLC0415  (as above)

    host = Known.host()
    registered = Path("/proc/sys/fs/binfmt_misc")
    for arch in archs:
        emulated = any(registered.glob(f"*{arch.apk}*")) if registered.is_dir() else False
        if arch is not host and (runner == "host" or not emulated):
            raise PackageConfigError(
                f"this machine is {host} and cannot run programs for {arch}",
                hint=f"build with --arch {host}, or register qemu-user-static (binfmt_misc)",
            )


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
    from plimsoll.builder.package.sbom import Origin  # noqa: PLC0415
    from plimsoll.builder.settings import Settings  # noqa: PLC0415
    from plimsoll.builder.store import default_cache_dir  # noqa: PLC0415

    origin = Origin(
        configuration_path(config),
        options["git_repo_url"],
        options["git_commit"],
        options["licence"],
    )
    settings = _settings(config, options)
    engine_settings = Settings(
        cache_dir=options["apk_cache_dir"] or default_cache_dir(),
        ignore_signatures=options["ignore_signatures"],
    )
    async with Engine(engine_settings) as engine:
        for item in compiled:
            built = await build_package(engine, item, origin, settings)
            for path in built.packages:
                click.echo(path)


def configuration_path(config: Path) -> str:
    """Where a configuration lies in its repository; only its name where it lies in none.

    So packages say the same wherever the repository is checked out.
    """
    path = config.resolve()
    for folder in path.parents:
        if (folder / ".git").exists():
            return path.relative_to(folder).as_posix()
    return path.name


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
        cache=options["cache_dir"].absolute() if options["cache_dir"] else None,
        network=options["network"],
        environment=read_environment(options["env_file"]) if options["env_file"] else {},
        epoch=source_date_epoch(os.environ.get("SOURCE_DATE_EPOCH", ""), options["build_date"]),
        namespace=options["namespace"],
        commit=options["git_commit"],
        key=read_key(key) if key else None,
        index=options["generate_index"],
        trace=options["debug"],
        timeout=options["timeout"],
        require=_names(options["lint_require"]),
        warn=_names(options["lint_warn"]),
        say=lambda line: click.echo(line, err=True),
    )


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def source_date_epoch(environment: str, build_date: str | None) -> int:
    """Date of packages, seconds since the epoch: the environment's, else ``--build-date``, else 0.

    Raises:
        PackageConfigError, click.BadParameter: it is no date.
    """
    if environment:
        if not re.fullmatch(r"[0-9]{1,15}", environment):
            raise PackageConfigError(
                f"SOURCE_DATE_EPOCH is {environment[:40]!r}, which is no number of seconds",
                hint="unset it, or set it to seconds since 1970",
            )
        return int(environment)
    if not build_date:
        return 0
    try:
        moment = datetime.fromisoformat(build_date)
    except ValueError:
        raise click.BadParameter(
            f"{build_date!r} is no time: write 2026-01-31T12:00:00Z", param_hint="--build-date"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def read_environment(path: Path) -> dict[str, str]:
    """Variables of a file of ``NAME=VALUE`` lines; ``#`` begins a comment.

    Raises:
        PackageConfigError: a line is none.
    """
    result = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise PackageConfigError(f"{path}:{number}: no NAME=VALUE", hint="write one a line")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        result[name] = value
    return result
