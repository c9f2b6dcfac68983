"""Asking for a pack, and taking it out of the answer (gitprotocol-v2, ``fetch``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from plimsoll.builder.git.errors import GitBusyError, GitError
from plimsoll.builder.git.pktline import DELIMITER, FLUSH, LIMIT, encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_MAX_SHALLOW: Final = 100_000
_ID = re.compile(rb"[0-9a-f]{40}")
_DATA, _PROGRESS, _FATAL = 1, 2, 3


def fetch_request(wants: Sequence[str], depth: int, left_out: str) -> bytes:
    """The question for a pack.

    Args:
        wants: numbers of objects.
        depth: of the history; 0 for all of it.
        left_out: a filter of objects (``tree:0``); empty for none.
    """
    lines = ["ofs-delta\n", "no-progress\n", *(f"want {number}\n" for number in wants)]
    lines += [f"deepen {depth}\n"] if depth else []
    lines += [f"filter {left_out}\n"] if left_out else []
    head = encode("command=fetch\n") + encode("agent=plimsoll") + DELIMITER
    return head + b"".join(map(encode, [*lines, "done\n"])) + FLUSH


class PackReader:
    """Takes the pack out of an answer piece by piece.

    Args:
        file: the pack is written there.
        max_size: bytes that it may have.
    """

    def __init__(self, file: BinaryIO, max_size: int) -> None:
        self._file = file
        self._left = max_size
        self._limit = max_size
        self._rest = b""
        self._section = ""
        self._shallow: list[str] = []
        self._written = False
        self._ended = False

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            GitError: it is malformed, or the pack becomes too large.
        """
        data = self._rest + piece
        position = 0
        while len(data) - position >= 4:
            digits = data[position : position + 4]
            try:
                length = int(digits, 16) if digits.isalnum() else -1
            except ValueError:
                length = -1
            if self._ended or length == 3 or not 0 <= length <= LIMIT:
                raise GitError("the answer of the Git server is malformed")
            if length < 3:
                position += 4
                self._ended = length == 0
                self._section = ""
                continue
            if len(data) - position < length:
                break
            self._line(data[position + 4 : position + length])
            position += length
        self._rest = data[position:]

    def finish(self) -> tuple[str, ...]:
        """Demand that all of it is there; the commits whose parents are not."""
        if not self._ended or self._rest or not self._written:
            raise GitBusyError("the answer of the Git server is cut off")
        return tuple(self._shallow)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"ERR "):
            raise GitError(f"the Git server says: {_text(line[4:])}")
        if not self._section:
            self._section = _text(line)
        elif self._section == "packfile":
            self._sideband(line)
        elif self._section == "shallow-info":
            kind, _, number = line.rstrip(b"\n").partition(b" ")
            if not _ID.fullmatch(number) or len(self._shallow) >= _MAX_SHALLOW:
                raise GitError("the answer of the Git server is malformed")
            if kind == b"shallow":
                self._shallow.append(number.decode())

    def _sideband(self, line: bytes) -> None:
        if not line or line[0] not in {_DATA, _PROGRESS, _FATAL}:
            raise GitError("the answer of the Git server is malformed")
        if line[0] == _FATAL:
            raise GitError(f"the Git server says: {_text(line[1:])}")
        if line[0] == _DATA:
            self._left -= len(line) - 1
            if self._left < 0:
                raise GitError(
                    f"it sends more than {self._limit} bytes",
                    hint="take less history, or another repository",
                )
            self._file.write(line[1:])
            self._written = True


def _text(line: bytes) -> str:
    return "".join(c for c in line[:300].decode(errors="replace") if c.isprintable()).strip()
