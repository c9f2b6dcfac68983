"""The linters' known rows, default severities, and a real package."""

import json

import pytest

from plimsoll.builder.linters.lint import LINTERS, Checks, lint
from plimsoll.builder.linters.model import LintFacts, Severity
from plimsoll.builder.sca.tree import ApkTree, DirectoryTree
from shared_data import shared


def expected():
    try:
        return json.loads((shared("melange") / "linter/expected.json").read_text())
    except pytest.skip.Exception:
        return {}


EXPECTED = expected()
WORDS = {Severity.ERROR: "require", Severity.WARNING: "warn", Severity.IGNORED: "ignore"}


def test_default_severities():
    shared("melange")
    known = {name: linter["default"] for name, linter in EXPECTED["linters"].items()}
    assert {name: WORDS[linter.severity] for name, linter in LINTERS.items()} == known


def uses_of(row):
    config = row.get("config")
    if config is None:
        return None
    packages = [{"name": config["package"], **config}, *config.get("subpackages", [])]
    found = [p.get("test_uses", []) for p in packages if p["name"] == row["package"]]
    return frozenset(use for uses in found for use in uses)


@pytest.mark.parametrize(
    "row", EXPECTED.get("rows", []), ids=lambda r: f"{r['linter']}-{r['path']}"
)
def test_rows(row, tmp_path):
    path = tmp_path / row["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("blah\n")
    path.chmod(0o644)
    facts = LintFacts(row["package"], test_uses=uses_of(row))
    with DirectoryTree(tmp_path) as tree:
        findings = lint(tree, facts, Checks.choose([row["linter"]], []))
        warnings = lint(tree, facts, Checks.choose([], [row["linter"]]))
    assert (not findings) is row["pass"]
    assert all(f.severity is Severity.ERROR for f in findings)
    assert all(f.severity is Severity.WARNING for f in warnings)


@pytest.mark.parametrize("case", EXPECTED.get("apks", []), ids=lambda c: c["apk"])
def test_packages(case):
    with ApkTree(shared("melange") / case["apk"]) as tree:
        info = tree.package.info
        findings = lint(tree, LintFacts(info.name, info.version))
    assert any(f.severity is Severity.ERROR for f in findings) is case["expect"]["error"]
    assert set(case["expect"]["findings_include"]) <= {f.linter for f in findings}
    assert [f.path for f in findings if f.linter == "maninfo"] == ["usr/share/info/hello.info"]
