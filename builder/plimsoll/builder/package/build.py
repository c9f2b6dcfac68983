"""Building packages on a workstation: guest, steps, packages, index."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.apk.index import read_index
from plimsoll.apk.version import Version
from plimsoll.apk.writer import write_index
from plimsoll.builder.package.emit import Emission, emit
from plimsoll.builder.package.guest import choose_guest, fill_guest
from plimsoll.builder.package.progress import Progress
from plimsoll.builder.package.runner import Place, Settings, StepError, make_runner
from plimsoll.builder.package.show import record
from plimsoll.builder.package.workspace import copy_sources, identity, outputs
from plimsoll.builder.sca.tree import DirectoryTree
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from plimsoll.apk.index import IndexEntry
    from plimsoll.apk.keys import SigningKey
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.package.compile import Compiled
    from plimsoll.builder.package.guest import Guest
    from plimsoll.builder.package.model import Subpackage
    from plimsoll.builder.package.packagemodel import Package
    from plimsoll.builder.package.runner import Runner
    from plimsoll.builder.package.sbom import Origin
    from plimsoll.builder.package.script import Script


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How to build, apart from what.

    Attributes:
        out: packages and index go to ``OUT/ARCH``.
        runner: ``bubblewrap`` or ``host``.
        source: directory whose files are copied into the workspace.
        workspace: kept, and taken up where it was left; ``None`` for a temporary one.
        keep: leave a temporary workspace behind.
        cache: directory that becomes ``/var/cache/melange``.
        network: whether every step may use the network.
        environment: variables for the steps, which do not go into the package.
        epoch: date of the packages, seconds since the epoch.
        namespace: the distribution.
        commit: of the configuration.
        key: signs packages and index.
        index: whether to write an index.
        trace: print each command of the steps.
        shell: a file of this machine that steps find as ``/bin/sh``.
        cpus: how many processors steps may use; 0 for all.
        interactive: open a shell in the guest when a step fails.
        strip_origin: packages do not say what they are subpackages of.
        timeout: seconds for all steps, 0 for no limit.
        require: linters whose findings are errors; ``None`` for the usual ones.
        warn: linters whose findings are warnings.
        say: gets what happens.
    """

    out: Path
    runner: str = "bubblewrap"
    source: Path | None = None
    workspace: Path | None = None
    keep: bool = False
    cache: Path | None = None
    network: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    epoch: int = 0
    namespace: str = ""
    commit: str = ""
    key: SigningKey | None = None
    index: bool = True
    trace: bool = False
    shell: Path | None = None
    cpus: int = 0
    interactive: bool = False
    strip_origin: bool = False
    timeout: int = 0
    require: Sequence[str] | None = None
    warn: Sequence[str] | None = None
    say: Callable[[str], None] = print


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made.

    Attributes:
        packages: files, that of the main package first.
        entries: what an index says of each.
        guest: ``None`` where the steps ran on this machine.
    """

    packages: tuple[Path, ...]
    entries: tuple[IndexEntry, ...]
    index: Path | None
    guest: Guest | None


async def build_package(
    engine: Engine, compiled: Compiled, origin: Origin, settings: BuildSettings
) -> Built:
    """Build all packages of a configuration for one architecture.

    Raises:
        StepError: a step failed.
        LintError: a package must not be published.
        Error: the guest cannot be composed, or the result is not sound.
    """
    package = compiled.config.package
    Version.parse(package.full_version)
    with _workspace(settings) as root:
        home, guest = root / "home", root / "guest"
        with storage_errors(f"making the workspace {root}"):
            home.mkdir(parents=True, exist_ok=True)
            if settings.cache is not None:
                settings.cache.mkdir(parents=True, exist_ok=True)
        environment = {
            **compiled.guest.environment,
            "SOURCE_DATE_EPOCH": str(settings.epoch),
            **settings.environment,
        }
        made = None
        if settings.runner == "bubblewrap":
            settings.say(f"composing the guest of {package.name}")
            made = await choose_guest(engine, compiled.guest, compiled.arch)
        progress = Progress(root, keep=settings.workspace is not None)
        start = progress.begin(
            [script for _, script in _steps(compiled)],
            [
                compiled.arch.apk,
                made.identity if made else settings.runner,
                await asyncio.to_thread(identity, settings.source) if settings.source else "",
                *(f"{name}={value}" for name, value in sorted(environment.items())),
            ],
        )
        if made is not None:
            await fill_guest(engine, made, guest, keep=start > 0)
        await asyncio.to_thread(progress.restore)
        if settings.source is not None and not start:
            await asyncio.to_thread(copy_sources, settings.source, home)
        run = Settings(
            environment=environment,
            network=settings.network,
            root=compiled.guest.accounts.run_as in {"0", "root"},
            trace=settings.trace,
            shell=settings.shell,
            cpus=settings.cpus,
            interactive=settings.interactive,
            say=settings.say,
        )
        runner = make_runner(settings.runner, Place(home, guest, settings.cache), run)
        outputs(home, compiled.scripts)
        limit = settings.timeout or package.timeout or None
        try:
            async with asyncio.timeout(limit):
                await _run(runner, compiled, progress, settings)
        except TimeoutError:
            raise StepError(
                f"the build of {package.name} took longer than {limit} s",
                hint="raise package.timeout or --timeout",
            ) from None
        return await asyncio.to_thread(_emit_all, compiled, origin, settings, home, made)


@contextlib.contextmanager
def _workspace(settings: BuildSettings) -> Iterator[Path]:
    if settings.workspace is not None:
        yield settings.workspace
        return
    if settings.keep:
        kept = Path(tempfile.mkdtemp(prefix="plimsoll-build-"))
        settings.say(f"the workspace is {kept}, and stays")
        yield kept
        return
    # Steps may leave directories without rights behind.
    with tempfile.TemporaryDirectory(prefix="plimsoll-build-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _steps(compiled: Compiled) -> list[tuple[str, Script]]:
    return [(name, script) for name, scripts in compiled.scripts.items() for script in scripts]


async def _run(
    runner: Runner, compiled: Compiled, progress: Progress, settings: BuildSettings
) -> None:
    """Run the steps that were not run before in this workspace with all that led to them."""
    for number, (name, script) in enumerate(_steps(compiled)):
        if number < len(progress.done):
            settings.say(f"{name}: {script.name} was done before")
            continue
        settings.say(f"{name}: {script.name}")
        await runner.run(script)
        await asyncio.to_thread(progress.finished, number)


def _emit_all(
    compiled: Compiled,
    origin: Origin,
    settings: BuildSettings,
    home: Path,
    guest: Guest | None,
) -> Built:
    config = compiled.config
    parts: list[Package | Subpackage] = [config.package, *config.subpackages]
    folder = settings.out / compiled.arch.apk
    with storage_errors(f"writing packages to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    emission = Emission(
        compiled=compiled,
        origin=origin,
        configuration=record(config),
        epoch=settings.epoch,
        namespace=settings.namespace,
        commit=settings.commit,
        key=settings.key,
        library_versions=guest.libraries if guest else {},
        require=settings.require,
        warn=settings.warn,
        say=settings.say,
        strip_origin=settings.strip_origin,
    )
    with contextlib.ExitStack() as stack:
        trees = {
            name: stack.enter_context(DirectoryTree(path))
            for name, path in outputs(home, [part.name for part in parts]).items()
        }
        # All packages or none: what one linter refuses must not stand beside its old relatives.
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".new-", dir=folder)))
        entries = [emit(emission, part, trees, work) for part in parts]
        with storage_errors(f"writing packages to {folder}"):
            for entry in entries:
                (work / entry.file_name).replace(folder / entry.file_name)
    index = put_into_index(folder, entries, settings) if settings.index else None
    paths = tuple(folder / entry.file_name for entry in entries)
    return Built(paths, tuple(entries), index, guest)


def put_into_index(folder: Path, entries: Sequence[IndexEntry], settings: BuildSettings) -> Path:
    """Put packages into the index of a folder, beside what it lists already."""
    path = folder / "APKINDEX.tar.gz"
    found = {(entry.name, entry.version): entry for entry in entries}
    if path.exists():
        old = read_index(path.read_bytes(), None, source=str(path))
        found = {(entry.name, entry.version): entry for entry in old.entries()} | found
    with storage_errors(f"writing {path}"):
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(write_index(found.values(), settings.namespace, settings.key))
        temporary.replace(path)
    return path
