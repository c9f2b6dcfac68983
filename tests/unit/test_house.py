"""Rules of the tree itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PORTIONS = ["builder", "operator", "webhook", "core"]


def test_no_portion_shadows_a_namespace():
    found = [str(p) for name in PORTIONS for p in (ROOT / name).glob("plimsoll/__init__.py")]
    found += [name for name in PORTIONS if (ROOT / name / "__init__.py").exists()]
    assert found == [], "an __init__.py here shadows the standard library or closes the namespace"


def test_chart_has_the_generated_crds():
    generated = {p.name: p.read_text() for p in (ROOT / "crds").glob("*.yaml")}
    chart = {p.name: p.read_text() for p in (ROOT / "helm/plimsoll/files/crds").glob("*.yaml")}
    assert chart == generated, "run `make crds`"
    assert generated


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-image.lock"])
def test_locks_have_hashes_and_no_addresses(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert text.count("--hash=sha256:") > text.count("==") // 2


def test_both_locks_agree():
    def pins(name):
        lines = (ROOT / name).read_text().splitlines()
        return {line.split(" ")[0] for line in lines if "==" in line and line[0].isalnum()}

    assert pins("requirements-image.lock") <= pins("requirements.lock"), "run `make lock`"


def test_no_go_source_beyond_small_mains():
    for source in (ROOT / "tools").rglob("*.go"):
        assert len(source.read_text().splitlines()) < 200, source


def test_help_imports_no_command():
    """``plimsoll --help`` shows every command, and loads none."""
    code = (
        "import sys; sys.argv = ['plimsoll', '--help']\n"
        "from plimsoll.cli.main import cli\n"
        "try: cli(standalone_mode=True)\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m in ('aiohttp', 'pydantic', 'kopf', 'cryptography')])"
    )
    python = ROOT / ".venv/bin/python"
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("[]"), out
    assert "build" in out
