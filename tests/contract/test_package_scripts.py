"""What real configurations compile to is sound shell, by a shell and by shellcheck."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from plimsoll.arch import Arch
from plimsoll.builder.package.compile import compile_package
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.library import Library
from plimsoll.builder.package.load import load_file, load_text
from plimsoll.builder.package.show import to_yaml
from shared_data import DATA, shared

FILES = sorted(path.name for path in (DATA / "wolfi").glob("*.yaml"))
#: Configurations that are checked together: a process costs more than a script.
BATCHES = [FILES[start::8] for start in range(8)] if FILES else []
SHELLCHECK = Path(sys.executable).parent / "shellcheck"


@pytest.fixture(scope="module")
def library():
    return Library([shared("wolfi") / "pipelines"])


def _scripts(name, library):
    """Scripts of one configuration, one of each kind: names and versions change no grammar."""
    compiled = compile_package(load_file(shared("wolfi") / name), library, Arch.AMD64)
    found = {}
    groups = [compiled.scripts, {n: t.scripts for n, t in compiled.tests.items()}]
    for group in groups:
        for package, scripts in group.items():
            for script in scripts:
                text = script.shell()
                kind = re.sub(r"[0-9a-f]{8,}|[0-9.]+", "0", text.replace(package, "NAME"))
                found.setdefault(kind, (script.name, text))
    return found


@pytest.mark.parametrize("batch", BATCHES, ids=lambda b: b[0])
def test_scripts_of_real_configurations_are_sound(batch, library, tmp_path):
    found = {}
    for name in batch:
        found |= _scripts(name, library)
    # One pipeline comes with ever new inputs; a few of each will do.
    seen = Counter()
    texts = []
    for name, text in found.values():
        seen[name, text.count("\n")] += 1
        if seen[name, text.count("\n")] <= 3:
            texts.append(text)
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / f"{number}.sh")
        paths[-1].write_text(text)
    assert len(paths) > 30
    loop = 'status=0; for f; do sh -n "$f" || status=1; done; exit $status'
    shell = subprocess.run(
        ["sh", "-c", loop, "sh", *paths], capture_output=True, text=True, check=False
    )
    assert shell.returncode == 0, shell.stderr
    # SC2157: a variable that was replaced is a constant, and [ -n "constant" ] is on purpose.
    command = [SHELLCHECK, "--norc", "-s", "sh", "-S", "error", "-e", "SC2157", "-f", "gcc"]
    checked = subprocess.run([*command, *paths], capture_output=True, text=True, check=False)
    assert checked.stdout == ""


def test_every_configuration_compiles_for_arm64(library):
    for name in FILES:
        compiled = compile_package(load_file(shared("wolfi") / name), library, Arch.ARM64)
        for scripts in compiled.scripts.values():
            assert not [s for s in scripts if "${{" in s.text]


def test_steps_that_must_run_are_asserted(library):
    loaded = load_file(shared("wolfi") / "bun-bootstrap.yaml")
    with pytest.raises(PackageConfigError, match=r":19:5: at least 1 of these steps must run"):
        compile_package(loaded, library, Arch.RISCV64)


def test_needs_join_the_guest(library):
    compiled = compile_package(load_file(shared("wolfi") / "bash.yaml"), library, Arch.AMD64)
    packages = compiled.guest.contents.packages
    assert packages[:2] == ["build-base", "busybox"]
    assert {"git", "make", "binutils"} <= set(packages)
    assert len(packages) == len(set(packages))
    test = compiled.tests["bash"].environment.contents.packages
    assert "ldd-check" in test
    assert "ldd-check" not in packages


def test_only_fetching_steps_may_use_the_network(library):
    compiled = compile_package(load_file(shared("wolfi") / "bash.yaml"), library, Arch.AMD64)
    flags = [script.network for script in compiled.scripts["bash"]]
    assert flags[0] is True
    assert not any(flags[1:])
    (source,) = compiled.sources
    assert source.uses == "git-checkout"
    assert source.inputs["tag"] == "bash-5.3"
    assert re.fullmatch("[0-9a-f]{40}", source.inputs["expected-commit"])


@pytest.mark.parametrize("name", ["bash.yaml", "icu.yaml", "openjdk-21.yaml"])
def test_a_compiled_configuration_can_be_read_again(name, library):
    compiled = compile_package(load_file(shared("wolfi") / name), library, Arch.AMD64)
    again = compile_package(load_text(to_yaml(compiled.config), name), library, Arch.AMD64)
    assert again.scripts == compiled.scripts
    assert again.sources == compiled.sources
    assert to_yaml(again.config) == to_yaml(compiled.config)
