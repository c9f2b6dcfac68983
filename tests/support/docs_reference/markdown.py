"""Markdown that means what the text says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOTE = "<!-- Made from the code by `make docs`. Do not edit. -->\n"


def code(text: str) -> str:
    """Text as inline code, which may hold backticks of its own."""
    fence = "``" if "`" in text else "`"
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def prose(text: str) -> str:
    """Text of a docstring or help: names become code, what Markdown would read is escaped."""
    parts = re.split(r"(`[^`]*`)", text.replace("``", "`"))
    return "".join(part if index % 2 else _outside_code(part) for index, part in enumerate(parts))


def _outside_code(text: str) -> str:
    # Options and variables, which typography would change otherwise.
    parts = re.split(r"((?<![\w-])(?:--[a-z][\w-]*|\$?[A-Z][A-Z0-9]*_[A-Z0-9_]+)\b)", text)
    escaped = (
        code(part) if index % 2 else re.sub(r"([*<\[]|(?<!\w)_|_(?!\w))", r"\\\1", part)
        for index, part in enumerate(parts)
    )
    return "".join(escaped)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; line breaks and bars within a cell are kept from ending it."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    flat = (" ".join(cell.split()).replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(flat)} |"
