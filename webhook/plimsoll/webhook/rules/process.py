"""One evaluation, one process: whatever a rule or a document does, it ends, and it ends alone.

The child has no environment worth reading, no standard files of ours, bounded memory, output and
time, and is the first that the kernel kills where memory is short.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Bytes of memory that a child may write to (``RLIMIT_DATA``).
MEMORY: Final = 512 << 20
#: Bytes of what a child may say.
OUTPUT: Final = 1 << 20

_ENVIRONMENT: Final = {
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    # For the engines that are Go programs.
    "GOMAXPROCS": "2",
    "GOMEMLIMIT": str(MEMORY // 2),
    # CUE fetches no modules.
    "CUE_REGISTRY": "none",
    "CUE_CACHE_DIR": "/nonexistent",
}


class EngineError(Exception):
    """An engine that was stopped, died, or said what cannot be read."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended."""

    status: int
    output: bytes
    errors: str


@contextlib.contextmanager
def memory_file(content: bytes = b"") -> Iterator[IO[bytes]]:
    """A file that is on no disk where the system can; children may have it as ``/dev/fd/N``."""
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = os.fdopen(os.memfd_create("plimsoll-rule", os.MFD_CLOEXEC), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  closed below
    with file:
        file.write(content)
        file.flush()
        file.seek(0)
        yield file


def run(
    argv: Sequence[str | Path], given: bytes, seconds: float, files: Sequence[IO[bytes]] = ()
) -> Finished:
    """Run a program to its end.

    Args:
        argv: the program and its arguments.
        given: its standard input.
        seconds: of real time, after which it is killed.
        files: stay open under their numbers.

    Raises:
        EngineError: it cannot be started, took too long, or was killed.
    """
    with memory_file(given) as stdin, memory_file() as stdout, memory_file() as stderr:
        try:
            child = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=[file.fileno() for file in files],
                env=_ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"it cannot be started: {error.strerror}") from error
        with child:
            try:
                _bound(child.pid)
                status = child.wait(seconds)
            except subprocess.TimeoutExpired:
                raise EngineError(f"it took longer than {seconds:g} s") from None
            finally:
                child.kill()
        if status < 0:
            raise EngineError(
                f"it was killed (signal {-status}); it needed too much memory or said too much"
            )
        stdout.seek(0)
        stderr.seek(0)
        errors = stderr.read(OUTPUT).decode(errors="replace")
        return Finished(status, stdout.read(OUTPUT), errors)


def _bound(pid: int) -> None:
    """Limit a child that has only just begun; its input is bounded already."""
    if not hasattr(resource, "prlimit"):
        return
    with contextlib.suppress(ProcessLookupError):
        for limit, value in (
            (resource.RLIMIT_DATA, MEMORY),
            (resource.RLIMIT_FSIZE, OUTPUT),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.prlimit(pid, limit, (value, value))
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
