"""Feeds in the OSV format (schema 1.x): records of vulnerabilities in packages of ecosystems."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from plimsoll.builder.vulnerabilities.model import Severity, Vulnerability, best_name
from plimsoll.builder.vulnerabilities.ranges import affected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from plimsoll.builder.vulnerabilities.model import Component

#: Type of package URL → how OSV calls its ecosystem; what stands behind a colon is a release.
ECOSYSTEMS = {
    "cargo": "crates.io",
    "gem": "RubyGems",
    "golang": "Go",
    "maven": "Maven",
    "npm": "npm",
    "nuget": "NuGet",
    "pypi": "PyPI",
}
_DISTROS = {"alpine": "Alpine", "chainguard": "Chainguard", "wolfi": "Wolfi"}
_WORDS: Mapping[str, Severity] = {
    "critical": "critical",
    "high": "high",
    "important": "high",
    "medium": "medium",
    "moderate": "medium",
    "low": "low",
    "negligible": "negligible",
    "none": "negligible",
}


class Wanted:
    """The components of a scan, found by the names that OSV has for them."""

    def __init__(self, components: Iterable[Component]) -> None:
        self._by_name: dict[tuple[str, str], list[Component]] = {}
        for component in components:
            for name in {component.name, component.source}:
                key = (ecosystem(component), _normal(component.type, name))
                self._by_name.setdefault(key, []).append(component)

    def matching(self, package: Any) -> list[Component]:
        """The components that ``affected[].package`` means."""
        if not isinstance(package, dict):
            return []
        full, name = package.get("ecosystem"), package.get("name")
        if not isinstance(full, str) or not isinstance(name, str):
            return []
        short = full.partition(":")[0]
        type_ = next((t for t, e in ECOSYSTEMS.items() if e == short), "apk")
        return self._by_name.get((short, _normal(type_, name)), [])


def ecosystem(component: Component) -> str:
    """How OSV calls where a component comes from, without a release."""
    if component.type == "apk":
        return _DISTROS.get(component.distro, component.distro)
    return ECOSYSTEMS.get(component.type, component.type)


def matches(record: Any, wanted: Wanted, database: str) -> Iterator[Vulnerability]:
    """The vulnerabilities that one record tells of.

    Args:
        record: as parsed JSON; what is no record tells nothing.
        wanted: the components of the scan.
        database: name of the feed, for the report.
    """
    if not isinstance(record, dict) or record.get("withdrawn"):
        return
    name = record.get("id")
    items = record.get("affected")
    if not (isinstance(name, str) and name and isinstance(items, list)):
        return
    seen: set[Component] = set()
    for item in items:
        if not isinstance(item, dict):
            continue
        for component in wanted.matching(item.get("package")):
            versions = item.get("versions")
            ranges = item.get("ranges")
            hit, fixed = affected(
                component.type,
                component.version,
                versions if isinstance(versions, list) else (),
                [r for r in ranges if isinstance(r, dict)] if isinstance(ranges, list) else (),
            )
            if hit and component not in seen:
                seen.add(component)
                names = names_of(record)
                summary = record.get("summary") or record.get("details") or ""
                yield Vulnerability(
                    component,
                    best_name(sorted(names)),
                    names,
                    severity_of(record, item),
                    fixed,
                    str(summary).partition("\n")[0][:200],
                    database,
                )


def names_of(record: Mapping[str, Any]) -> frozenset[str]:
    """The name of a record and all others of the same vulnerability."""
    more = [record.get("id"), *_texts(record.get("aliases")), *_texts(record.get("upstream"))]
    return frozenset(name for name in more if isinstance(name, str) and name)


def severity_of(record: Mapping[str, Any], item: Mapping[str, Any] | None = None) -> Severity:
    """How bad it is: by word where the feed has one, else by its CVSS vector."""
    for holder in (item or {}, record):
        for place in ("database_specific", "ecosystem_specific"):
            extra = holder.get(place)
            word = extra.get("severity") if isinstance(extra, dict) else None
            if isinstance(word, str) and word.lower() in _WORDS:
                return _WORDS[word.lower()]
        scores = holder.get("severity")
        for score in scores if isinstance(scores, list) else ():
            found = _of_vector(score.get("score") if isinstance(score, dict) else None)
            if found != "unknown":
                return found
    return "unknown"


def changed(record: Any) -> datetime | None:
    """When a record was changed last."""
    value = record.get("modified") if isinstance(record, dict) else None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _of_vector(vector: Any) -> Severity:
    """The rating of a CVSS vector (version 2, 3 or 4)."""
    if not isinstance(vector, str) or len(vector) > 300:
        return "unknown"
    from cvss import (  # type: ignore[import-untyped]  # noqa: PLC0415  (feeds with vectors only)
        CVSS2,
        CVSS3,
        CVSS4,
        CVSSError,
    )

    kind = CVSS4 if vector.startswith("CVSS:4") else CVSS3 if vector.startswith("CVSS:3") else CVSS2
    try:
        word = kind(vector).severities()[0] if kind is not CVSS4 else kind(vector).severity
    except (CVSSError, ValueError, KeyError, TypeError):
        return "unknown"
    return _WORDS.get(str(word).lower(), "unknown")


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _normal(type_: str, name: str) -> str:
    if type_ == "pypi":
        return name.lower().replace("_", "-").replace(".", "-")
    return name
