"""Getting packages into the cache: downloads side by side, each file once, verified on arrival."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from plimsoll.builder.allocator import keep_buffers
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.events import Events
from plimsoll.builder.processors import workers
from plimsoll.builder.repository import RepositoryError, hinted, local_path
from plimsoll.builder.settings import MAX_PACKAGE
from plimsoll.builder.store import storage_errors
from plimsoll.http import HttpError, public_url

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from plimsoll.builder.cache import PackageCache
    from plimsoll.builder.cachedpackage import CachedPackage
    from plimsoll.builder.lock import LockedPackage
    from plimsoll.builder.logins import Logins
    from plimsoll.http import Http

_DOWNLOADS = 8


class Fetcher:
    """Brings locked packages into the cache.

    Args:
        http: connections.
        cache: where packages go.
        logins: for hosts that ask for one.
        offline: do not download.
        max_size: most bytes of a package file whose size is not known.
        events: told of each package, whether it was fetched or cached.
    """

    def __init__(  # noqa: PLR0913  (settings, by name)
        self,
        http: Http,
        cache: PackageCache,
        logins: Logins,
        *,
        offline: bool = False,
        max_size: int = MAX_PACKAGE,
        events: Events | None = None,
    ) -> None:
        self._http = http
        self._cache = cache
        self._logins = logins
        self._offline = offline
        self._max_size = max_size
        self._events = events or Events()
        keep_buffers()
        # Hashing, inflating and compressing release the interpreter's lock.
        self._pool = ThreadPoolExecutor(workers(), thread_name_prefix="verify")
        self._downloads = asyncio.Semaphore(_DOWNLOADS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def all(self, packages: Sequence[LockedPackage]) -> list[CachedPackage]:
        """All packages, in the order given; the largest are begun first.

        Raises:
            Error: the first thing that went wrong; the others are cancelled.
        """
        order = sorted(range(len(packages)), key=lambda i: -(packages[i].file_size or 0))
        found = await run_all(self.one(packages[number]) for number in order)
        return [package for _, package in sorted(zip(order, found, strict=True), key=_place)]

    async def one(self, package: LockedPackage) -> CachedPackage:
        """One package, from the cache or fetched and verified.

        Raises:
            Error: it cannot be had, or is not what the lock names.
        """
        found = await self._cached(package)
        if found is not None:
            self._events.cached(package)
            return found
        async with self._downloads, self._cache.store.lock_async(f"package {package.checksum}"):
            # Another process may have fetched it while we waited for the lock.
            found = await self._cached(package)
            if found is None:
                found = await self._fetch(package)
                self._events.fetched(package)
            return found

    async def _cached(self, package: LockedPackage) -> CachedPackage | None:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._pool, lambda: self._cache.load(package.sha1, datahash=package.datahash)
        )
        if found is not None:
            _check_name(package, found)
        return found

    async def _fetch(self, package: LockedPackage) -> CachedPackage:
        loop = asyncio.get_running_loop()
        source = public_url(package.url) if not package.is_local else package.url
        if package.is_local:
            path = local_path(package.url)
            if not path.is_file():
                raise RepositoryError(
                    f"package {path} does not exist, though its index names it",
                    hint="rebuild the repository's index",
                )
            scratch = None
        elif self._offline:
            raise RepositoryError(
                f"package {source} is not in the cache, and this build is offline",
                hint="build once without --offline",
            )
        else:
            scratch = self._cache.store.scratch()
            path = scratch / "package.apk"
            await self._download(package, path)
        try:
            filled = await loop.run_in_executor(
                self._pool, lambda: self._cache.fill(path, checksum=package.sha1, source=source)
            )
        finally:
            if scratch is not None:
                path.unlink(missing_ok=True)
                scratch.rmdir()
        _check_name(package, filled)
        if package.datahash and package.datahash != filled.info.datahash:
            raise RepositoryError(
                f"{source} has other data than the lock names",
                hint="make a new lock, and find out who changed the package",
            )
        return filled

    async def _download(self, package: LockedPackage, path: Path) -> None:
        with storage_errors(f"downloading {public_url(package.url)}"):
            try:
                await self._http.download(
                    package.url,
                    path,
                    expected_size=package.file_size,
                    max_size=self._max_size,
                    headers=self._logins.headers(package.url),
                )
            except HttpError as error:
                if error.status == 404:
                    raise RepositoryError(
                        f"{public_url(package.url)} is in the index but not in the repository",
                        hint="the index may be newer or older than the packages: try again later, "
                        "or make a new lock",
                    ) from None
                raise hinted(error) from error


def _check_name(package: LockedPackage, found: CachedPackage) -> None:
    info = found.info
    if (info.name, info.version) != (package.name, package.version):
        raise RepositoryError(
            f"{public_url(package.url)} calls itself {info.name}-{info.version}, its index calls "
            f"it {package.name}-{package.version}",
            hint="the repository is broken or was made to mislead; do not use it",
        )


def _place(item: tuple[int, CachedPackage]) -> int:
    return item[0]
