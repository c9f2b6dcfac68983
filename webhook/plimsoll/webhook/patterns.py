"""Texts with ``*``, compared in linear time."""

from __future__ import annotations


def like(pattern: str, text: str) -> bool:
    """Whether the whole of ``text`` matches; ``*`` stands for anything, also nothing."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    at, end = len(first), len(text) - len(last)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
