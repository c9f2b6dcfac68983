"""Commits and annotated tags: what was signed, and the signature apart from it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from plimsoll.builder.git.errors import GitError, NotSignedError

#: Bytes of a commit or tag; real ones have a few thousand.
MAX_OBJECT: Final = 4 << 20
MAX_SIGNATURE: Final = 256 << 10

Kind = Literal["commit", "tag"]

_BEGIN: Final = (
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
)
_TIME = re.compile(rb"[^\n]*> ([0-9]{1,12}) [+-][0-9]{4}")
_ID = re.compile(rb"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class GitObject:
    """A commit or an annotated tag.

    Attributes:
        id: its number.
        target: of a commit its tree, of a tag the commit.
        name: of a tag, without ``refs/tags/``.
        time: when it says that it was made; nothing proves that.
        payload: the bytes that a signature is over.
        signature: armored; empty where there is none.
    """

    kind: Kind
    id: str
    target: str
    name: str
    time: datetime
    payload: bytes
    signature: bytes


def object_id(kind: str, data: bytes) -> str:
    """The number of an object: SHA-1 of it."""
    head = f"{kind} {len(data)}".encode() + b"\x00"
    return hashlib.sha1(head + data, usedforsecurity=False).hexdigest()


def parse_object(kind: Kind, data: bytes, expected: str) -> GitObject:
    """Read a commit or tag.

    Args:
        kind: which of both it must be.
        data: as ``git cat-file`` shows it.
        expected: its number.

    Raises:
        GitError: it has another number, or is none.
    """
    if len(data) > MAX_OBJECT:
        raise GitError(f"the {kind} {expected} is over {MAX_OBJECT} bytes")
    if object_id(kind, data) != expected:
        raise GitError(f"what should be the {kind} {expected} has another number")
    return _commit(data, expected) if kind == "commit" else _tag(data, expected)


def _commit(data: bytes, number: str) -> GitObject:
    head, separator, rest = data.partition(b"\n\n")
    headers = _headers(head, number)
    signatures = [value for name, value in headers if name == b"gpgsig"]
    if len(signatures) > 1:
        raise GitError(f"the commit {number} has several signatures")
    signature = signatures[0] if signatures else b""
    kept = [(name, value) for name, value in headers if not name.startswith(b"gpgsig")]
    payload = b"".join(_written(*header) for header in kept)
    payload += separator[1:] + rest
    return GitObject(
        "commit",
        number,
        _number(_only(kept, b"tree", number), number),
        "",
        _moment(_only(kept, b"committer", number), number),
        payload,
        _checked(signature, number),
    )


def _tag(data: bytes, number: str) -> GitObject:
    starts = [
        match.start()
        for match in re.finditer(rb"(?m)^-----BEGIN ", data)
        if data.startswith(_BEGIN, match.start())
    ]
    at = starts[-1] if starts else len(data)
    payload, signature = data[:at], data[at:]
    head = payload.partition(b"\n\n")[0].rstrip(b"\n")
    headers = _headers(head, number)
    if any(name.startswith(b"gpgsig") for name, _ in headers):
        raise GitError(f"the tag {number} has a signature that only SHA-256 repositories know")
    if _only(headers, b"type", number) != b"commit":
        raise GitError(
            f"the tag {number} is of no commit", hint="name a tag that leads to a commit"
        )
    return GitObject(
        "tag",
        number,
        _number(_only(headers, b"object", number), number),
        _only(headers, b"tag", number).decode(errors="replace"),
        _moment(_only(headers, b"tagger", number), number),
        payload,
        _checked(signature, number),
    )


def _headers(head: bytes, number: str) -> list[tuple[bytes, bytes]]:
    """Names and values; further lines of a value begin with a space."""
    if b"\x00" in head:
        raise GitError(f"the headers of {number} are malformed")
    found: list[tuple[bytes, bytes]] = []
    for line in head.split(b"\n"):
        if line.startswith(b" ") and found:
            name, value = found[-1]
            found[-1] = name, value + b"\n" + line[1:]
            continue
        name, space, value = line.partition(b" ")
        if not space or not name:
            raise GitError(f"the headers of {number} are malformed")
        found.append((name, value))
    return found


def _written(name: bytes, value: bytes) -> bytes:
    return name + b" " + value.replace(b"\n", b"\n ") + b"\n"


def _only(headers: list[tuple[bytes, bytes]], name: bytes, number: str) -> bytes:
    values = [value for key, value in headers if key == name]
    if len(values) != 1:
        raise GitError(f"{number} has not exactly one header {name.decode()!r}")
    return values[0]


def _number(value: bytes, number: str) -> str:
    if not _ID.fullmatch(value):
        raise GitError(f"the headers of {number} are malformed")
    return value.decode()


def _moment(value: bytes, number: str) -> datetime:
    match = _TIME.fullmatch(value)
    if match is None:
        raise GitError(f"the headers of {number} are malformed")
    try:
        return datetime.fromtimestamp(int(match[1]), UTC)
    except (ValueError, OverflowError, OSError):
        raise GitError(f"{number} was made in no year that there is") from None


def _checked(signature: bytes, number: str) -> bytes:
    if len(signature) > MAX_SIGNATURE:
        raise NotSignedError(f"the signature of {number} is over {MAX_SIGNATURE} bytes")
    return signature
