"""Vulnerability reports as scanners write them: Trivy, Grype, in-toto's predicate. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.api.predicates import VULN

if TYPE_CHECKING:
    from collections.abc import Iterator

_ORDER = ("critical", "high", "medium", "low", "negligible", "unknown")
_SEVERITIES = frozenset(_ORDER[:-1])


@dataclass(frozen=True, slots=True)
class Finding:
    """One vulnerability of one package."""

    ids: frozenset[str]
    severity: str
    package: str
    purl: str = ""
    fixable: bool = False

    def __str__(self) -> str:
        return f"{min(self.ids)} ({self.severity}, {self.package})"


def findings(predicate: Any, predicate_type: str = VULN) -> Iterator[Finding]:
    """The vulnerabilities that a scanner reported; raises ``ValueError``.

    Args:
        predicate: of cosign's type with the JSON of Trivy or Grype in it, or of in-toto's own.
        predicate_type: which of both.
    """
    result = at(predicate, "scanner", "result")
    if predicate_type != VULN:
        yield from _in_toto(_listed(predicate))
    elif isinstance(result, dict) and isinstance(result.get("Results"), list):
        yield from _trivy(result)
    elif isinstance(result, dict) and isinstance(result.get("matches"), list):
        yield from _grype(result)
    else:
        raise ValueError("its scanner.result is neither Trivy's nor Grype's JSON")


def _trivy(result: dict[str, Any]) -> Iterator[Finding]:
    for target in items(result, "Results"):
        for item in items(target, "Vulnerabilities"):
            purl = at(item, "PkgIdentifier", "PURL")
            yield Finding(
                _ids(item.get("VulnerabilityID"), item.get("VendorIDs")),
                _severity(item.get("Severity")),
                f"{item.get('PkgName', '?')} {item.get('InstalledVersion', '')}".rstrip(),
                purl if isinstance(purl, str) else "",
                bool(item.get("FixedVersion")),
            )


def _grype(result: dict[str, Any]) -> Iterator[Finding]:
    for match in items(result, "matches"):
        item, artifact = match.get("vulnerability"), match.get("artifact")
        if not isinstance(item, dict) or not isinstance(artifact, dict):
            raise ValueError("a match has no vulnerability or no artifact")  # noqa: TRY004
        related = [one.get("id") for one in items(match, "relatedVulnerabilities")]
        purl = artifact.get("purl")
        yield Finding(
            _ids(item.get("id"), related),
            _severity(item.get("severity")),
            f"{artifact.get('name', '?')} {artifact.get('version', '')}".rstrip(),
            purl if isinstance(purl, str) else "",
            at(item, "fix", "state") == "fixed" or bool(at(item, "fix", "versions")),
        )


def _listed(predicate: Any) -> list[dict[str, Any]]:
    scanner = at(predicate, "scanner")
    if not isinstance(scanner, dict) or not isinstance(scanner.get("result"), list):
        raise ValueError("its scanner.result is no list")  # noqa: TRY004
    return items(scanner, "result")


def _in_toto(results: list[dict[str, Any]]) -> Iterator[Finding]:
    for item in results:
        notes: dict[str, Any] = {}
        said = item.get("annotations")
        for one in said if isinstance(said, list) else [said]:
            notes |= one if isinstance(one, dict) else {}
        scores = [_scored(one.get("score")) for one in items(item, "severity")]
        package = notes.get("package") or notes.get("name") or "?"
        purl = notes.get("purl")
        yield Finding(
            _ids(item.get("id"), notes.get("aliases")),
            min(scores, key=_ORDER.index, default="unknown"),
            f"{package} {notes.get('version', '')}".rstrip(),
            purl if isinstance(purl, str) else "",
            bool(notes.get("fixed") or notes.get("fixedVersion")),
        )


def _scored(score: Any) -> str:
    """A severity by its name, or by its CVSS score (v3 and v4: 9, 7, 4)."""
    named = _severity(score)
    if named != "unknown":
        return named
    try:
        number = float(score)
    except (TypeError, ValueError):
        return "unknown"
    for bound, name in ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low")):
        if number >= bound:
            return name
    return "negligible" if number >= 0 else "unknown"


def _ids(main: Any, others: Any) -> frozenset[str]:
    if not isinstance(main, str) or not main:
        raise ValueError("a vulnerability has no id")
    more = [one for one in others if isinstance(one, str)] if isinstance(others, list) else []
    return frozenset([main, *more])


def _severity(value: Any) -> str:
    text = value.lower() if isinstance(value, str) else ""
    return text if text in _SEVERITIES else "unknown"


def items(holder: Any, key: str) -> list[dict[str, Any]]:
    """The objects of a list, none if it is not there; raises ``ValueError``."""
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{key} is no list of objects")
    return value


def at(value: Any, *path: str) -> Any:
    """What stands at a path of keys; ``None`` if nothing does."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
