"""JSON from strangers: bounded, without duplicate keys, without surprises."""

from __future__ import annotations

import json
from typing import Any

from plimsoll.oci.errors import InvalidManifestError

MAX_DEPTH = 32


def load_object(
    data: bytes, *, what: str, max_size: int, max_depth: int = MAX_DEPTH
) -> dict[str, Any]:
    """Decode one JSON object.

    Args:
        data: UTF-8 text.
        what: names the document in errors.
        max_size: bytes allowed.
        max_depth: levels of nesting allowed.

    Raises:
        InvalidManifestError: for anything over a limit, a key that stands twice in one object
            (two readers could see two documents), NaN, or anything that is no object.
    """
    if len(data) > max_size:
        raise InvalidManifestError(f"{what} has {len(data)} bytes, more than {max_size} allowed")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant
        )
    except (ValueError, RecursionError) as error:
        problem = (
            "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        )
        raise InvalidManifestError(f"{what} is no valid JSON: {problem}") from None
    if not isinstance(value, dict):
        raise InvalidManifestError(f"{what} is no JSON object")
    if _deeper_than(value, max_depth):
        raise InvalidManifestError(f"{what} is nested more than {max_depth} levels deep")
    return value


def dump(value: Any) -> bytes:
    """Encode without white space, keys in the order given: the same value, the same bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Hook of ``json.loads``: ``ValueError`` for a key that stands twice in one object."""
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in result if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:60]!r} stands twice in one object")
    return result


def no_constant(name: str) -> Any:
    """Hook of ``json.loads``: ``ValueError`` for NaN and infinities, which JSON has not."""
    raise ValueError(f"{name} is no JSON number")


def _deeper_than(value: Any, limit: int) -> bool:
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > limit:
            return True
        below: list[Any] = []
        for item in level:
            children = item.values() if isinstance(item, dict) else item
            below.extend(child for child in children if isinstance(child, dict | list))
        level = below
    return False
