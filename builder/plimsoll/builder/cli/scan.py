"""``plimsoll package scan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.sca.embedded import Embedded, read_embedded
from plimsoll.builder.sca.model import Facts
from plimsoll.builder.sca.scan import scan
from plimsoll.builder.sca.tree import ApkTree
from plimsoll.builder.store import storage_errors
from plimsoll.builder.vendored.inventory import inventory
from plimsoll.errors import visible

if TYPE_CHECKING:
    from plimsoll.apk.packageinfo import PackageInfo
    from plimsoll.builder.sca.model import Dependencies

_FIELDS = (("depend", "runtime"), ("provides", "provides"), ("# vendored", "vendored"))


@click.command("scan")
@click.argument("files", nargs=-1, required=True, metavar="FILE.apk...",
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--diff", is_flag=True,
              help="Show only what differs from the package's own .PKGINFO.")  # fmt: skip
@click.option("--vendored", "components", is_flag=True,
              help="List the modules, crates and libraries in the package too.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def scan_command(
    files: tuple[Path, ...],
    diff: bool,  # noqa: FBT001  (a flag)
    components: bool,  # noqa: FBT001  (a flag)
    as_json: bool,  # noqa: FBT001  (a flag)
) -> None:
    """Show what packages need and offer by their files."""
    results: list[dict[str, Any]] = []
    for path in files:
        with storage_errors(f"reading {path}"), ApkTree(path) as tree:
            info = tree.package.info
            known = read_embedded(path, tree.package) or Embedded()
            facts = Facts(info.name, info.version, known.runtime, known.options)
            found = scan(tree, facts).settled(known.runtime, known.provides)
            parts = inventory(tree) if components else []
        for note in found.notes:
            click.echo(visible(f"warning: {path}: {note}"), err=True)
        results.append(
            {
                "package": info.name,
                "version": info.version,
                **{key: list(getattr(found, key)) for _, key in _FIELDS},
                **({"components": [part._asdict() for part in parts]} if components else {}),
            }
        )
        if as_json:
            continue
        if len(files) > 1:
            click.echo(f"# {path}")
        for line in _differences(info, found) if diff else _lines(found):
            click.echo(visible(line))
        for part in parts:
            click.echo(visible(f"# component = {part.purl} ({part.path})"))
    if as_json:
        click.echo(json.dumps(results))


def _lines(found: Dependencies) -> list[str]:
    return [f"{field} = {value}" for field, key in _FIELDS for value in getattr(found, key)]


def _differences(info: PackageInfo, found: Dependencies) -> list[str]:
    lines = []
    for field, key in _FIELDS:
        before = set(info.depends if key == "runtime" else getattr(info, key))
        after = set(getattr(found, key))
        lines += [f"-{field} = {value}" for value in sorted(before - after)]
        lines += [f"+{field} = {value}" for value in sorted(after - before)]
    return lines
