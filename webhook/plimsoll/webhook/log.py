"""Logs: one JSON object a line on standard error."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import threading
from typing import Any, BinaryIO

import structlog

from plimsoll.webhook.body import encode

#: How long lines wait for others. A process that is killed loses no more than these.
_GATHER_SECONDS = 0.02


def configure(level: str = "info") -> None:
    """Set up logging of the process.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    lines = _Gathered(sys.stderr.buffer)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_line),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")


class _Gathered:
    """Writes lines together, after the answers that they are about have been sent.

    Where no event loop runs, a line is written at once.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._due: asyncio.AbstractEventLoop | None = None
        """The loop that will write what is there."""

        atexit.register(self._write)

    def msg(self, line: bytes) -> None:
        """Take a line."""
        with self._lock:
            self._lines.append(line + b"\n")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write()
            return
        if self._due is not loop:
            self._due = loop
            loop.call_later(_GATHER_SECONDS, self._write)

    debug = info = warning = error = critical = exception = msg

    def _write(self) -> None:
        self._due = None
        with self._lock:
            data, self._lines = b"".join(self._lines), []
            if data:
                self._file.write(data)
                self._file.flush()


def _line(event: Any, default: Any = None, **_: Any) -> bytes:
    return encode(event, default)
