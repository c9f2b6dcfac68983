"""Looking components up in databases: pure, over feeds that were read before."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from plimsoll.builder.vulnerabilities.model import (
    SEVERITIES,
    Cleared,
    Component,
    Database,
    Ignored,
    Report,
    Vulnerability,
    VulnerabilityDataError,
    best_name,
    ranked,
    utc_now,
)
from plimsoll.builder.vulnerabilities.osv import Wanted, changed, matches, names_of, severity_of
from plimsoll.builder.vulnerabilities.secdb import SecurityDatabase, is_secdb
from plimsoll.builder.vulnerabilities.vex import Statement, clearing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from plimsoll.builder.vulnerabilities.model import Severity
    from plimsoll.builder.vulnerabilities.sources import Feed


@dataclass(slots=True)
class Subject:
    """What is scanned: a name for people, a digest if it has one, and its components."""

    name: str
    components: Sequence[Component]
    digest: str = ""


@dataclass(slots=True)
class Judgement:
    """What is known beside the databases."""

    ignored: Sequence[Ignored] = ()
    statements: Sequence[Statement] = ()


@dataclass(slots=True)
class _Found:
    by_component: dict[Component, list[Vulnerability]] = field(default_factory=dict)
    ratings: dict[str, Severity] = field(default_factory=dict)
    databases: list[Database] = field(default_factory=list)
    secdbs: list[SecurityDatabase] = field(default_factory=list)


def scan(
    subject: Subject, feeds: Iterable[Feed], judgement: Judgement, now: datetime | None = None
) -> Report:
    """Look every component up in every feed. Blocks.

    Args:
        subject: what is scanned.
        feeds: security databases and OSV records, in any order.
        judgement: what does not count.
        now: the time to judge by; the present if not given.

    Raises:
        VulnerabilityDataError: a feed is neither, or is damaged.
        StorageError: a feed's file cannot be read.
    """
    started = utc_now()
    found = _Found()
    wanted = Wanted(subject.components)
    for feed in feeds:
        _read(feed, subject, wanted, found)
    counted: list[Vulnerability] = []
    cleared: list[Cleared] = []
    moment = now or started
    for component in subject.components:
        known: frozenset[str] = frozenset()
        if component.type == "apk":
            known = known.union(*(one.cleared(component) for one in found.secdbs))
        for one in _merged(found.by_component.get(component, []), found.ratings):
            why = _why_not(one, subject.digest, judgement, known, moment)
            if why is None:
                counted.append(one)
            else:
                cleared.append(Cleared(one, why))
    return Report(
        subject.name,
        subject.digest,
        len(subject.components),
        started,
        utc_now(),
        tuple(found.databases),
        tuple(ranked(counted)),
        tuple(cleared),
    )


def _read(feed: Feed, subject: Subject, wanted: Wanted, found: _Found) -> None:
    newest: datetime | None = None
    kinds = set()
    for record in feed.records():
        if is_secdb(record):
            kinds.add("secdb")
            database = SecurityDatabase(record, feed.location)
            found.secdbs.append(database)
            for component in subject.components:
                if component.type == "apk":
                    _add(found, database.look_up(component))
            continue
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise VulnerabilityDataError(
                f"{feed.location} holds something that is no security database and no OSV record",
                hint="give a security.json, or OSV records: a file, a folder, or a zip archive",
            )
        kinds.add("osv")
        _add(found, matches(record, wanted, feed.location))
        rating = severity_of(record)
        if rating != "unknown":
            for name in names_of(record):
                found.ratings.setdefault(name, rating)
        moment = changed(record)
        if moment is not None and (newest is None or moment > newest):
            newest = moment
    kind = "secdb" if kinds == {"secdb"} else "osv"
    found.databases.append(
        Database("secdb" if kind == "secdb" else "osv", feed.location, feed.digest, newest)
    )


def _add(found: _Found, vulnerabilities: Iterable[Vulnerability]) -> None:
    for one in vulnerabilities:
        found.by_component.setdefault(one.component, []).append(one)


def _merged(found: Sequence[Vulnerability], ratings: dict[str, Severity]) -> list[Vulnerability]:
    """What several databases tell of one vulnerability, as one."""
    groups: list[Vulnerability] = []
    for one in found:
        same = [other for other in groups if other.aliases & one.aliases]
        for other in same:
            groups.remove(other)
            one = _joined(other, one)  # noqa: PLW2901  (it grows)
        groups.append(one)
    return [_rated(one, ratings) for one in groups]


def _joined(one: Vulnerability, other: Vulnerability) -> Vulnerability:
    names = one.aliases | other.aliases
    return replace(
        one,
        id=best_name(sorted(names)),
        aliases=names,
        severity=min(one.severity, other.severity, key=SEVERITIES.index),
        fixed=one.fixed or other.fixed,
        summary=one.summary or other.summary,
        database=", ".join(dict.fromkeys([one.database, other.database])),
    )


def _rated(one: Vulnerability, ratings: dict[str, Severity]) -> Vulnerability:
    if one.severity != "unknown":
        return one
    known = [ratings[name] for name in one.aliases if name in ratings]
    return replace(one, severity=min(known, key=SEVERITIES.index)) if known else one


def _why_not(
    one: Vulnerability,
    digest: str,
    judgement: Judgement,
    known: frozenset[str],
    now: datetime,
) -> str | None:
    """Why a vulnerability does not count; ``None`` if it does."""
    if one.aliases & known:
        return "the distribution says that this version does not have it"
    statement = clearing(judgement.statements, one, digest)
    if statement is not None:
        return f"VEX: {statement.status}" + (f" ({statement.why})" if statement.why else "")
    for ignored in judgement.ignored:
        if ignored.covers(one, now):
            return f"accepted until {ignored.until.isoformat()}: {ignored.reason}"
    return None
