"""Scanning inside a build: before anything is signed, and again when only the report is old."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from plimsoll.builder.provenance import invocation_id
from plimsoll.builder.vulnerabilities.inventory import document_components
from plimsoll.builder.vulnerabilities.model import Gate, Ignored
from plimsoll.builder.vulnerabilities.report import cosign_vuln
from plimsoll.builder.vulnerabilities.scan import Judgement, Subject, scan
from plimsoll.builder.vulnerabilities.sources import read_document, read_feed
from plimsoll.builder.vulnerabilities.vex import parse_vex
from plimsoll.http import Http

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.steps import BuildRequest
    from plimsoll.builder.vulnerabilities.model import Report


async def scanned(request: BuildRequest, documents: Mapping[str, bytes]) -> dict[str, Report]:
    """Scan what SPDX documents list; nothing if the request asks for no scan.

    Args:
        request: says where to look up, and what counts.
        documents: digest of an image → its document.

    Returns:
        Digest → report.

    Raises:
        VulnerabilityDataError, HttpError: a database cannot be had or is none.
    """
    wish = request.scan
    if wish is None:
        return {}
    async with Http(allow_private=False, trusted_hosts=frozenset(request.trusted_hosts)) as http:
        # The databases are the words of whoever wrote the ImageBuild: URLs only.
        feeds = [await read_feed(http, str(url)) for url in wish.databases]
        statements = [
            statement
            for url in wish.vex
            for statement in parse_vex(await read_document(http, str(url)), str(url))
        ]
    judgement = Judgement(
        [Ignored(item.id, item.reason, item.until, item.package) for item in wish.ignore],
        statements,
    )
    reports = {}
    for digest, document in documents.items():
        components, _ = document_components(document, f"the SBOM of {digest}")
        subject = Subject(f"{request.output.repository}@{digest}", components, digest)
        reports[digest] = await asyncio.to_thread(scan, subject, feeds, judgement)
    return reports


def check(request: BuildRequest, reports: Mapping[str, Report]) -> None:
    """Refuse images that have what the request does not allow.

    Raises:
        VulnerableError: one has.
    """
    if request.scan is not None:
        gate = Gate(frozenset(request.scan.fail_on), request.scan.only_fixable)
        for report in reports.values():
            gate.check(report)


def predicate(request: BuildRequest, report: Report) -> dict[str, Any]:
    """What is attested of a report; it names the build, so that a repeated step finds it again."""
    return cosign_vuln(report, invocation_id(request), request.builder_id)


def is_of_build(request: BuildRequest, found: Any) -> bool:
    """Whether an attested predicate is that of this build."""
    invocation = found.get("invocation") if isinstance(found, dict) else None
    return isinstance(invocation, dict) and invocation.get("event_id") == invocation_id(request)
