"""The package-prepare step: sources fetched and checked, the image that builds a package pushed.

No code of any package runs here, so it may hold logins and use the network.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.api.packagesteps import OUTPUT_FOLDER, PackagePrepareResult
from plimsoll.builder.git.mirror import UnfetchableError
from plimsoll.builder.package.sources import cache_sources
from plimsoll.builder.package.workspace import copy_sources
from plimsoll.builder.steps.common import RequestError, registry_of
from plimsoll.builder.steps.packagecommon import Storage
from plimsoll.builder.steps.packagefiles import write_folder
from plimsoll.builder.steps.packagegit import GitMirrors
from plimsoll.builder.steps.packageguest import Workspace, push_guest, repositories_of
from plimsoll.builder.steps.packagerecord import (
    GUEST_TYPE,
    GuestPackage,
    GuestRecord,
    pull_planned,
)
from plimsoll.builder.steps.packagescript import program
from plimsoll.builder.steps.packagestate import KnownGuest, read_snapshot
from plimsoll.builder.steps.packagetests import check_tests
from plimsoll.oci.registry import Artifact

if TYPE_CHECKING:
    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.arch import Arch
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.package.compile import Compiled
    from plimsoll.builder.steps.packagerecord import Planned

_CHECKSUMS = ("expected-sha256", "expected-sha512")


async def prepare_package(
    engine: Engine, request: PackageRequest, plan: str, name: str, arch: Arch
) -> PackagePrepareResult:
    """Fetch, compose, push.

    Raises:
        RequestError: the plan does not have the package, or it cannot be built without network.
        MissingTestError: a package has no test and must have one.
        Error: a source, a package or the registry fails.
    """
    async with registry_of(request) as registry:
        storage = Storage(registry, request)
        planned = await pull_planned(storage, plan, name, arch)
        compiled = await asyncio.to_thread(planned.compile, request)
        check_tests(compiled, request, engine.events.say)
        snapshot = await read_snapshot(storage, arch, request.keys)
        with tempfile.TemporaryDirectory(prefix="plimsoll-prepare-") as folder:
            mirrors = GitMirrors(engine.http, Path(folder) / "cache/git", request)
            workspace = await _workspace(engine, request, planned, compiled, mirrors, Path(folder))
            guest = await push_guest(
                engine,
                storage,
                compiled.guest,
                arch,
                sources=repositories_of(request, published=bool(snapshot.manifest)),
                workspace=workspace,
                known={one.key: one.digest for one in snapshot.state.guests},
                node=request.emulate_on,
            )
        bases = {soname: abi.base for soname, abi in snapshot.state.abi().items()}
        record = GuestRecord(
            name=name,
            arch=arch.oci,
            base=KnownGuest(key=guest.base.key, digest=guest.base.digest),
            libraries=guest.libraries,
            bases=bases,
            packages=[
                GuestPackage(name=p.name, version=p.version, url=p.url, sha1=p.sha1.hex())
                for p in guest.lock.contents.packages
            ],
            signers={
                url: one.model_dump(mode="json", by_alias=True)
                for url, one in mirrors.signers.items()
            },
        )
        await registry.attach(
            storage.repository,
            guest.image,
            artifact_type=GUEST_TYPE,
            layers=[Artifact(GUEST_TYPE, record.model_dump_json().encode())],
        )
    package = compiled.config.package
    return PackagePrepareResult(
        guest=guest.image.digest,
        user=guest.user,
        token=secrets.token_hex(16),
        network=request.network,
        timeout=package.timeout,
        resources=_resources(compiled),
    )


def _resources(compiled: Compiled) -> dict[str, str]:
    asked = compiled.config.package.resources
    values = {"cpu": asked.cpu, "memory": asked.memory, "disk": asked.disk}
    return {name: value for name, value in values.items() if value}


async def _workspace(  # noqa: PLR0913, PLR0917  (what goes into it)
    engine: Engine,
    request: PackageRequest,
    planned: Planned,
    compiled: Compiled,
    mirrors: GitMirrors,
    folder: Path,
) -> Workspace:
    files, home, cache = folder / "files", folder / "home", folder / "cache"
    await asyncio.to_thread(_copy, planned, files, home)
    if not request.network:
        _check_sources(compiled)
    await cache_sources(engine.http, compiled.sources, cache, engine.events.say, mirrors.headers)
    for source in compiled.sources:
        if source.uses == "git-checkout":
            engine.events.say(f"{source.inputs['repository']}: fetching")
            try:
                await mirrors.add(source.inputs)
            except UnfetchableError as error:
                if not request.network:
                    raise
                engine.events.say(f"{error.message}; its step fetches it")
    scripts = [(part, script) for part, found in compiled.scripts.items() for script in found]
    files_of_program = program(
        scripts,
        {
            **compiled.guest.environment,
            "SOURCE_DATE_EPOCH": str(request.source_date_epoch),
        },
        made=[f"{OUTPUT_FOLDER}/{part}" for part in compiled.scripts],
        gitconfig=bool(mirrors),
    )
    if mirrors:
        files_of_program["gitconfig"] = mirrors.config().encode()
    return Workspace(home, cache, files_of_program, (OUTPUT_FOLDER,))


def _copy(planned: Planned, files: Path, home: Path) -> None:
    write_folder(planned.configuration.files, files)
    home.mkdir()
    copy_sources(files, home)


def _check_sources(compiled: Compiled) -> None:
    for source in compiled.sources:
        if source.uses == "fetch" and not any(source.inputs.get(name) for name in _CHECKSUMS):
            raise RequestError(
                f"{source.inputs['uri']} has no checksum, and steps have no network",
                hint="give expected-sha256 or expected-sha512",
            )
