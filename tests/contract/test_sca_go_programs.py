"""Modules of real Go programs, compared with what Go's own tool says."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from plimsoll.builder.sca.tree import DirectoryTree
from plimsoll.builder.vendored.gobinary import GoModule, read_go_build

TOOLS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plimsoll/tools"


def programs():
    found = [Path(go)] if (go := shutil.which("go")) else []
    # What other tests have built already; building for this one alone would take minutes.
    return found + sorted(TOOLS.glob("*/bin/*"))[:5]


@pytest.mark.skipif(not shutil.which("go"), reason="needs go")
@pytest.mark.parametrize("program", programs(), ids=lambda p: p.name)
def test_as_go_says(program):
    said = subprocess.run(
        ["go", "version", "-m", program], capture_output=True, text=True, check=False
    )
    if said.returncode or "\tpath\t" not in said.stdout:
        pytest.skip("no Go program with module information")
    lines = [line.split("\t")[1:] for line in said.stdout.splitlines()[1:]]
    modules = []
    for kind, *words in lines:
        if kind == "dep":
            modules.append(GoModule(words[0], words[1].replace("(devel)", "")))
        elif kind == "=>":
            modules[-1] = GoModule(words[0], words[1])
    tree = DirectoryTree(program.resolve().parent)
    build = read_go_build(tree.get(program.resolve().name))
    assert build.version == said.stdout.splitlines()[0].rpartition(": ")[2]
    assert list(build.modules) == modules
    assert {k: v for k, v in build.settings.items() if k == "GOOS"} == {"GOOS": "linux"}
