"""Processes that are known by more than a number: a recycled process id is never signalled."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The inner shell writes its own record and then becomes the program: there is no moment at which
# the program runs and no record names it, even if the caller is killed. The outer one ends at
# once, so the program is nobody's child.
_RECORD_AND_EXEC = 'read -r stat </proc/$$/stat && echo "$stat" >"$0" && exec "$@"'
_DETACH = 'setsid /bin/sh -c "$0" "$@" &'


@dataclass(frozen=True)
class Process:
    """A process id with the time its process began (clock ticks since boot)."""

    pid: int
    started: int

    @classmethod
    def of(cls, stat: str) -> Process | None:
        """Parse a line of ``/proc/PID/stat``; None for half a line."""
        # The name stands in parentheses and may itself hold any character.
        head, _, rest = stat.rpartition(")")
        fields = rest.split()
        if len(fields) < 20:
            return None
        return cls(int(head.split("(", 1)[0]), int(fields[19]))

    @classmethod
    def recorded(cls, record: Path) -> Process | None:
        """The process of a record, alive or not."""
        try:
            return cls.of(record.read_text())
        except (OSError, ValueError):
            return None

    @property
    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except OSError:
            return False
        return Process.of(stat) == self and stat.rpartition(")")[2].split()[0] not in "ZX"

    def children(self) -> list[Process]:
        """Its direct children."""
        found = []
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
            for pid in text.split():
                with contextlib.suppress(OSError):
                    if child := Process.of(Path(f"/proc/{pid}/stat").read_text()):
                        found.append(child)
        return found

    def kill(self, seconds: float = 10) -> None:
        """Send SIGKILL, and wait until it is gone.

        Raises:
            TimeoutError: it hangs in the kernel.
        """
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} does not end")
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(self.pid)
                try:
                    # With the descriptor held the id cannot be given to another process.
                    if self.alive:
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                finally:
                    os.close(descriptor)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
            time.sleep(0.01)


def start(argv: Sequence[str | Path], *, record: Path, log: Path, env: dict[str, str]) -> Process:
    """Start a process in a session of its own that outlives this one.

    Raises:
        OSError: no shell, or no room for the record.
    """
    record.unlink(missing_ok=True)
    with log.open("ab") as output:
        subprocess.run(
            ["/bin/sh", "-c", _DETACH, _RECORD_AND_EXEC, str(record), *map(str, argv)],
            cwd="/",
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=True,
        )
    deadline = time.monotonic() + 10
    while (process := Process.recorded(record)) is None:
        if time.monotonic() > deadline:
            raise OSError(f"{argv[0]} did not start: {log.read_text(errors='replace')[-400:]}")
        time.sleep(0.002)
    return process
