"""What differs between two images, locks or SBOMs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.builder.layerfiles import FileView
    from plimsoll.builder.view import PackageView, View


@dataclass(slots=True)
class Section:
    """Names that came, went, and changed (name → field → before and after)."""

    added: dict[str, Any] = field(default_factory=dict)
    removed: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, dict[str, tuple[Any, Any]]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(slots=True)
class Difference:
    """All differences; a section is ``None`` where one side cannot tell.

    Attributes:
        licences: licence → how many packages have it, before and after, where that differs.
        size: compressed bytes before and after.
    """

    before: str
    after: str
    packages: Section
    licences: dict[str, tuple[int, int]]
    configuration: Section | None
    files: Section | None
    size: tuple[int, int] | None

    def __bool__(self) -> bool:
        return bool(self.packages or self.licences or self.configuration or self.files)

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def difference(before: View, after: View) -> Difference:
    """Compare two views."""
    # A lock knows of no licences.
    licences = "lock" not in {before.kind, after.kind}
    sizes = None
    if before.size is not None and after.size is not None:
        sizes = (before.size, after.size)
    return Difference(
        f"{before.name} ({before.digest})",
        f"{after.name} ({after.digest})",
        _section(
            {name: _package(item, licences=licences) for name, item in before.packages.items()},
            {name: _package(item, licences=licences) for name, item in after.packages.items()},
        ),
        _licences(before, after) if licences else {},
        None
        if before.config is None or after.config is None
        else _section(_flat(before.config), _flat(after.config)),
        None
        if before.files is None or after.files is None
        else _section(_attributes(before.files), _attributes(after.files)),
        sizes,
    )


def _section(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> Section:
    result = Section()
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            result.added[name] = dict(after[name])
        elif name not in after:
            result.removed[name] = dict(before[name])
        elif before[name] != after[name]:
            keys = before[name].keys() | after[name].keys()
            result.changed[name] = {
                key: (before[name].get(key), after[name].get(key))
                for key in sorted(keys)
                if before[name].get(key) != after[name].get(key)
            }
    return result


def _package(item: PackageView, *, licences: bool) -> dict[str, str]:
    known = licences and item.licence
    return {"version": item.version} | ({"licence": item.licence} if known else {})


def _licences(before: View, after: View) -> dict[str, tuple[int, int]]:
    counts: dict[str, list[int]] = {}
    for side, view in enumerate((before, after)):
        for package in view.packages.values():
            if package.licence:
                counts.setdefault(package.licence, [0, 0])[side] += 1
    return {name: (a, b) for name, (a, b) in sorted(counts.items()) if a != b}


def _flat(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Labels and environment entry by entry; everything else as it is."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in config.items():
        if key == "Env":
            for item in value:
                name, _, text = str(item).partition("=")
                found[f"Env {name}"] = {"value": text}
        elif isinstance(value, dict):
            for name, text in value.items():
                found[f"{key} {name}"] = {"value": text}
        else:
            found[key] = {"value": value}
    return found


def _attributes(files: Mapping[str, FileView]) -> dict[str, dict[str, Any]]:
    return {
        f"/{path}": {
            "type": item.kind,
            "mode": f"{item.mode:04o}",
            "owner": f"{item.uid}:{item.gid}",
            "size": item.size,
            "content": item.content,
        }
        for path, item in files.items()
    }
