"""The command line as a process, with a cache of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLIMSOLL = str(Path(sys.executable).with_name("plimsoll"))


def run(
    cache: Path, *arguments: object, status: int = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end.

    Args:
        cache: folder of its cache.
        arguments: words behind ``plimsoll``.
        status: that it must end with; anything else is the failure of the test.
        cwd: folder to run it in.
    """
    done = subprocess.run(
        [PLIMSOLL, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PLIMSOLL_CACHE_DIR": str(cache)},
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stderr
    return done


def plimsoll(cache: Path, *arguments: object) -> str:
    """What it prints to standard output when it succeeds."""
    return run(cache, *arguments).stdout.strip()
