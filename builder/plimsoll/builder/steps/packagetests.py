"""Images that test packages: each test in a guest of its own with exactly what was built."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.api.packagesteps import PackageTest
from plimsoll.api.steps import RepositorySource
from plimsoll.apk.keys import SigningKey
from plimsoll.apk.writer import write_index
from plimsoll.builder.ocirepo import INDEX_FILE
from plimsoll.builder.package.check import MissingTestError
from plimsoll.builder.package.workspace import copy_sources
from plimsoll.builder.steps.common import RequestError
from plimsoll.builder.steps.packagefiles import write_folder
from plimsoll.builder.steps.packageguest import Workspace, push_guest, repositories_of
from plimsoll.builder.steps.packagescript import program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.apk.index import IndexEntry
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.package.compile import Compiled
    from plimsoll.builder.steps.packagecommon import Storage
    from plimsoll.builder.steps.packagerecord import Planned

#: Tests of one configuration: their digests must fit into a termination message.
MAX_TESTS = 24
_KEY = "built.rsa.pub"


def check_tests(compiled: Compiled, request: PackageRequest, say: Callable[[str], None]) -> int:
    """How many packages have no test.

    Raises:
        MissingTestError: one has none, and must have one.
        RequestError: there are too many tests.
    """
    without = [name for name in compiled.scripts if name not in compiled.tests]
    if without and request.require_tests:
        raise MissingTestError(
            f"no test: {', '.join(without)}",
            hint="add 'test:' to each; a step that only asks for the version is a beginning",
        )
    for name in without:
        say(f"WARNING: {name} has no test")
    if len(compiled.tests) > MAX_TESTS:
        raise RequestError(
            f"{compiled.config.package.name} has {len(compiled.tests)} tests, over {MAX_TESTS}",
            hint="test several packages in one test, with their names in its packages",
        )
    return len(without)


async def push_tests(  # noqa: PLR0913, PLR0917  (what it is about)
    engine: Engine,
    storage: Storage,
    request: PackageRequest,
    planned: Planned,
    compiled: Compiled,
    built: Path,
    entries: Sequence[IndexEntry],
    *,
    published: bool,
) -> list[PackageTest]:
    """Compose and push an image for every test.

    Args:
        engine: composes the guests.
        storage: where they go.
        request: how.
        planned: the configuration, with its files.
        compiled: the same, compiled.
        built: repository with the packages that were built; it gets an index.
        entries: of these.
        published: whether the storage has an index.

    Raises:
        UnsatisfiableError: a package cannot be installed.
        Error: a package cannot be had or trusted, or the registry fails.
    """
    if not compiled.tests:
        return []
    # The index of what was built is read in this process only, so its key need not last.
    key = await asyncio.to_thread(SigningKey.generate, _KEY, 2048)
    data = write_index(entries, "built", key)
    (built / compiled.arch.apk / INDEX_FILE).write_bytes(data)
    source = RepositorySource(url=str(built), keys={_KEY: key.public_pem().decode()})
    sources = [source, *repositories_of(request, published=published)]
    version = compiled.config.package.full_version
    result = []
    for name, test in compiled.tests.items():
        config = with_package(test.environment, f"{name}={version}")
        files = program(
            [(name, script) for script in test.scripts],
            {**config.environment, "SOURCE_DATE_EPOCH": str(request.source_date_epoch)},
        )
        with tempfile.TemporaryDirectory(prefix="plimsoll-test-") as folder:
            home = Path(folder) / "home"
            await asyncio.to_thread(_copy, planned, Path(folder) / "files", home)
            workspace = Workspace(home, None, files)
            guest = await push_guest(
                engine,
                storage,
                config,
                compiled.arch,
                sources=sources,
                workspace=workspace,
                node=request.emulate_on,
            )
        result.append(PackageTest(name=name, image=guest.image.digest))
    return result


def with_package(environment: ImageConfiguration, package: str) -> ImageConfiguration:
    """A guest with exactly this package (``NAME=VERSION``)."""
    contents = environment.contents
    name = package.partition("=")[0]
    others = [item for item in contents.packages if item != name]
    packages = list(dict.fromkeys([package, *others]))
    update = {"contents": contents.model_copy(update={"packages": packages})}
    return environment.model_copy(update=update)


def _copy(planned: Planned, files: Path, home: Path) -> None:
    write_folder(planned.configuration.files, files)
    home.mkdir()
    copy_sources(files, home)
