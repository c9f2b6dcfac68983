"""Content digests (OCI image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from plimsoll.oci.errors import InvalidReferenceError

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})", re.ASCII)
_HEX_LENGTH = {"sha256": 64, "sha512": 128}


def is_digest(text: str) -> bool:
    """Whether ``text`` is ``sha256:`` or ``sha512:`` and as many lower-case hex digits."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(text: str) -> str:
    """Return ``text`` unchanged.

    Raises:
        InvalidReferenceError: saying which part of it is wrong.
    """
    if is_digest(text):
        return text
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    algorithm, colon, encoded = text.partition(":")
    if not colon:
        problem = "it has no algorithm"
    elif algorithm not in _HEX_LENGTH:
        problem = f"its algorithm {algorithm[:20]!r} is neither sha256 nor sha512"
    elif len(encoded) != _HEX_LENGTH[algorithm]:
        problem = f"{algorithm} has {_HEX_LENGTH[algorithm]} hex digits, here are {len(encoded)}"
    else:
        problem = "only the digits 0-9 and a-f are allowed"
    raise InvalidReferenceError(
        f"{shown!r} is no digest: {problem}",
        hint="write it as sha256: and 64 lower-case hex digits",
    )


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of ``data``."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file; reads it piece by piece, blocking (call it in a thread)."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file in hex digits, as documents outside of OCI name it; blocks."""
    return digest_file(path).partition(":")[2]


def matches(digest: str, data: bytes) -> bool:
    """Whether ``data`` is what ``digest`` names."""
    return digest_of(data, digest.partition(":")[0]) == digest
