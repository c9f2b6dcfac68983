"""``plimsoll package``: a table of sub-commands, each imported only when it is asked for."""

from __future__ import annotations

import click

from plimsoll.lazygroup import LazyGroup

_HERE = "plimsoll.builder.cli"

#: Command name → (``module:attribute``, one-line help).
COMMANDS: dict[str, tuple[str, str]] = {
    "build": (f"{_HERE}.packagebuild:build", "Build packages from a configuration."),
    "bump": (f"{_HERE}.packagebump:bump", "Write a new version into a configuration."),
    "compile": (f"{_HERE}.packagecompile:compile_", "Show exactly what a build would run."),
    "convert": (
        f"{_HERE}.packageconvert:convert",
        "Write a first configuration of a project.",
    ),
    "index": (f"{_HERE}.packagesign:index", "Make the index of a repository."),
    "keygen": (f"{_HERE}.packagesign:keygen", "Make a key that signs packages."),
    "license-check": (
        f"{_HERE}.licencecheck:license_check_command",
        "Compare declared licences with the sources.",
    ),
    "lint": (f"{_HERE}.lint:lint_command", "Look for what is wrong in packages."),
    "package-version": (
        f"{_HERE}.packagecompile:package_version",
        "Print name and version of a package.",
    ),
    "query": (f"{_HERE}.packagecompile:query", "Ask a configuration by a template."),
    "scan": (f"{_HERE}.scan:scan_command", "Show what packages need and offer."),
    "sign": (f"{_HERE}.packagesign:sign", "Sign packages."),
    "test": (f"{_HERE}.packagetest:test", "Test built packages."),
    "sign-index": (f"{_HERE}.packagesign:sign_index", "Sign an index."),
    "updates": (f"{_HERE}.packageupdates:updates", "Look for new versions upstream."),
    "update-cache": (
        f"{_HERE}.packagecache:update_cache",
        "Fetch sources into a folder for builds.",
    ),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def package() -> None:
    """Build packages from declarative configurations."""
