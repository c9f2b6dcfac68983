from __future__ import annotations

import pytest

from plimsoll.builder.shellwords import split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  a\tb\n c ", ["a", "b", "c"]),
        ("a 'b c' \"d e\"f", ["a", "b c", "d ef"]),
        ("'' \"\" a''b", ["", "", "ab"]),
        (r"a\ b '\n' " + r'"\n\"\\"', ["a b", r"\n", 'n"\\']),
        ("a#b # rest 'open\nc", ["a#b", "c"]),
        ("# all", []),
    ],
)
def test_words(text, words):
    assert split_words(text) == words


@pytest.mark.parametrize("text", ["'a", '"a', "a\\", '"\\'])
def test_open_ends(text):
    with pytest.raises(ValueError, match="No"):
        split_words(text)
