"""The image engine: resolve, fetch, compose; the same for the command line and for build steps."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar

from plimsoll.arch import Arch
from plimsoll.builder.baseresolve import resolve_on
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.events import Events
from plimsoll.builder.locking import make_lock
from plimsoll.builder.logins import Logins
from plimsoll.builder.ociimage import CREATED, image_index, source_notes, timestamp
from plimsoll.builder.remembered import image_key, recall, remember
from plimsoll.builder.repositories import Repositories
from plimsoll.builder.repository import key_name
from plimsoll.builder.store import CorruptEntryError, StorageError, Store
from plimsoll.builder.transport import Transport
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from types import TracebackType

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.api.steps import RepositorySource
    from plimsoll.apk.solver import Resolution
    from plimsoll.builder.baseimage import BaseImages
    from plimsoll.builder.cachedpackage import CachedPackage
    from plimsoll.builder.codec import Codec
    from plimsoll.builder.fetch import Fetcher
    from plimsoll.builder.lock import Lock, LockedBase, LockedConfig
    from plimsoll.builder.ociimage import ArchImage
    from plimsoll.builder.settings import Settings

T = TypeVar("T")


class UnsupportedError(Error):
    """Something the format has and this engine does not do."""

    reason = "Unsupported"


class Engine:
    """Builds images; use as an async context manager.

    Args:
        settings: how to build.
        events: who is told what happens.

    Raises:
        StorageError: the cache cannot be opened.
    """

    def __init__(self, settings: Settings, events: Events | None = None) -> None:
        self.settings = settings
        self.events = events or Events()
        self.store = Store(settings.cache_dir)
        self.logins = Logins()
        self.http = Transport(
            self.logins,
            trusted_hosts=settings.trusted_hosts,
            insecure=settings.insecure_registries,
        )
        self.repositories = Repositories(
            self.http,
            self.store,
            self.logins,
            offline=settings.offline,
            max_index_size=settings.max_index,
            max_download=settings.max_http,
            discover=settings.trusted_hosts is None,
            say=self.events.say,
        )
        #: Under what the images that were built are remembered, those that can be.
        self.image_keys: dict[Arch, str] = {}

    @cached_property
    def bases(self) -> BaseImages:
        """Base images, of those configurations that have one."""
        from plimsoll.builder.baseimage import BaseImages  # noqa: PLC0415  (start-up time)

        return BaseImages(
            self.store,
            self.http.registry,
            offline=self.settings.offline,
            local=self.settings.trusted_hosts is None,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.close()
        self.store.close()

    async def resolve(
        self,
        config: ImageConfiguration,
        archs: Sequence[Arch],
        sources: Sequence[RepositorySource] = (),
        origin: LockedConfig | None = None,
    ) -> tuple[Lock, dict[Arch, Resolution]]:
        """Choose the packages of all architectures together.

        Args:
            config: the configuration.
            archs: architectures.
            sources: repositories beside those of the configuration.
            origin: the configuration file, for the lock.

        Raises:
            UnsatisfiableError: there is no solution, and why.
            Error: a repository or a key cannot be had or trusted.
        """
        config = self._checked(config)
        bases = await self.bases.of(config, archs) if config.contents.baseimage else {}
        based: list[LockedBase] = []
        if bases:
            from plimsoll.builder.baseimage import locked_bases  # noqa: PLC0415  (start-up time)

            based = locked_bases(bases)
            # What a name means may change, and no file that is watched says so.
            self.repositories.asked = True
        sources = self.logins.strip_sources(sources)
        keys = await self.repositories.keys(config.contents.keyring)
        repositories = await self.repositories.open(
            config.contents, keys, sources, ignore_signatures=self.settings.ignore_signatures
        )
        indexes = await self.repositories.indexes(repositories, archs)
        resolutions = await asyncio.to_thread(
            resolve_on, bases, wanted(config), indexes, exact=self.settings.compat
        )
        keys += self.repositories.discovered.values()
        lock = make_lock(
            config,
            resolutions,
            keys=keys,
            repositories=repositories,
            origin=origin,
            bases=based,
        )
        return lock, resolutions

    async def packages(self, lock: Lock) -> dict[tuple[str, str], CachedPackage]:
        """Every package of a lock, verified, by architecture (APK name) and name."""
        locked = lock.contents.packages
        async with self._fetcher() as fetcher:
            found = await fetcher.all(locked)
        return {(p.architecture, p.name): c for p, c in zip(locked, found, strict=True)}

    async def build(
        self,
        config: ImageConfiguration,
        lock: Lock,
        arch: Arch,
        *,
        name: str = "image",
        annotations: Mapping[str, str] | None = None,
    ) -> ArchImage:
        """Build one architecture's image.

        Args:
            config: the configuration.
            lock: its packages.
            arch: architecture.
            name: repository of the image, for its SBOM.
            annotations: further annotations.

        Raises:
            Error: a package cannot be had or trusted, or the configuration cannot be fulfilled.
        """
        config = self._checked(config)
        notes = {**config.annotations, **(annotations or {})}
        settings = self.settings
        key = "" if settings.compat else image_key(config, lock, arch, name, notes, settings)
        if key:
            self.image_keys[arch] = key
        known = await asyncio.to_thread(recall, self.store, key, arch) if key else None
        if known is not None:
            self.events.say(f"{arch}: nothing changed since the last build")
            return known
        from plimsoll.builder.assemble import assemble  # noqa: PLC0415  (start-up time)
        from plimsoll.builder.codec import codec_of  # noqa: PLC0415
        from plimsoll.builder.compose import Recipe  # noqa: PLC0415

        locked = lock.packages(arch)
        keys = [(key_name(k.name), k.content) for k in lock.contents.keyring]

        async def once() -> ArchImage:
            base = await self.bases.locked(config, lock, arch)
            async with self._fetcher(codec_of(config.compression)) as fetcher:
                packages = await fetcher.all(locked)
            recipe = Recipe(arch, config, packages, notes, keys, settings.compat, base)
            return await asyncio.to_thread(
                assemble, recipe, self.store, name, settings.build_date, self.events.warn
            )

        image = await self.repairing(once)
        if key:
            await asyncio.to_thread(remember, self.store, key, image)
        return image

    def index(
        self,
        config: ImageConfiguration,
        images: Sequence[ArchImage],
        annotations: Mapping[str, str] | None = None,
    ) -> bytes:
        """The index document over the images of all architectures."""
        notes = {**config.annotations, **(annotations or {})}
        if self.settings.compat:
            notes |= source_notes(config.vcs_url)
        notes[CREATED] = timestamp(max((image.created for image in images), default=0))
        return image_index((image.descriptor for image in images), notes)

    async def repairing(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something with the cache; where the cache turns out damaged, clean it and try again.

        Raises:
            StorageError: it is damaged again at once.
        """
        try:
            return await work()
        except CorruptEntryError as error:
            self.events.warn(f"the cache was damaged ({error}); what is damaged is made again")
            await asyncio.to_thread(self.repair)
        try:
            return await work()
        except CorruptEntryError as error:
            raise StorageError(
                f"the cache {self.store.root} is damaged again right after it was cleaned: {error}",
                hint="check the disk, or use another --cache-dir",
            ) from error

    def repair(self) -> None:
        """Read every package in the cache and drop what is not what was stored."""
        for kind in ("builds", "members", "layers", "images", "parts", "bases"):
            self.store.remove(self.store.root / kind)
        from plimsoll.builder.cache import PackageCache  # noqa: PLC0415  (start-up time)

        cache = PackageCache(self.store, self.settings.limits)
        for folder in (self.store.root / "packages").glob("*/*"):
            package = cache.load(bytes.fromhex(folder.name))
            if package is None:
                continue
            try:
                package.segment.verify()
            except CorruptEntryError:
                cache.forget(package)

    def _checked(self, config: ImageConfiguration) -> ImageConfiguration:
        check_supported(config, compat=self.settings.compat)
        return self.logins.strip_config(config)

    def _fetcher(self, codec: Codec | None = None) -> Fetcher:
        from plimsoll.builder.cache import PackageCache  # noqa: PLC0415  (start-up time)
        from plimsoll.builder.codec import GZIP  # noqa: PLC0415
        from plimsoll.builder.fetch import Fetcher  # noqa: PLC0415

        return Fetcher(
            self.http,
            PackageCache(self.store, self.settings.limits, codec or GZIP),
            self.logins,
            offline=self.settings.offline,
            max_size=self.settings.max_http,
            events=self.events,
        )


async def build_all(
    engine: Engine,
    config: ImageConfiguration,
    lock: Lock,
    archs: Sequence[Arch],
    **options: Any,
) -> list[ArchImage]:
    """Build all architectures, side by side."""
    return await run_all(engine.build(config, lock, arch, **options) for arch in archs)


def architectures(config: ImageConfiguration, asked: Sequence[str] = ()) -> list[Arch]:
    """The architectures to build, each once, in the order given.

    Args:
        config: says which, where nothing is asked for; all of them if it does not.
        asked: names, ``host`` or ``all``.

    Raises:
        UnknownArchitectureError: a name is none.
    """
    names = [name for text in asked for name in text.split(",") if name] or config.archs
    if not names or "all" in names:
        return list(Arch)
    return list(dict.fromkeys(Arch.parse(name) for name in names))


def wanted(config: ImageConfiguration) -> list[str]:
    """What the solver is asked for."""
    packages = list(config.contents.packages)
    if config.entrypoint.type == "service-bundle" and "s6" not in packages:
        packages.append("s6")
    return packages


def check_supported(config: ImageConfiguration, *, compat: bool) -> None:
    """Refuse what would otherwise be left out silently.

    Raises:
        UnsupportedError: naming it.
    """
    if config.contents.baseimage is not None and compat:
        raise UnsupportedError(
            "an image on a base image cannot be made as apko makes it",
            hint="leave out --compat, or contents.baseimage",
        )
    if compat and config.layering is not None and config.layering.strategy == "package":
        raise UnsupportedError(
            "apko has no layering strategy 'package'",
            hint="leave out --compat, or layer by origin",
        )
