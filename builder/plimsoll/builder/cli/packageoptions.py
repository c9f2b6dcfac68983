"""Options that the commands about package configurations share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.builder.package.load import Loaded

F = TypeVar("F", bound="Callable[..., Any]")


class OptionsError(Error):
    """Options that do not go together."""

    reason = "Usage"


_LOAD_OPTIONS = (
    click.option(
        "--build-option",
        "--test-option",
        "build_options",
        multiple=True,
        metavar="NAME",
        help="Turn on one of the configuration's options.",
    ),
    click.option(
        "--vars-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="YAML file with variables that go before those of the configuration.",
    ),
)
_COMPILE_OPTIONS = (
    click.option(
        "--pipeline-dir",
        "--pipeline-dirs",
        "pipeline_dirs",
        multiple=True,
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder with pipelines; looked in before the built-in ones. May be repeated.",
    ),
    click.option(
        "--libc",
        "--override-host-triplet-libc-substitution-flavor",
        "libc",
        type=click.Choice(["gnu", "musl"]),
        default="gnu",
        show_default=True,
        help="C library of the guest, for ${{host.triplet.*}}.",
    ),
)


def load_options(command: F) -> F:
    """Add the options about reading a configuration."""
    for option in reversed(_LOAD_OPTIONS):
        command = option(command)
    return command


def compile_options(command: F) -> F:
    """Add the options about compiling a configuration."""
    for option in reversed(_LOAD_OPTIONS + _COMPILE_OPTIONS):
        command = option(command)
    return command


def load(path: Path, options: dict[str, Any]) -> Loaded:
    """Read a configuration as the options say.

    Raises:
        PackageConfigError: it, or the file with variables, is not valid.
    """
    from plimsoll.builder.package.load import load_file  # noqa: PLC0415  (start-up time)

    variables = read_variables(options["vars_file"]) if options["vars_file"] else {}
    return load_file(path, variables=variables, options=options["build_options"])


def read_variables(path: Path) -> dict[str, str]:
    """Variables of a YAML file: one mapping of names to texts.

    Raises:
        PackageConfigError, YamlError: it is not that.
    """
    from plimsoll import yaml12  # noqa: PLC0415  (only with a file)
    from plimsoll.builder.package.variables import as_text  # noqa: PLC0415

    document = yaml12.load(path.read_text(), str(path))
    value = {} if document.value is None else document.value
    if not isinstance(value, dict):
        raise PackageConfigError(
            f"{document.place(())}: a file of variables is a mapping", hint="write 'name: value'"
        )
    for name, item in value.items():
        if isinstance(item, dict | list):
            raise PackageConfigError(f"{document.place((name,))}: a variable is a text")
    return {name: as_text(item) for name, item in value.items()}
