"""Running tools, and waiting for what they show."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class CommandError(Exception):
    """A command that had to succeed did not; the text holds what it said."""


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    check: bool = True,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it prints."""
    words = [str(word) for word in argv]
    done = subprocess.run(
        words, env=env, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode:
        raise CommandError(
            f"{Path(words[0]).name} {' '.join(words[1:])[:200]} ended with status "
            f"{done.returncode}:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
        )
    return done


def wait_for(what: str, probe: Callable[[], T | None], *, seconds: float = 120) -> T:
    """Call ``probe`` until it returns something; what it returned last is in the error."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}; last seen: {found!r}")
        time.sleep(0.2)
