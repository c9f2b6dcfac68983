"""Recognising licences by their texts."""

from __future__ import annotations

import re

_TAG = re.compile(r"SPDX-License-Identifier:\s*(.+)")
#: Bytes of a licence file that are read.
MAX_TEXT = 256 << 10


def recognise(text: str) -> frozenset[str]:
    """SPDX names of the licences whose texts, or tags, a file has; empty if it has none known.

    A text may differ from SPDX's by names, dates, punctuation and some words. The GNU licences are
    named without ``-only`` or ``-or-later``: which of them is meant stands elsewhere than in their
    text.
    """
    from licenseclassifier import identify_license  # noqa: PLC0415  (reading its texts takes 70 ms)

    found = {base_name(match.id) for match in identify_license(text)} if text.strip() else set()
    for match in _TAG.finditer(text):
        words = re.split(r"[()\s]+", match[1])
        found |= {base_name(w) for w in words if w and w not in {"AND", "OR", "WITH", "*/", "-->"}}
    return frozenset(found)


def base_name(name: str) -> str:
    """A licence without ``-only``, ``-or-later`` and ``+``."""
    return name.removesuffix("-only").removesuffix("-or-later").removesuffix("+")
