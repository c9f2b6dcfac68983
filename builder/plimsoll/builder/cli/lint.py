"""``plimsoll package lint``."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.arch import Arch, UnknownArchitectureError
from plimsoll.builder.linters.lint import LINTERS, Checks, lint
from plimsoll.builder.linters.model import LintFacts, Severity
from plimsoll.builder.sca.embedded import Embedded, read_embedded
from plimsoll.builder.sca.tree import ApkTree
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error, visible

if TYPE_CHECKING:
    from plimsoll.builder.linters.model import Finding

#: Findings of one linter that are shown, unless all are asked for.
_SHOWN = 10


class LintFailedError(Error):
    """A package with findings that are errors."""

    reason = "LintFailed"


@click.command("lint")
@click.argument("files", nargs=-1, required=True, metavar="FILE.apk...",
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--lint-require", "require", multiple=True, metavar="NAMES",
              help="Linters whose findings are errors, with commas.")  # fmt: skip
@click.option("--lint-warn", "warn", multiple=True, metavar="NAMES",
              help="Linters whose findings are warnings, with commas.")  # fmt: skip
@click.option("--persist-lint-results", "persist", is_flag=True,
              help="Write the findings to OUT-DIR/ARCH/lint-NAME-VERSION.json.")  # fmt: skip
@click.option("--out-dir", type=click.Path(path_type=Path), default=Path("packages"),
              show_default=True, help="Where results are written.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help=f"Show more than {_SHOWN} of a kind.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def lint_command(  # noqa: PLR0913, PLR0917  (options)
    files: tuple[Path, ...],
    require: tuple[str, ...],
    warn: tuple[str, ...],
    persist: bool,  # noqa: FBT001  (a flag)
    out_dir: Path,
    everything: bool,  # noqa: FBT001  (a flag)
    as_json: bool,  # noqa: FBT001  (a flag)
) -> None:
    """Look for what is wrong in packages; fails if something is."""
    results: list[dict[str, Any]] = []
    errors = 0
    for path in files:
        result, findings = _lint_file(path, _split(require), _split(warn))
        errors += sum(f.severity is Severity.ERROR for f in findings)
        results.append(result)
        if persist:
            with storage_errors(f"writing the findings below {out_dir}"):
                _persist(result, out_dir)
        if not as_json:
            _show(path, findings, limit=len(findings) if everything else _SHOWN)
    if as_json:
        click.echo(json.dumps(results))
    if errors:
        raise LintFailedError(
            f"{errors} finding{'s' * (errors > 1)} must be put right before publishing",
            hint="or name the linter in checks.disabled of the package, with the reason beside it",
        )


def _split(names: tuple[str, ...]) -> list[str] | None:
    found = [name.strip() for text in names for name in text.split(",")]
    return [name for name in found if name] if names else None


def _lint_file(
    path: Path, require: list[str] | None, warn: list[str] | None
) -> tuple[dict[str, Any], list[Finding]]:
    with storage_errors(f"reading {path}"), ApkTree(path) as tree:
        info = tree.package.info
        embedded = read_embedded(path, tree.package)
        known = embedded or Embedded()
        facts = LintFacts(
            info.name,
            info.version,
            arch=_arch(info.arch),
            no_provides=known.options.no_provides,
            test_uses=known.test_uses if embedded else None,
        )
        findings = lint(tree, facts, Checks.choose(require, warn, known.disabled))
    return {
        "package": info.name,
        "version": info.version,
        "arch": info.arch,
        "findings": [
            {
                "linter": f.linter,
                "severity": f.severity.value,
                "path": f.path,
                "message": f.message,
            }
            for f in findings
        ],
    }, findings


def _arch(name: str) -> Arch | None:
    try:
        return Arch.parse(name)
    except UnknownArchitectureError:
        return None


def _persist(result: dict[str, Any], out_dir: Path) -> None:
    directory = out_dir / (result["arch"] or "noarch")
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"lint-{result['package']}-{result['version']}.json"
    target.write_text(json.dumps(result, indent=2) + "\n")


def _show(path: Path, findings: list[Finding], limit: int) -> None:
    for name, group in groupby(findings, key=lambda f: f.linter):
        same = list(group)
        for finding in same[:limit]:
            color = "red" if finding.severity is Severity.ERROR else "yellow"
            mark = click.style(f"{finding.severity.value}: {name}", fg=color)
            text = visible(f"{finding.path or ''} {finding.message}").replace("  ", " ")
            click.echo(f"{path}: {mark}: {text}")
        if len(same) > limit:
            click.echo(f"{path}: … and {len(same) - limit} more of {name}")
        if name in LINTERS:
            click.echo(f"  hint: {LINTERS[name].hint}")
