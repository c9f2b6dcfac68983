"""``require.vulnerabilities``: pure, over verified reports and OpenVEX documents.

A report that is not understood is no clean report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plimsoll.api.meta import parse_duration
from plimsoll.webhook.provenancerules import SKEW, parse_time
from plimsoll.webhook.vulnformats import Finding, at, findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from plimsoll.api.require import VulnerabilityRules
    from plimsoll.signing.results import VerifiedAttestation

_SHOWN = 5


def vulnerability_failures(
    rules: VulnerabilityRules,
    reports: Sequence[VerifiedAttestation],
    documents: Sequence[VerifiedAttestation],
    now: datetime,
) -> Iterator[str]:
    """Why the newest report does not do; an older one never stands in for it."""
    newest: tuple[datetime, VerifiedAttestation] | None = None
    for report in reports:
        moment = parse_time(at(report.predicate, "metadata", "scanFinishedOn"))
        if moment is None or moment > now + SKEW:
            yield "a vulnerability report has no possible time (metadata.scanFinishedOn)"
            return
        if newest is None or moment > newest[0]:
            newest = moment, report
    if newest is None:
        return
    moment, report = newest
    if rules.max_age and now - moment > parse_duration(rules.max_age):
        yield f"the vulnerability report is of {moment.isoformat()}, over {rules.max_age} old"
    try:
        found = list(findings(report.predicate, report.predicate_type))
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


Statement = tuple[frozenset[str], bool]


def _settled(
    documents: Sequence[VerifiedAttestation], now: datetime
) -> Mapping[str, list[Statement]]:
    """Vulnerability → the products of each statement in force, and whether it clears them."""
    told: list[tuple[datetime, str, Statement]] = []
    for document in documents:
        predicate = document.predicate
        statements = at(predicate, "statements")
        for one in statements if isinstance(statements, list) else []:
            moment = parse_time(at(one, "timestamp")) or parse_time(at(predicate, "timestamp"))
            if moment is None or moment > now + SKEW:
                continue
            clears = at(one, "status") in {"not_affected", "fixed"}
            products = _products(one, document.digest)
            if products is not None:
                told += [(moment, name, (products, clears)) for name in _named(one)]
    found: dict[str, list[Statement]] = {}
    for _, name, statement in sorted(told, key=lambda one: one[0]):
        found.setdefault(name, []).append(statement)
    return found


def _named(statement: Any) -> Iterator[str]:
    value = at(statement, "vulnerability")
    aliases = at(value, "aliases")
    names = [value, at(value, "name"), at(value, "@id")]
    names += aliases if isinstance(aliases, list) else []
    yield from (name for name in names if isinstance(name, str) and name)


def _products(statement: Any, digest: str) -> frozenset[str] | None:
    """The packages that a statement is about, empty for the whole image; ``None`` for others."""
    products = at(statement, "products")
    if not isinstance(products, list) or not products:
        return frozenset()
    packages: set[str] = set()
    whole = False
    for product in products:
        names = [product] if isinstance(product, str) else list(_names(product))
        parts = at(product, "subcomponents")
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
    for value in (at(item, "@id"), at(item, "identifiers", "purl")):
        if isinstance(value, str):
            yield value
    hashed = at(item, "hashes", "sha-256")
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
