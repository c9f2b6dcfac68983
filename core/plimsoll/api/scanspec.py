"""How an image is scanned for known vulnerabilities."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.require import Severity

Url = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class AcceptedVulnerability(StrictModel):
    """A vulnerability that is accepted for a time."""

    id: Name
    """Its name or an alias of it: ``CVE-2026-1``."""

    package: Annotated[str, StringConstraints(max_length=256)] = ""
    """Only in this package; in any if not given."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """Why it is accepted."""

    until: datetime
    """When that ends."""


class ScanSpec(StrictModel):
    """Where known vulnerabilities are looked up before an image is signed, and what fails it."""

    databases: Annotated[list[Url], Field(min_length=1, max_length=16)]
    """Security databases of distributions (``security.json``) and OSV records (JSON, or a zip
    archive)."""

    fail_on: Annotated[list[Severity], Field(max_length=6)] = []
    """Severities that fail the build. What a database does not rate is ``unknown``."""

    only_fixable: bool = False
    """Let only what has a fix fail the build."""

    ignore: Annotated[list[AcceptedVulnerability], Field(max_length=256)] = []
    """Vulnerabilities that do not count for a time."""

    vex: Annotated[list[Url], Field(max_length=16)] = []
    """OpenVEX documents: what is known not to be affected does not count."""
