"""Reports for people, for programs, and as predicates of attestations."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from plimsoll.builder.diffrender import clean
from plimsoll.builder.vulnerabilities.model import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from plimsoll.builder.vulnerabilities.model import Report, Vulnerability

#: in-toto attestation framework, predicate "vulns", v0.2.
IN_TOTO_VULNS = "https://in-toto.io/attestation/vulns/v0.2"
_URI = "https://plimsoll.dev/scan"


def text(report: Report) -> str:
    """Lines for a terminal; what strangers wrote cannot steer it."""
    lines = []
    for one in report.found:
        component = one.component
        fixed = f"fixed in {one.fixed}" if one.fixed else "no fix"
        lines.append(
            clean(
                f"{one.severity:10} {one.id:20} {component.name} {component.version}  {fixed}"
                + (f"  {one.summary}" if one.summary else "")
            )
        )
    for item in report.cleared:
        one = item.vulnerability
        lines.append(clean(f"{'-':10} {one.id:20} {one.component.name}  {item.why}"))
    return "\n".join([*lines, summary(report)])


def summary(report: Report) -> str:
    """One line."""
    counts = [(s, sum(one.severity == s for one in report.found)) for s in SEVERITIES]
    told = ", ".join(f"{count} {severity}" for severity, count in counts if count)
    asked = ", ".join(clean(database.location) for database in report.databases)
    more = f", {len(report.cleared)} cleared" if report.cleared else ""
    return f"{report.components} components, {told or 'no vulnerabilities'}{more} (by {asked})"


def as_json(report: Report) -> dict[str, Any]:
    """Everything, as JSON takes it."""
    return {
        "subject": report.subject,
        "digest": report.digest,
        "components": report.components,
        "started": time(report.started),
        "finished": time(report.finished),
        "databases": [
            {**asdict(d), "updated": time(d.updated) if d.updated else None}
            for d in report.databases
        ],
        "vulnerabilities": [_plain(one) for one in report.found],
        "cleared": [{**_plain(item.vulnerability), "why": item.why} for item in report.cleared],
    }


def trivy(report: Report) -> dict[str, Any]:
    """The report as Trivy writes its own (schema 2), which many programs read."""
    types: dict[str, list[Vulnerability]] = {}
    for one in report.found:
        types.setdefault(one.component.type, []).append(one)
    return {
        "SchemaVersion": 2,
        "ArtifactName": report.subject,
        "ArtifactType": "container_image",
        "Results": [
            {
                "Target": report.subject,
                "Class": "os-pkgs" if type_ == "apk" else "lang-pkgs",
                "Type": found[0].component.distro or type_ if type_ == "apk" else type_,
                "Vulnerabilities": [_trivy(one) for one in found],
            }
            for type_, found in sorted(types.items())
        ],
    }


def cosign_vuln(report: Report, event: str = "", builder: str = "") -> dict[str, Any]:
    """The predicate of ``cosign attest --type vuln``.

    Args:
        report: the result of the scan.
        event: names what made the scan run, for example a build.
        builder: who ran it.
    """
    return {
        "invocation": {"parameters": [], "uri": "", "event_id": event, "builder.id": builder},
        "scanner": {
            "uri": _URI,
            "version": version("plimsoll"),
            "db": _database(report),
            "result": trivy(report),
        },
        "metadata": _times(report),
    }


def in_toto(report: Report) -> dict[str, Any]:
    """The predicate ``IN_TOTO_VULNS``."""
    return {
        "scanner": {
            "uri": _URI,
            "version": version("plimsoll"),
            "db": _database(report),
            "result": [
                {
                    "id": one.id,
                    "severity": [{"method": "plimsoll", "score": one.severity}],
                    "annotations": [
                        {
                            "purl": one.component.purl,
                            "package": one.component.name,
                            "version": one.component.version,
                            "aliases": _others(one),
                            **({"fixed": one.fixed} if one.fixed else {}),
                        }
                    ],
                }
                for one in report.found
            ],
        },
        "metadata": _times(report),
    }


def time(moment: datetime) -> str:
    """RFC 3339 in UTC."""
    return moment.isoformat().replace("+00:00", "Z")


def _database(report: Report) -> dict[str, str]:
    updated = [d.updated for d in report.databases if d.updated]
    return {
        "uri": " ".join(d.location for d in report.databases),
        "version": " ".join(d.digest for d in report.databases),
        "lastUpdate": time(max(updated) if updated else report.started),
    }


def _times(report: Report) -> dict[str, str]:
    return {"scanStartedOn": time(report.started), "scanFinishedOn": time(report.finished)}


def _plain(one: Vulnerability) -> dict[str, Any]:
    return {
        "id": one.id,
        "aliases": sorted(one.aliases),
        "severity": one.severity,
        "package": one.component.name,
        "version": one.component.version,
        "purl": one.component.purl,
        "fixed": one.fixed,
        "summary": one.summary,
        "database": one.database,
    }


def _trivy(one: Vulnerability) -> dict[str, Any]:
    others = _others(one)
    return {
        "VulnerabilityID": one.id,
        **({"VendorIDs": others} if others else {}),
        "PkgName": one.component.name,
        "PkgIdentifier": {"PURL": one.component.purl},
        "InstalledVersion": one.component.version,
        **({"FixedVersion": one.fixed} if one.fixed else {}),
        "Status": "fixed" if one.fixed else "affected",
        **({"Title": one.summary} if one.summary else {}),
        "Severity": "LOW" if one.severity == "negligible" else one.severity.upper(),
    }


def _others(one: Vulnerability) -> list[str]:
    names: Iterable[str] = one.aliases - {one.id}
    return sorted(names)
