"""Testing built packages: each test in a guest of its own that holds exactly what was built."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.guest import make_guest
from plimsoll.builder.package.runner import Bubblewrap, Place, Settings, StepError
from plimsoll.builder.package.workspace import copy_sources
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.package.compile import Compiled, CompiledTest


class MissingTestError(Error):
    """A package without a test, where one is required."""

    reason = "TestMissing"


@dataclass(frozen=True, slots=True)
class TestSettings:
    """How to test, apart from what.

    Attributes:
        repositories: where the built packages are, and others for the guests.
        keyring: keys of these.
        packages: further packages for every guest.
        source: directory whose files are copied into each workspace.
        cache: directory that becomes ``/var/cache/melange``.
        record: folder for the lock of each guest; ``None`` keeps none.
        network: whether every step may use the network.
        environment: variables for the steps.
        require: a package without a test is an error.
        timeout: seconds that one test may take, 0 for no limit.
        trace: print each command of the steps.
        shell: a file of this machine that steps find as ``/bin/sh``.
        interactive: open a shell in the guest when a step fails.
        say: gets what happens.
    """

    repositories: Sequence[str] = ()
    keyring: Sequence[str] = ()
    packages: Sequence[str] = ()
    source: Path | None = None
    cache: Path | None = None
    record: Path | None = None
    network: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    require: bool = False
    timeout: int = 0
    trace: bool = False
    shell: Path | None = None
    interactive: bool = False
    say: Callable[[str], None] = print


async def check_packages(
    engine: Engine, compiled: Compiled, settings: TestSettings, names: Sequence[str] = ()
) -> list[str]:
    """Run the tests of a configuration's packages.

    Args:
        engine: composes the guests.
        compiled: the configuration.
        settings: how.
        names: only these packages; all if empty.

    Returns:
        Names of the packages that were tested.

    Raises:
        MissingTestError: a package has none, and must have one.
        StepError: a test failed.
        PackageConfigError: a name is none of the configuration's.
    """
    version = compiled.config.package.full_version
    wanted = list(names or compiled.scripts)
    if unknown := [name for name in wanted if name not in compiled.scripts]:
        raise PackageConfigError(
            f"the configuration has no package {unknown[0]!r}",
            hint=f"it has {', '.join(compiled.scripts)}",
        )
    without = [name for name in wanted if name not in compiled.tests]
    if without and settings.require:
        raise MissingTestError(
            f"no test: {', '.join(without)}",
            hint="add 'test:' to each; a step that only asks for the version is a beginning",
        )
    for name in without:
        settings.say(f"WARNING: {name} has no test")
    tested = [name for name in wanted if name in compiled.tests]
    for name in tested:
        await _check(engine, compiled, settings, name, version)
    return tested


async def _check(
    engine: Engine, compiled: Compiled, settings: TestSettings, name: str, version: str
) -> None:
    test = compiled.tests[name]
    with tempfile.TemporaryDirectory(prefix="plimsoll-test-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        home = root / "home"
        await asyncio.to_thread(_prepare, home, settings)
        config = _guest(test.environment, settings, f"{name}={version}")
        guest = await make_guest(engine, config, compiled.arch, root / "guest")
        if settings.record is not None:
            await asyncio.to_thread(
                _record, settings.record, f"{name}.lock.json", guest.lock.dump()
            )
        run = Settings(
            environment={**config.environment, **settings.environment},
            network=settings.network,
            root=config.accounts.run_as in {"0", "root"},
            trace=settings.trace,
            shell=settings.shell,
            interactive=settings.interactive,
            say=settings.say,
        )
        runner = Bubblewrap(Place(home, root / "guest", settings.cache), run)
        limit = settings.timeout or None
        try:
            async with asyncio.timeout(limit):
                await _run(runner, test, name, settings)
        except TimeoutError:
            raise StepError(
                f"the test of {name} took longer than {limit} s", hint="raise --timeout"
            ) from None


async def _run(runner: Bubblewrap, test: CompiledTest, name: str, settings: TestSettings) -> None:
    for script in test.scripts:
        settings.say(f"{name}: {script.name}")
        await runner.run(script)


def _prepare(home: Path, settings: TestSettings) -> None:
    with storage_errors(f"making the workspace {home}"):
        home.mkdir()
        if settings.cache is not None:
            settings.cache.mkdir(parents=True, exist_ok=True)
    if settings.source is not None:
        copy_sources(settings.source, home)


def _record(folder: Path, name: str, data: bytes) -> None:
    with storage_errors(f"writing {folder / name}"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _guest(
    environment: ImageConfiguration, settings: TestSettings, package: str
) -> ImageConfiguration:
    """The guest of a test, with exactly the package that was built."""
    contents = environment.contents
    name = package.partition("=")[0]
    others = [item for item in (*contents.packages, *settings.packages) if item != name]
    more = {
        "packages": list(dict.fromkeys([package, *others])),
        "build_repositories": [*contents.build_repositories, *settings.repositories],
        "keyring": [*contents.keyring, *settings.keyring],
    }
    return environment.model_copy(update={"contents": contents.model_copy(update=more)})
