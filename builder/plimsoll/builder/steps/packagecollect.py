"""The package-collect step: from what a build left to unsigned packages and images of their tests.

Nothing that comes from the build is believed, and nothing of it is run.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.api.gitsource import VerifiedSigner
from plimsoll.api.packagesteps import PackageCollectResult
from plimsoll.builder.package.emit import Emission, emit
from plimsoll.builder.package.prefetch import with_signers
from plimsoll.builder.package.sbom import Origin
from plimsoll.builder.package.show import to_yaml
from plimsoll.builder.package.workspace import outputs
from plimsoll.builder.sca.abi import compare, exported
from plimsoll.builder.sca.tree import DirectoryTree
from plimsoll.builder.steps.common import registry_of
from plimsoll.builder.steps.packageabi import published_exports, sentences
from plimsoll.builder.steps.packagecommon import Layer, Storage
from plimsoll.builder.steps.packagefetch import delete_output, fetch_output
from plimsoll.builder.steps.packagerecord import (
    UNSIGNED_TYPE,
    BuildRecord,
    BuiltPackage,
    pull_guest,
    pull_planned,
)
from plimsoll.builder.steps.packagestate import read_snapshot
from plimsoll.builder.steps.packagetests import check_tests, push_tests
from plimsoll.builder.steps.packageunpack import OutputError, unpack
from plimsoll.errors import Error
from plimsoll.oci.digest import sha256_of_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.apk.index import IndexEntry
    from plimsoll.arch import Arch
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.linters.model import Finding
    from plimsoll.builder.package.compile import Compiled
    from plimsoll.builder.package.model import Subpackage
    from plimsoll.builder.package.packagemodel import Package
    from plimsoll.builder.steps.packagerecord import GuestRecord, Planned
    from plimsoll.builder.steps.packagestate import Snapshot

APK_TYPE = "application/vnd.plimsoll.apk.unsigned.v1"
_MAX_FINDINGS = 200


@dataclass(frozen=True, slots=True)
class Outbox:
    """Where the output of a build is: base URL, and the token that opens it."""

    url: str
    token: str


@dataclass(frozen=True, slots=True)
class _Emitted:
    entries: list[IndexEntry]
    packages: list[BuiltPackage]
    findings: list[str]


async def collect_package(  # noqa: PLR0913, PLR0917  (what it is about, and from where)
    engine: Engine,
    request: PackageRequest,
    plan: str,
    name: str,
    arch: Arch,
    guest: str,
    outbox: Outbox,
) -> PackageCollectResult:
    """Fetch, check, emit, push; the outbox is closed once nobody will ask it again.

    Raises:
        OutputError: the output is not what a build leaves.
        LintError: a package must not be published.
        MissingTestError: a package has no test and must have one.
        Error: the registry fails, or a test's guest cannot be composed.
    """
    async with _closing(outbox), registry_of(request) as registry:
        storage = Storage(registry, request)
        planned = await pull_planned(storage, plan, name, arch)
        compiled = await asyncio.to_thread(planned.compile, request)
        untested = check_tests(compiled, request, engine.events.say)
        made = await pull_guest(storage, guest)
        compiled = with_signers(
            compiled,
            {url: VerifiedSigner.model_validate(one) for url, one in made.signers.items()},
        )
        snapshot = await read_snapshot(storage, arch, request.keys)
        with tempfile.TemporaryDirectory(
            prefix="plimsoll-collect-", ignore_cleanup_errors=True
        ) as scratch:
            folder = Path(scratch)
            await fetch_output(outbox.url, outbox.token, folder / "output.tar")
            home = folder / "home"
            home.mkdir()
            out = folder / "packages" / arch.apk
            out.mkdir(parents=True)
            await asyncio.to_thread(unpack, folder / "output.tar", home / "melange-out")
            (folder / "output.tar").unlink()
            emitted = await asyncio.to_thread(
                _emit, engine, request, planned, compiled, made, home, out
            )
            record = await _record(storage, planned, compiled, made, guest, snapshot, emitted)
            artifact = await storage.push(
                UNSIGNED_TYPE,
                record.model_dump(mode="json"),
                [Layer(APK_TYPE, out / p.file, p.file) for p in record.packages],
            )
            tests = await push_tests(
                engine,
                storage,
                request,
                planned,
                compiled,
                folder / "packages",
                emitted.entries,
                published=bool(snapshot.manifest),
            )
    return PackageCollectResult(
        artifact=artifact.digest,
        version=compiled.config.package.full_version,
        packages=len(record.packages),
        tests=tests,
        untested=untested,
        warnings=len(emitted.findings),
        abi=record.abi[:20],
    )


@contextlib.asynccontextmanager
async def _closing(outbox: Outbox) -> AsyncIterator[None]:
    """Close the outbox at the end, unless the step will be tried again."""
    try:
        yield
    except Error as error:
        if not error.retryable:
            await close_outbox(outbox)
        raise
    await close_outbox(outbox)


async def close_outbox(outbox: Outbox) -> None:
    """Tell the outbox that it is not needed any more; one that is gone is fine."""
    with contextlib.suppress(Error):
        await delete_output(outbox.url, outbox.token)


def _emit(  # noqa: PLR0913, PLR0917  (what it is about)
    engine: Engine,
    request: PackageRequest,
    planned: Planned,
    compiled: Compiled,
    made: GuestRecord,
    home: Path,
    out: Path,
) -> _Emitted:
    findings: list[str] = []
    configuration = planned.configuration

    def found(part: str, finding: Finding) -> None:
        place = f" {finding.path}" if finding.path else ""
        findings.append(f"{part}: {finding.linter}:{place} {finding.message}"[:500])

    emission = Emission(
        compiled=compiled,
        origin=Origin(configuration.path, configuration.repository, configuration.commit),
        configuration=to_yaml(compiled.config),
        epoch=request.source_date_epoch,
        namespace=request.distribution,
        commit=configuration.commit,
        library_versions=made.libraries,
        require=request.lint_require,
        warn=request.lint_warn,
        say=engine.events.say,
        found=found,
    )
    config = compiled.config
    parts: list[Package | Subpackage] = [config.package, *config.subpackages]
    try:
        with contextlib.ExitStack() as stack:
            folders = outputs(home, [part.name for part in parts])
            trees = {
                part: stack.enter_context(DirectoryTree(path)) for part, path in folders.items()
            }
            entries = [emit(emission, part, trees, out) for part in parts]
            packages = [
                _built(part.name, out / entry.file_name, trees[part.name])
                for part, entry in zip(parts, entries, strict=True)
            ]
    except OSError as error:
        raise OutputError(
            f"the output cannot be read: {error.strerror} ({error.filename})",
            hint="give its owner the right to read it in the build (chmod u+rwX)",
        ) from None
    return _Emitted(entries, packages, findings)


def _built(name: str, path: Path, tree: DirectoryTree) -> BuiltPackage:
    exports = {soname: sorted(symbols) for soname, symbols in exported(tree).items()}
    return BuiltPackage(name=name, file=path.name, sha256=sha256_of_file(path), exports=exports)


async def _record(  # noqa: PLR0913, PLR0917  (what it is about)
    storage: Storage,
    planned: Planned,
    compiled: Compiled,
    made: GuestRecord,
    guest: str,
    snapshot: Snapshot,
    emitted: _Emitted,
) -> BuildRecord:
    package = compiled.config.package
    new = {soname: s for built in emitted.packages for soname, s in built.exports.items()}
    old = await published_exports(storage, snapshot, package.name)
    change = compare(old, new)
    broken = {*change.sonames, *(soname for soname, _ in change.symbols)}
    needed = {
        item.removeprefix("so:").partition("=")[0].partition(">")[0].partition("~")[0]
        for entry in emitted.entries
        for item in entry.depends
        if item.startswith("so:")
    }
    return BuildRecord(
        name=package.name,
        path=planned.configuration.path,
        arch=planned.arch.oci,
        version=package.version,
        epoch=package.epoch,
        inputs=planned.package.inputs,
        links={s: base for s, base in made.bases.items() if s in needed and s not in new},
        packages=emitted.packages,
        guest=guest,
        base=made.base,
        guest_packages=made.packages,
        sources=[{"uses": s.uses, **s.inputs} for s in compiled.sources],
        findings=emitted.findings[:_MAX_FINDINGS],
        abi=sentences(change),
        compatible=sorted(soname for soname in new.keys() & old.keys() if soname not in broken),
        repository=planned.configuration.repository,
        commit=planned.configuration.commit,
        signer=planned.configuration.signer,
        signers=made.signers,
    )
