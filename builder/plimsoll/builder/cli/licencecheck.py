"""``plimsoll package license-check``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from plimsoll.builder.cli.packageoptions import load, load_options
from plimsoll.builder.licence_check import Declared, check_licences, declared_expression
from plimsoll.builder.sca.tree import DirectoryTree
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error


class LicenceCheckFailedError(Error):
    """Licences that are not what the sources say."""

    reason = "LicenceCheckFailed"


@click.command("license-check")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--source-dir", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="The sources, unpacked: their licence files are read too.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@load_options
def license_check_command(
    config: Path,
    source_dir: Path | None,
    as_json: bool,  # noqa: FBT001  (a flag)
    **options: Any,
) -> None:
    """Compare the licences that CONFIG declares with SPDX's list and with the sources."""
    entries = load(config, options).config.package.copyright
    declared = [Declared(e.license, e.license_path, e.detection_override) for e in entries]
    with ExitStack() as stack:
        stack.enter_context(storage_errors(f"reading the sources in {source_dir}"))
        tree = stack.enter_context(DirectoryTree(source_dir)) if source_dir else None
        findings = check_licences(declared, tree)
    expression = declared_expression(item.license for item in declared)
    if as_json:
        rows = [{"path": f.path, "message": f.message} for f in findings]
        click.echo(json.dumps({"expression": expression, "findings": rows}))
    else:
        click.echo(expression)
        for finding in findings:
            place = f"{config}: {finding.path}" if finding.path else f"{config}:"
            click.secho(f"warning: {place} {finding.message}", fg="yellow", err=True)
    if findings:
        raise LicenceCheckFailedError(
            f"the licences of {config} need a look: {len(findings)} "
            f"finding{'s' * (len(findings) > 1)}",
            hint="correct package.copyright; for a text that is taken for another licence set "
            "license-path and detection-override",
        )
