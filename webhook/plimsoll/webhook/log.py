"""Logs: one JSON object a line on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from plimsoll.webhook.body import encode


def configure(level: str = "info") -> None:
    """Set up logging of the process.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_line),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")


def _line(event: Any, default: Any = None, **_: Any) -> bytes:
    return encode(event, default)
