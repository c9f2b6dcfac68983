"""Strings and numbers as the SSH protocol writes them (RFC 4251 §5), read strictly."""

from __future__ import annotations

from plimsoll.builder.git.errors import NotSignedError


class Reader:
    """Reads values one after the other.

    Args:
        data: all of them.
        what: names it in errors.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def take(self, size: int) -> bytes:
        """So many bytes; raises ``NotSignedError``."""
        end = self._at + size
        if size < 0 or end > len(self._data):
            raise NotSignedError(f"{self._what} is cut off")
        value = self._data[self._at : end]
        self._at = end
        return value

    def number(self) -> int:
        """A ``uint32``."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """A ``string``."""
        return self.take(self.number())

    def integer(self) -> int:
        """A positive ``mpint`` in its shortest form."""
        value = self.string()
        if not value or value[0] & 0x80 or (value[0] == 0 and not (value[1:2] or b"\x00")[0] >> 7):
            raise NotSignedError(f"{self._what} holds a malformed number")
        return int.from_bytes(value, "big")

    def end(self) -> None:
        """Demand that nothing is left; raises ``NotSignedError``."""
        if self._at != len(self._data):
            raise NotSignedError(f"{self._what} has something behind its end")


def string(value: bytes) -> bytes:
    """Write a ``string``."""
    return len(value).to_bytes(4, "big") + value
