"""``plimsoll scan``."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plimsoll.builder.cli.registry import insecure_option, open_registry

if TYPE_CHECKING:
    from plimsoll.builder.vulnerabilities.model import Ignored, Report
    from plimsoll.builder.vulnerabilities.scan import Subject

_SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown", "any")


@click.command("scan")
@click.argument("what", metavar="IMAGE|SBOM|LOCK")
@click.option("--db", "databases", multiple=True, required=True, metavar="PLACE",
              help="A security database (security.json) or OSV records: a file, a folder, a zip "
              "archive, or a URL. Any number.")  # fmt: skip
@click.option("--vex", "documents", multiple=True, metavar="PLACE",
              help="An OpenVEX document: a file or a URL. Any number.")  # fmt: skip
@click.option("--fail-on", multiple=True, type=click.Choice(_SEVERITIES),
              help="Exit with status 1 if there is a vulnerability of this severity. Any number; "
              "'any' is all of them.")  # fmt: skip
@click.option("--only-fixable", is_flag=True, help="Let only what has a fix fail the scan.")
@click.option("--ignore", "ignored", multiple=True, metavar="ID[@PACKAGE]=UNTIL:REASON",
              help="Accept a vulnerability until a day, for a reason: "
              "CVE-2026-1=2026-12-31:not reachable. Any number.")  # fmt: skip
@click.option("--arch", help="Architecture. Default: the first one.")
@click.option("--format", "form", type=click.Choice(["text", "json", "cosign-vuln", "in-toto"]),
              default="text", show_default=True,
              help="Lines, our JSON, or the predicate of an attestation: as 'cosign attest --type "
              "vuln' takes it, or in-toto's vulns v0.2.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), help="A file instead of the screen.")
@click.option("--cache-dir", type=click.Path(path_type=Path),
              help="The package cache; asked about the packages of a LOCK.")  # fmt: skip
@insecure_option
def scan_command(what: str, output: Path | None, form: str, **options: Any) -> None:
    """Look up the known vulnerabilities of an image, an SBOM or a lock.

    APK packages are looked up by the source package they were built from, everything else that
    has a package URL (Go modules, Python, npm, crates…) by its own name.
    """
    from plimsoll.builder.store import storage_errors  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.vulnerabilities import report as render  # noqa: PLC0415
    from plimsoll.builder.vulnerabilities.model import SEVERITIES, Gate  # noqa: PLC0415

    asked = options["fail_on"]
    gate = Gate(
        frozenset(s for s in SEVERITIES if s in asked or "any" in asked), options["only_fixable"]
    )
    accepted = [_ignored(item) for item in options["ignored"]]
    found = asyncio.run(_run(what, options, accepted))
    if form == "text":
        text = render.text(found)
    else:
        make = {
            "json": render.as_json,
            "cosign-vuln": render.cosign_vuln,
            "in-toto": render.in_toto,
        }
        text = json.dumps(make[form](found), indent=2)
    if output is None:
        click.echo(text)
    else:
        with storage_errors(f"writing {output}"):
            output.write_text(f"{text}\n")
        click.echo(render.summary(found), err=True)
    gate.check(found)


async def _run(what: str, options: dict[str, Any], accepted: list[Ignored]) -> Report:
    from plimsoll.builder.vulnerabilities.scan import Judgement, scan  # noqa: PLC0415
    from plimsoll.builder.vulnerabilities.sources import read_document, read_feed  # noqa: PLC0415
    from plimsoll.builder.vulnerabilities.vex import parse_vex  # noqa: PLC0415
    from plimsoll.http import Http  # noqa: PLC0415

    subject = await _subject(what, options)
    async with Http() as http:
        feeds = [await read_feed(http, place) for place in options["databases"]]
        statements = [
            statement
            for place in options["documents"]
            for statement in parse_vex(await read_document(http, place), place)
        ]
    return await asyncio.to_thread(scan, subject, feeds, Judgement(accepted, statements))


async def _subject(what: str, options: dict[str, Any]) -> Subject:
    from plimsoll.builder.imagesource import is_image_file  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.view import read_document  # noqa: PLC0415
    from plimsoll.builder.vulnerabilities.inventory import document_components  # noqa: PLC0415
    from plimsoll.builder.vulnerabilities.scan import Subject  # noqa: PLC0415

    path = Path(what)
    exists = await asyncio.to_thread(path.exists)
    if not exists or await asyncio.to_thread(is_image_file, path):
        return await _image(what, options)
    data = await asyncio.to_thread(read_document, path)
    if _is_lock(data):
        return await _lock(data, what, options)
    components, digest = document_components(data, what)
    return Subject(what, components, digest)


def _is_lock(data: bytes) -> bool:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "contents" in value and "spdxVersion" not in value


async def _image(what: str, options: dict[str, Any]) -> Subject:
    from plimsoll.arch import Arch  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.imagesbom import sbom_of  # noqa: PLC0415
    from plimsoll.builder.imagesource import open_image  # noqa: PLC0415
    from plimsoll.builder.vulnerabilities.inventory import document_components  # noqa: PLC0415
    from plimsoll.builder.vulnerabilities.scan import Subject  # noqa: PLC0415

    def warn(message: str) -> None:
        click.echo(f"warning: {message}", err=True)

    arch = Arch.parse(options["arch"]) if options["arch"] else None
    async with open_image(what, arch, lambda: open_registry(options["insecure"])) as image:
        document = await sbom_of(image, what, warn)
        components, _ = document_components(document, what)
        return Subject(what, components, image.descriptor.digest)


async def _lock(data: bytes, what: str, options: dict[str, Any]) -> Subject:
    """The packages of a lock; their origins stand in the packages, which are fetched if need be."""
    from plimsoll.arch import Arch  # noqa: PLC0415  (start-up time)
    from plimsoll.builder.engine import Engine  # noqa: PLC0415
    from plimsoll.builder.lock import Lock  # noqa: PLC0415
    from plimsoll.builder.settings import Settings  # noqa: PLC0415
    from plimsoll.builder.store import default_cache_dir  # noqa: PLC0415
    from plimsoll.builder.vulnerabilities.inventory import package_components  # noqa: PLC0415
    from plimsoll.builder.vulnerabilities.scan import Subject  # noqa: PLC0415

    lock = Lock.parse(data, what)
    wanted = Arch.parse(options["arch"]).apk if options["arch"] else ""
    archs = [p.architecture for p in lock.contents.packages]
    wanted = wanted or (archs[0] if archs else "")
    own = [p for p in lock.contents.packages if p.architecture == wanted]
    contents = lock.contents.model_copy(update={"packages": own})
    async with Engine(Settings(cache_dir=options["cache_dir"] or default_cache_dir())) as engine:
        found = await engine.packages(lock.model_copy(update={"contents": contents}))
    return Subject(what, package_components(found.values(), ""))


def _ignored(text: str) -> Ignored:
    from plimsoll.builder.vulnerabilities.model import Ignored  # noqa: PLC0415  (start-up time)

    name, _, rest = text.partition("=")
    day, _, reason = rest.partition(":")
    try:
        until = date.fromisoformat(day)
    except ValueError:
        until = None
    if not name or until is None or not reason.strip():
        raise click.BadParameter(
            f"{text!r} is no ID=UNTIL:REASON: write CVE-2026-1=2026-12-31:not reachable",
            param_hint="--ignore",
        )
    identifier, _, package = name.partition("@")
    end = datetime(until.year, until.month, until.day, 23, 59, 59, tzinfo=UTC)
    return Ignored(identifier, reason.strip(), end, package)
