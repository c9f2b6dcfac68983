"""Image globs of policies: ``*`` is anything but ``/``, ``**`` is anything, matched whole.

A compiled glob runs as a bit-parallel automaton: time is linear in the length of the name for
every glob, so no glob can slow an admission down (a backtracking regular expression could).
"""

from __future__ import annotations

import re

_ALLOWED = re.compile(r"[a-zA-Z0-9\-_:/*.@]+")
_SHORTHANDS = {"*": "index.docker.io/library/*", "*/*": "index.docker.io/*/*"}


class Glob:
    """One compiled glob.

    Args:
        text: as the policy writes it. A bare ``*`` means the official images of Docker Hub and
            ``*/*`` all images of Docker Hub.

    Raises:
        ValueError: a character that no image reference has, or nothing at all.
    """

    __slots__ = ("_any", "_final", "_literals", "_prefix", "_segment", "_stars", "text")

    def __init__(self, text: str) -> None:
        if not _ALLOWED.fullmatch(text):
            raise ValueError(f"invalid glob {text!r}")
        self.text = text
        # A run of stars is one token; it crosses "/" if any two of it stand together.
        tokens = re.findall(r"\*+|[^*]", _SHORTHANDS.get(text, text))
        self._any = self._segment = 0
        self._literals: dict[str, int] = {}
        for position, piece in enumerate(tokens):
            bit = 1 << position
            if piece.startswith("**"):
                self._any |= bit
            elif piece == "*":
                self._segment |= bit
            else:
                self._literals[piece] = self._literals.get(piece, 0) | bit
        self._stars = self._any | self._segment
        self._final = 1 << len(tokens)
        self._prefix = _SHORTHANDS.get(text, text).partition("*")[0]

    def __repr__(self) -> str:
        return f"Glob({self.text!r})"

    def matches(self, name: str) -> bool:
        """Whether the whole of ``name`` matches."""
        if not name.startswith(self._prefix):
            return False
        stars, final = self._stars, self._final
        # Bit i is set when tokens before i are used up; a star may be skipped at once.
        states = 1
        states |= (states & stars) << 1
        for character in name:
            loops = self._any if character == "/" else stars
            states = ((states & self._literals.get(character, 0)) << 1) | (states & loops)
            states |= (states & stars) << 1
            if not states:
                return False
        return bool(states & final)
