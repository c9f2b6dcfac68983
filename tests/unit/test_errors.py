"""Errors may repeat what strangers wrote, on terminals, in logs, in the status of objects."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import Error, visible


@given(st.text(), st.text() | st.none())
def test_no_error_steers_a_terminal(message, hint):
    error = Error(message, hint=hint)
    for text in (error.message, error.hint or "", str(error), *map(str, error.args)):
        text.encode()
        assert not any(ord(c) < 32 and c not in "\t\n" or 127 <= ord(c) < 160 for c in text)  # noqa: RUF021
        assert not set(text) & set("\u200e\u200f\u061c\u202e\u2066\u2028")


def test_what_is_seen_stays():
    text = "a b\tc\nä 漢 é 🙂"
    assert visible(text) == text
    assert visible("\x1b[2J\u202ex") == "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}x"
