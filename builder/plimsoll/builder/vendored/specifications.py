"""What Ruby gems and PHP's Composer leave beside the libraries that they install."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_GEM_PATH = re.compile(r"(?:.*/)?specifications/(?:default/)?[^/]+\.gemspec")
_COMPOSER_PATH = re.compile(r"(?:.*/)?composer/installed\.json")
#: RubyGems writes ``s.name = "rake".freeze`` and ``s.version = Gem::Version.new("1.2".freeze)``.
_GEM_FIELD = re.compile(
    r"^\s*\w+\.(name|version)\s*=\s*(?:Gem::Version\.new\s*\(?\s*)?[\"']([^\"']+)[\"']",
    re.MULTILINE,
)


def is_gem(path: str) -> bool:
    """Whether a path is that of the specification of an installed gem."""
    return path.endswith(".gemspec") and _GEM_PATH.fullmatch(path) is not None


def is_composer(path: str) -> bool:
    """Whether a path is that of Composer's list of what it installed."""
    return path.endswith("/installed.json") and _COMPOSER_PATH.fullmatch(path) is not None


def gem(text: str) -> tuple[str, str] | None:
    """Name and version of a gem; the specification is read, never run."""
    found: dict[str, str] = {}
    for match in _GEM_FIELD.finditer(text):
        found.setdefault(match[1], match[2])
    return (found["name"], found["version"]) if len(found) == 2 else None


def composer(text: str) -> Iterator[tuple[str, str]]:
    """Name and version of each package of the list; nothing if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    # Composer 1 wrote the list itself.
    items = value.get("packages") if isinstance(value, dict) else value
    for item in items if isinstance(items, list) else []:
        name, version = (
            (item.get("name"), item.get("version")) if isinstance(item, dict) else ("", "")
        )
        if isinstance(name, str) and isinstance(version, str):
            yield name, version.removeprefix("v")
