"""``require.vulnerabilities``: pure, over verified reports and OpenVEX documents.

A report that is not understood is no clean report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.api.meta import parse_duration
from plimsoll.webhook.provenancerules import SKEW, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from plimsoll.api.require import VulnerabilityRules
    from plimsoll.signing.results import VerifiedAttestation

_SEVERITIES = frozenset({"critical", "high", "medium", "low", "negligible"})
_SHOWN = 5


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


def vulnerability_failures(
    rules: VulnerabilityRules,
    reports: Sequence[VerifiedAttestation],
    documents: Sequence[VerifiedAttestation],
    now: datetime,
) -> Iterator[str]:
    """Why the newest report does not do; an older one never stands in for it."""
    newest: tuple[datetime, dict[str, Any]] | None = None
    for report in reports:
        moment = parse_time(_at(report.predicate, "metadata", "scanFinishedOn"))
        if moment is None or moment > now + SKEW:
            yield "a vulnerability report has no possible time (metadata.scanFinishedOn)"
            return
        if newest is None or moment > newest[0]:
            newest = moment, report.predicate
    if newest is None:
        return
    moment, predicate = newest
    if rules.max_age and now - moment > parse_duration(rules.max_age):
        yield f"the vulnerability report is of {moment.isoformat()}, over {rules.max_age} old"
    try:
        found = list(findings(predicate))
    except ValueError as error:
        yield f"the vulnerability report cannot be read: {error}"
        return
    ignored = {one.id for one in rules.ignore or [] if one.until > now}
    settled = _settled(documents, now) if rules.vex else {}
    counted = [
        one
        for one in found
        if one.severity in rules.severities
        and (one.fixable or not rules.only_fixable)
        and not one.ids & ignored
        and not _cleared(one, settled)
    ]
    if counted:
        shown = ", ".join(str(one) for one in counted[:_SHOWN])
        more = f" and {len(counted) - _SHOWN} more" if len(counted) > _SHOWN else ""
        yield f"vulnerabilities: {shown}{more}"


def findings(predicate: Any) -> Iterator[Finding]:
    """The vulnerabilities that Trivy or Grype reported; raises ``ValueError``."""
    result = _at(predicate, "scanner", "result")
    if isinstance(result, dict) and isinstance(result.get("Results"), list):
        yield from _trivy(result)
    elif isinstance(result, dict) and isinstance(result.get("matches"), list):
        yield from _grype(result)
    else:
        raise ValueError("its scanner.result is neither Trivy's nor Grype's JSON")  # noqa: TRY004


def _trivy(result: dict[str, Any]) -> Iterator[Finding]:
    for target in _items(result, "Results"):
        for item in _items(target, "Vulnerabilities"):
            purl = _at(item, "PkgIdentifier", "PURL")
            yield Finding(
                _ids(item.get("VulnerabilityID"), item.get("VendorIDs")),
                _severity(item.get("Severity")),
                f"{item.get('PkgName', '?')} {item.get('InstalledVersion', '')}".rstrip(),
                purl if isinstance(purl, str) else "",
                bool(item.get("FixedVersion")),
            )


def _grype(result: dict[str, Any]) -> Iterator[Finding]:
    for match in _items(result, "matches"):
        item, artifact = match.get("vulnerability"), match.get("artifact")
        if not isinstance(item, dict) or not isinstance(artifact, dict):
            raise ValueError("a match has no vulnerability or no artifact")  # noqa: TRY004
        related = [one.get("id") for one in _items(match, "relatedVulnerabilities")]
        purl = artifact.get("purl")
        yield Finding(
            _ids(item.get("id"), related),
            _severity(item.get("severity")),
            f"{artifact.get('name', '?')} {artifact.get('version', '')}".rstrip(),
            purl if isinstance(purl, str) else "",
            _at(item, "fix", "state") == "fixed" or bool(_at(item, "fix", "versions")),
        )


def _ids(main: Any, others: Any) -> frozenset[str]:
    if not isinstance(main, str) or not main:
        raise ValueError("a vulnerability has no id")
    more = [one for one in others if isinstance(one, str)] if isinstance(others, list) else []
    return frozenset([main, *more])


def _severity(value: Any) -> str:
    text = value.lower() if isinstance(value, str) else ""
    return text if text in _SEVERITIES else "unknown"


Statement = tuple[frozenset[str], bool]


def _settled(
    documents: Sequence[VerifiedAttestation], now: datetime
) -> Mapping[str, list[Statement]]:
    """Vulnerability → the products of each statement in force, and whether it clears them."""
    told: list[tuple[datetime, str, Statement]] = []
    for document in documents:
        predicate = document.predicate
        statements = _at(predicate, "statements")
        for one in statements if isinstance(statements, list) else []:
            moment = parse_time(_at(one, "timestamp")) or parse_time(_at(predicate, "timestamp"))
            if moment is None or moment > now + SKEW:
                continue
            clears = _at(one, "status") in {"not_affected", "fixed"}
            products = _products(one, document.digest)
            if products is not None:
                told += [(moment, name, (products, clears)) for name in _named(one)]
    found: dict[str, list[Statement]] = {}
    for _, name, statement in sorted(told, key=lambda one: one[0]):
        found.setdefault(name, []).append(statement)
    return found


def _named(statement: Any) -> Iterator[str]:
    value = _at(statement, "vulnerability")
    aliases = _at(value, "aliases")
    names = [value, _at(value, "name"), _at(value, "@id")]
    names += aliases if isinstance(aliases, list) else []
    yield from (name for name in names if isinstance(name, str) and name)


def _products(statement: Any, digest: str) -> frozenset[str] | None:
    """The packages that a statement is about, empty for the whole image; ``None`` for others."""
    products = _at(statement, "products")
    if not isinstance(products, list) or not products:
        return frozenset()
    packages: set[str] = set()
    whole = False
    for product in products:
        names = [product] if isinstance(product, str) else list(_names(product))
        parts = _at(product, "subcomponents")
        of_image = any(digest in name.replace("%3A", ":") for name in names)
        if isinstance(parts, list) and parts:
            if of_image:
                packages |= {name for part in parts for name in _names(part)}
        elif of_image:
            whole = True
        else:
            packages |= {name for name in names if name.startswith("pkg:")}
    if whole:
        return frozenset()
    return frozenset(packages) or None


def _names(item: Any) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    for value in (_at(item, "@id"), _at(item, "identifiers", "purl")):
        if isinstance(value, str):
            yield value
    hashed = _at(item, "hashes", "sha-256")
    if isinstance(hashed, str):
        yield f"sha256:{hashed}"


def _cleared(finding: Finding, settled: Mapping[str, list[Statement]]) -> bool:
    """What was said last about the vulnerability in this package holds."""
    said = [
        clears
        for name in finding.ids
        for products, clears in settled.get(name, [])
        if not products or finding.purl in products
    ]
    return bool(said) and said[-1]


def _items(holder: Any, key: str) -> list[dict[str, Any]]:
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{key} is no list of objects")
    return value


def _at(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
