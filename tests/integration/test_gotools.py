"""Programs are built once, whoever asks and however many at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gotools

pytestmark = pytest.mark.integration

SUPPORT = Path(gotools.__file__).parent


def _ask(cache, *words, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "gotools", *words],
        env={**os.environ, "PYTHONPATH": str(SUPPORT), "PLIMSOLL_CACHE": str(cache), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_build_once(tmp_path):
    both = [_ask(tmp_path, "--path", "say") for _ in range(2)]
    answers = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert sum("building pause" in errors for _, errors in answers) == 1
    paths = {out.strip() for out, _ in answers}
    assert len(paths) == 1
    said = subprocess.run([*paths, "ahoy"], capture_output=True, text=True, check=True).stdout
    assert said == f"ahoy (uid {os.getuid()})\n"
    assert not [path for path in (tmp_path / "tools").iterdir() if path.name.startswith(".pause-")]


def test_unreachable_modules_are_explained(tmp_path):
    process = _ask(
        tmp_path, "helm", GOPROXY="http://127.0.0.1:9", GOMODCACHE=str(tmp_path / "modules")
    )
    errors = process.communicate()[1]
    assert process.returncode == 1
    assert "The Go module proxy could not be reached" in errors
    assert "Traceback" not in errors


def test_an_unknown_tool_names_the_known_ones():
    with pytest.raises(gotools.ToolError, match=r"no tool 'kubctl'; there are .*kubectl"):
        gotools.tool("kubctl")
