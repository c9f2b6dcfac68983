"""Order of versions in the ecosystems of OSV, and whether a version is in a range."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from plimsoll.apk.version import try_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_SEMVER = re.compile(
    r"v?(?P<core>[0-9]+(?:\.[0-9]+){0,2})(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)
Key = Any


def semver_key(text: str) -> Key | None:
    """Order of Semantic Versioning 2.0.0; ``None`` for what is none."""
    match = _SEMVER.fullmatch(text)
    if match is None:
        return None
    numbers = [int(part) for part in match["core"].split(".")]
    pre = match["pre"]
    # Numbers come before words, and any pre-release before its release.
    parts = [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in (pre.split(".") if pre else ())
    ]
    return tuple(numbers + [0] * (3 - len(numbers))), pre is None, tuple(parts)


def python_key(text: str) -> Key | None:
    """Order of PEP 440; ``None`` for what is none."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


#: Type of package URL → order of its versions; others are compared by the list of versions only.
ORDERS: Mapping[str, Callable[[str], Key | None]] = {
    "apk": try_version,
    "cargo": semver_key,
    "golang": semver_key,
    "npm": semver_key,
    "pypi": python_key,
}


def affected(
    type_: str, version: str, versions: Sequence[Any], ranges: Iterable[Mapping[str, Any]]
) -> tuple[bool, str]:
    """Whether a version is affected, and by which version that is fixed (``""`` for none).

    Args:
        type_: of the package URL.
        version: what is installed.
        versions: affected ones, listed.
        ranges: as OSV has them: ``type`` and ``events`` (``introduced``, ``fixed``,
            ``last_affected``).
    """
    listed = version in versions
    order = ORDERS.get(type_)
    own = order(version) if order else None
    hit = False
    fixed = ""
    for item in ranges:
        events = item.get("events")
        if item.get("type") not in ("ECOSYSTEM", "SEMVER") or not isinstance(events, list):
            continue
        if order is None or own is None:
            continue
        inside, end = _within(own, [e for e in events if isinstance(e, dict)], order)
        hit = hit or inside
        fixed = fixed or (end if inside or listed else "")
    return hit or listed, fixed


def _within(
    own: Key, events: Iterable[Mapping[str, Any]], order: Callable[[str], Key | None]
) -> tuple[bool, str]:
    """Walk through the events in the order of their versions (OSV schema, "Evaluation")."""
    rows: list[tuple[tuple[Any, ...], str, str]] = []
    for event in events:
        for kind in ("introduced", "fixed", "last_affected"):
            text = event.get(kind)
            key = order(text) if isinstance(text, str) and text != "0" else None
            if text == "0":
                rows.append(((0,), kind, text))
            elif key is not None:
                rows.append(((1, key), kind, str(text)))
    mine = (1, own)
    inside = False
    for key, kind, _ in sorted(rows, key=lambda row: row[0]):
        if kind == "introduced" and mine >= key:
            inside = True
        elif (kind == "fixed" and mine >= key) or (kind == "last_affected" and mine > key):
            inside = False
    fixes = sorted((key, text) for key, kind, text in rows if kind == "fixed" and key > mine)
    return inside, fixes[0][1] if fixes else ""
