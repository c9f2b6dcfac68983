"""Lines of Git's protocol (gitprotocol-common: pkt-line), read strictly and within limits."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from plimsoll.builder.git.errors import GitError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Longest line with its four digits.
LIMIT: Final = 65520
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class Mark(Enum):
    """What stands between lines."""

    FLUSH = 0
    DELIMITER = 1
    END = 2


def encode(line: str) -> bytes:
    """One line; raises ``GitError`` where it is too long."""
    data = line.encode()
    if len(data) + 4 > LIMIT:
        raise GitError("a request to a Git server is too long")
    return b"%04x" % (len(data) + 4) + data


FLUSH: Final = b"0000"
DELIMITER: Final = b"0001"


def decode(data: bytes) -> Iterator[bytes | Mark]:
    """The lines of an answer, each without the newline that ends it.

    Raises:
        GitError: it is malformed or cut off.
    """
    position = 0
    while position < len(data):
        digits = data[position : position + 4]
        if len(digits) < 4 or not _HEX.issuperset(digits):
            raise GitError("the answer of the Git server is malformed")
        length = int(digits, 16)
        if length <= Mark.END.value:
            yield Mark(length)
            position += 4
            continue
        end = position + length
        if length < 4 or length > LIMIT or end > len(data):
            raise GitError("the answer of the Git server is cut off or malformed")
        yield data[position + 4 : end].removesuffix(b"\n")
        position = end
