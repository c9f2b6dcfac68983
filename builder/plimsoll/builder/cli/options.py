"""Options that the commands which build share, and what they mean."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plimsoll.builder.cli.values import Size, build_date, pairs, paths, sbom_formats, separated

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.arch import Arch
    from plimsoll.builder.config import LoadedConfig
    from plimsoll.builder.lock import Lock, LockedConfig
    from plimsoll.builder.settings import Settings

F = TypeVar("F", bound="Callable[..., Any]")


_CONFIG_OPTIONS = (
    click.option(
        "--arch",
        "archs",
        multiple=True,
        help="Architectures, separated by commas or given several times; 'host' or 'all'. "
        "Default: what the configuration says.",
    ),
    click.option(
        "-k",
        "--keyring-append",
        multiple=True,
        callback=separated,
        help="Another key (path or URL).",
    ),
    click.option(
        "-r", "--repository-append", multiple=True, callback=separated, help="Another repository."
    ),
    click.option(
        "-b",
        "--build-repository-append",
        multiple=True,
        callback=separated,
        help="Another repository for the build only; the image does not mention it.",
    ),
    click.option(
        "-p", "--package-append", multiple=True, callback=separated, help="Another package."
    ),
    click.option(
        "--include-paths",
        multiple=True,
        callback=paths,
        metavar="FOLDER",
        help="Folders to look in for CONFIG and the files it includes, after the current one.",
    ),
    click.option(
        "--cache-dir",
        type=click.Path(path_type=Path),
        help="The package cache. Default: PLIMSOLL_CACHE_DIR, else in your cache folder.",
    ),
    click.option("--offline", is_flag=True, help="Use only what is cached or local."),
    click.option(
        "--ignore-signatures", is_flag=True, help="Take indexes that no known key signed."
    ),
    click.option(
        "--compat",
        type=click.Choice(["apko"]),
        help="Make, byte for byte, the layers that apko makes.",
    ),
    click.option(
        "--max-apkindex-decompressed-size",
        type=Size(),
        default="300MiB",
        show_default=True,
        help="Most bytes an index may inflate to; -1 for no limit.",
    ),
    click.option(
        "--max-apk-control-size",
        type=Size(),
        default="10MiB",
        show_default=True,
        help="Most bytes the control section of a package may inflate to; -1 for no limit.",
    ),
    click.option(
        "--max-apk-data-size",
        type=Size(),
        default="16GiB",
        show_default=True,
        help="Most bytes the files of a package may have; -1 for no limit.",
    ),
    click.option(
        "--max-http-response-size",
        type=Size(),
        default="8GiB",
        show_default=True,
        help="Most bytes of one HTTP answer; -1 for no limit.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    click.option(
        "--progress",
        type=click.Choice(["auto", "plain", "none"]),
        default="auto",
        show_default=True,
        help="How to show what is going on.",
    ),
)

_BUILD_OPTIONS = (
    click.option(
        "--annotations",
        multiple=True,
        callback=separated,
        metavar="KEY:VALUE",
        help="Another annotation and label.",
    ),
    click.option(
        "--build-date",
        metavar="RFC3339",
        help="Least creation time of the image. SOURCE_DATE_EPOCH goes before it.",
    ),
    click.option(
        "--lockfile",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Build exactly these packages; repositories and keys are those of the lock too.",
    ),
    click.option(
        "--vcs/--no-vcs",
        default=True,
        show_default=True,
        help="Record the Git remote and commit of CONFIG, unless it has a vcs-url.",
    ),
    click.option("--sbom/--no-sbom", default=True, show_default=True, help="Write SBOM files."),
    click.option(
        "--sbom-formats",
        multiple=True,
        default=("spdx",),
        show_default=True,
        help="Formats of SBOM files: spdx, cyclonedx; separated by commas or given several times.",
        callback=lambda _ctx, _param, value: sbom_formats(value),
    ),
    click.option(
        "--sbom-path",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for SBOM files. Default: beside the output.",
    ),
)


def config_options(command: F) -> F:
    """Add the options about configuration, repositories, cache and limits."""
    for option in reversed(_CONFIG_OPTIONS):
        command = option(command)
    return command


def build_options(command: F) -> F:
    """Add the options about the image that is made."""
    for option in reversed(_BUILD_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a command was asked to build.

    Attributes:
        files: path → SHA-256 (hex) of what was read for it, empty where it was searched for in
            several places.
    """

    loaded: LoadedConfig
    config: ImageConfiguration
    archs: list[Arch]
    settings: Settings
    annotations: dict[str, str]
    lock: Lock | None
    files: dict[str, str]
    progress: str
    as_json: bool

    @property
    def origin(self) -> LockedConfig:
        """The configuration file as a lock names it."""
        from plimsoll.builder.lock import LockedConfig  # noqa: PLC0415  (start-up time)

        return LockedConfig(name=self.loaded.name, checksum=self.loaded.checksum)


def read_inputs(path: Path, options: dict[str, Any]) -> Inputs:
    """Read the configuration and apply the options to it.

    Raises:
        ConfigError: the configuration is not valid.
        click.BadParameter: an option is not valid.
    """
    # All of these take long to load, and an unchanged build needs none.
    from plimsoll.apk.package import Limits  # noqa: PLC0415
    from plimsoll.builder.config import load_config  # noqa: PLC0415
    from plimsoll.builder.engine import architectures  # noqa: PLC0415
    from plimsoll.builder.lock import Lock, LockError, locked_sources  # noqa: PLC0415
    from plimsoll.builder.settings import Settings  # noqa: PLC0415
    from plimsoll.builder.store import default_cache_dir  # noqa: PLC0415

    loaded = load_config(path, include_paths=options["include_paths"])
    config = _appended(loaded.config, options)
    lockfile = options.get("lockfile")
    locked = lockfile.read_bytes() if lockfile else b""
    lock = Lock.parse(locked, str(lockfile)) if lockfile else None
    if lock is not None:
        if lock.config is not None and lock.config.checksum != loaded.checksum:
            raise LockError(
                f"{lockfile} was made of another {loaded.name}: it has changed since",
                hint="make the lock anew with 'plimsoll lock'",
            )
        config = locked_sources(config, lock)
    if not config.vcs_url and (found := source_of(path, options.get("vcs", False))):
        config = config.model_copy(update={"vcs_url": found})
    settings = Settings(
        cache_dir=options["cache_dir"] or default_cache_dir(),
        offline=options["offline"],
        ignore_signatures=options["ignore_signatures"],
        max_index=options["max_apkindex_decompressed_size"],
        max_http=options["max_http_response_size"],
        limits=Limits(control=options["max_apk_control_size"], data=options["max_apk_data_size"]),
        compat=options["compat"] is not None,
        build_date=build_date(options.get("build_date")),
    )
    return Inputs(
        loaded=loaded,
        config=config,
        archs=architectures(config, options["archs"]),
        settings=settings,
        annotations=pairs(options.get("annotations", ())),
        lock=lock,
        files=_files(loaded, options, locked),
        progress=options["progress"],
        as_json=options["as_json"],
    )


def source_of(path: Path, vcs: Any) -> str:
    """Where a configuration lives, where ``--vcs`` asks for it; asked once, it stays."""
    if isinstance(vcs, str):
        return vcs
    from plimsoll.builder.vcs import vcs_url  # noqa: PLC0415  (start-up time)

    return vcs_url(path) if vcs else ""


def _files(loaded: LoadedConfig, options: dict[str, Any], locked: bytes) -> dict[str, str]:
    if options["include_paths"] or len(loaded.files) != 1 or not loaded.files[0].is_file():
        return {}
    files = {str(loaded.files[0]): b64decode(loaded.checksum.removeprefix("sha256-")).hex()}
    if options.get("lockfile"):
        files[str(options["lockfile"])] = hashlib.sha256(locked).hexdigest()
    return files


def _appended(config: ImageConfiguration, options: dict[str, Any]) -> ImageConfiguration:
    contents = config.contents
    more = {
        "keyring": options["keyring_append"],
        "repositories": options["repository_append"],
        "build_repositories": options["build_repository_append"],
        "packages": options["package_append"],
    }
    update = {name: [*getattr(contents, name), *values] for name, values in more.items()}
    return config.model_copy(update={"contents": contents.model_copy(update=update)})
