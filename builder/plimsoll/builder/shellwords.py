r"""Command lines split as the reference splits them, which is not quite as a shell does.

A ``#`` at the start of a word begins a comment, and between double quotes a backslash takes the
meaning from every character, so that ``"a\n"`` is ``an``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = " \t\r\n"


def split_words(text: str) -> list[str]:
    """The words.

    Raises:
        ValueError: a quote is open at the end, or nothing follows a backslash.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    characters = iter(text)
    for character in characters:
        if character == quote:
            quote = ""
        elif character == "\\" and quote != "'":
            word = (word or "") + _following(characters)
        elif quote:
            word = (word or "") + character
        elif character in _SPACE:
            words += [] if word is None else [word]
            word = None
        elif character == "#" and word is None:
            _skip_line(characters)
        elif character in "\"'":
            word, quote = word or "", character
        else:
            word = (word or "") + character
    if quote:
        raise ValueError("No closing quotation")
    return words if word is None else [*words, word]


def _following(characters: Iterator[str]) -> str:
    for character in characters:
        return character
    raise ValueError("No escaped character")


def _skip_line(characters: Iterator[str]) -> None:
    for character in characters:
        if character == "\n":
            return
