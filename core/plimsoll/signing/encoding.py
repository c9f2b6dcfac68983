"""Strict decoding of what strangers wrote."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from plimsoll.oci.errors import InvalidManifestError
from plimsoll.oci.strictjson import load_object
from plimsoll.signing.errors import InvalidEvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Levels of nesting allowed in a statement; CycloneDX components nest.
MAX_DEPTH = 64

_BEGIN = "-----BEGIN "
_DASHES = "-----"
_STANDARD = str.maketrans("-_", "+/")


def b64decode(text: Any, what: str) -> bytes:
    """Decode base64 in the standard or the URL alphabet (DSSE allows both), padding required.

    Args:
        text: the field's value; anything but a string is an error.
        what: names the field in errors.

    Raises:
        InvalidEvidenceError: for anything else than base64.
    """
    if not isinstance(text, str):
        raise InvalidEvidenceError(f"{what} is no text")
    try:
        return base64.b64decode(text.translate(_STANDARD).encode("ascii"), validate=True)
    except ValueError:
        raise InvalidEvidenceError(f"{what} is no base64") from None


def b64encode(data: bytes) -> str:
    """Encode in the standard alphabet, with padding."""
    return base64.b64encode(data).decode()


def pem_blocks(content: str) -> Iterator[tuple[str, str]]:
    """Every PEM block of a text (RFC 7468) with its label; what stands between them is ignored.

    Raises:
        InvalidEvidenceError: if a block does not end.
    """
    label = ""
    lines: list[str] = []
    for raw in content.splitlines():
        line = raw.strip()
        if not label:
            if line.startswith(_BEGIN) and line.endswith(_DASHES) and len(line) > len(_BEGIN) + 5:
                label, lines = line[len(_BEGIN) : -len(_DASHES)], [line]
            continue
        lines.append(line)
        if line == f"-----END {label}{_DASHES}":
            yield label, "\n".join([*lines, ""])
            label = ""
    if label:
        raise InvalidEvidenceError(f"the PEM block {label[:40]!r} does not end")


def parse_json(data: bytes, what: str, max_size: int) -> dict[str, Any]:
    """Decode one JSON object without duplicate keys.

    Raises:
        InvalidEvidenceError: for anything else, or anything over a limit.
    """
    try:
        return load_object(data, what=what, max_size=max_size, max_depth=MAX_DEPTH)
    except InvalidManifestError as error:
        raise InvalidEvidenceError(error.message) from None


def child(obj: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """The object under ``key``; raises ``InvalidEvidenceError`` if there is none."""
    value = obj.get(key)
    if not isinstance(value, dict):
        raise InvalidEvidenceError(f"{where} has no object {key!r}")
    return value


def text(obj: dict[str, Any], key: str, where: str) -> str:
    """The string under ``key``; raises ``InvalidEvidenceError`` if there is none."""
    value = obj.get(key)
    if not isinstance(value, str):
        raise InvalidEvidenceError(f"{where} has no text {key!r}")
    return value


def array(obj: dict[str, Any], key: str, where: str, limit: int) -> list[Any]:
    """The array under ``key``, empty where absent; raises ``InvalidEvidenceError``."""
    value = obj.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidEvidenceError(f"{key!r} in {where} is no array")
    if len(value) > limit:
        raise InvalidEvidenceError(f"{where} has {len(value)} {key}, more than {limit} allowed")
    return value
