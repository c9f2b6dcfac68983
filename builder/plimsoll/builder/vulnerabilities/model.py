"""What is looked for, and what is found."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Severity = Literal["critical", "high", "medium", "low", "negligible", "unknown"]
#: Worst first; what nobody rated comes last.
SEVERITIES: Final[tuple[Severity, ...]] = (
    "critical", "high", "medium", "low", "negligible", "unknown",
)  # fmt: skip


class VulnerabilityDataError(Error):
    """A database, a feed, or a VEX document that cannot be used."""

    reason = "InvalidVulnerabilityData"


class VulnerableError(Error):
    """An image has vulnerabilities that it must not have."""

    reason = "Vulnerable"


@dataclass(frozen=True, slots=True)
class Component:
    """Something that may be vulnerable.

    Attributes:
        type: of its package URL: ``apk``, ``golang``, ``pypi``…
        name: as its ecosystem names it, for Maven ``group:artifact``.
        origin: the source package that an APK package was built from; its own name if unknown.
        distro: namespace of an APK package's URL: ``wolfi``, ``alpine``.
    """

    type: str
    name: str
    version: str
    purl: str
    origin: str = ""
    distro: str = ""

    @property
    def source(self) -> str:
        """What security databases of distributions list."""
        return self.origin or self.name


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One vulnerability of one component.

    Attributes:
        id: the name that is best known: a CVE where there is one.
        aliases: all its names, ``id`` among them.
        fixed: the version that has it no more, ``""`` if there is none.
        database: name of the database that says so.
    """

    component: Component
    id: str
    aliases: frozenset[str]
    severity: Severity = "unknown"
    fixed: str = ""
    summary: str = ""
    database: str = ""


@dataclass(frozen=True, slots=True)
class Cleared:
    """A vulnerability that does not count, and why."""

    vulnerability: Vulnerability
    why: str


@dataclass(frozen=True, slots=True)
class Database:
    """What was asked.

    Attributes:
        kind: ``secdb`` or ``osv``.
        digest: of its bytes, ``sha256:…``.
        updated: when its newest record was changed, where it says.
    """

    kind: Literal["secdb", "osv"]
    location: str
    digest: str
    updated: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a scan.

    Attributes:
        subject: what was scanned, and its digest if it has one.
        components: how many were looked up.
        found: what counts, worst first.
        cleared: what does not count.
    """

    subject: str
    digest: str
    components: int
    started: datetime
    finished: datetime
    databases: tuple[Database, ...]
    found: tuple[Vulnerability, ...]
    cleared: tuple[Cleared, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """A vulnerability that is accepted for a time.

    Attributes:
        id: its name or an alias of it.
        package: only in this one, if given.
        until: when that ends.
    """

    id: str
    reason: str
    until: datetime
    package: str = ""

    def covers(self, vulnerability: Vulnerability, now: datetime) -> bool:
        """Whether it speaks of this vulnerability, now."""
        component = vulnerability.component
        return (
            self.until > now
            and self.id in vulnerability.aliases
            and self.package in {"", component.name, component.source}
        )


@dataclass(frozen=True, slots=True)
class Gate:
    """What fails a scan.

    Attributes:
        severities: that do; none: nothing fails.
        only_fixable: count only what has a fix.
    """

    severities: frozenset[Severity] = field(default_factory=frozenset)
    only_fixable: bool = False

    def failing(self, report: Report) -> list[Vulnerability]:
        """What of a report must not be."""
        return [
            one
            for one in report.found
            if one.severity in self.severities and (one.fixed or not self.only_fixable)
        ]

    def check(self, report: Report) -> None:
        """Raise where the report has what must not be.

        Raises:
            VulnerableError: naming the first few.
        """
        if not (failing := self.failing(report)):
            return
        shown = ", ".join(
            f"{one.id} ({one.severity}, {one.component.name} {one.component.version}"
            + (f", fixed in {one.fixed})" if one.fixed else ")")
            for one in failing[:5]
        )
        more = f" and {len(failing) - 5} more" if len(failing) > 5 else ""
        raise VulnerableError(
            f"{report.subject} has vulnerabilities: {shown}{more}",
            hint="update the packages, or accept single vulnerabilities for a time with a reason",
        )


def ranked(found: Iterable[Vulnerability]) -> list[Vulnerability]:
    """Worst first, then by component and name."""
    return sorted(
        found,
        key=lambda v: (SEVERITIES.index(v.severity), v.component.name, v.component.purl, v.id),
    )


def best_name(names: Sequence[str]) -> str:
    """The name under which a vulnerability is best known."""
    return min(names, key=lambda n: (not n.startswith("CVE-"), not n.startswith("GHSA-"), n))


def utc_now() -> datetime:
    """Now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
