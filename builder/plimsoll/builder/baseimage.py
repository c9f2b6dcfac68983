"""Base images: somebody's layers, on which packages are installed."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.builder.basecache import BaseImageError, keep, load
from plimsoll.builder.imagesource import open_image
from plimsoll.builder.lock import LockedBase, LockError
from plimsoll.builder.store import CorruptEntryError
from plimsoll.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.arch import Arch
    from plimsoll.builder.basecache import Base
    from plimsoll.builder.lock import Lock
    from plimsoll.builder.store import Store
    from plimsoll.oci.registry import Registry


class BaseImages:
    """The base images of a build.

    Args:
        store: the cache.
        connect: makes the client for a registry.
        offline: use only what is cached or local.
        local: whether configurations may name files of this machine.
    """

    def __init__(
        self,
        store: Store,
        connect: Callable[[], Registry],
        *,
        offline: bool = False,
        local: bool = True,
    ) -> None:
        self._store = store
        self._connect = connect
        self._offline = offline
        self._local = local

    async def of(self, config: ImageConfiguration, archs: Sequence[Arch]) -> dict[Arch, Base]:
        """The base image of each architecture; none if the configuration names none.

        Raises:
            BaseImageError: it cannot be built on.
            Error: it cannot be had.
        """
        base = config.contents.baseimage
        if base is None:
            return {}
        return {arch: await self.get(base.image, arch) for arch in archs}

    async def locked(self, config: ImageConfiguration, lock: Lock, arch: Arch) -> Base | None:
        """The base image that a lock names, if the configuration has one.

        Raises:
            LockError: configuration and lock disagree.
            Error: it cannot be had.
        """
        base = config.contents.baseimage
        known = lock.base(arch)
        if (base.image if base else None) != (known.image if known else None):
            raise LockError(
                "configuration and lock name different base images",
                hint="make the lock anew with 'plimsoll lock'",
            )
        if known is None:
            return None
        return await self.get(known.image, arch, known.digest, is_local=bool(known.local))

    async def get(
        self, name: str, arch: Arch, digest: str = "", *, is_local: bool | None = None
    ) -> Base:
        """A base image, from the cache where it is there.

        Args:
            name: an OCI layout or a ``.tar`` file, or a reference to a registry.
            arch: architecture.
            digest: of the manifest that it must have.
            is_local: whether it is a file; found out if not given.

        Raises:
            BaseImageError, LockError: it is not what it should be.
            Error: it cannot be had.
        """
        if is_local is None:
            is_local = self._local and await asyncio.to_thread(Path(name).exists)
        read = partial(load, self._store, name, is_local=is_local)
        if digest and (known := await asyncio.to_thread(read, digest)):
            return known
        self._check_place(name, is_local=is_local)
        if self._offline and not is_local:
            raise BaseImageError(
                f"the base image {name} is not in the cache, and nothing may be fetched",
                hint="build once without --offline with a lock file, then with this lock",
            )
        place = name
        if digest and not is_local:
            place = str(Reference.parse(name).with_digest(digest))
        async with open_image(place, arch, self._connect, local=is_local) as image:
            found = image.descriptor.digest
            if digest and found != digest:
                raise LockError(
                    f"the base image {name} is {found}, and the lock names {digest}",
                    hint="make the lock anew with 'plimsoll lock', or restore the base image",
                )
            # Of processes at the same time one fetches it.
            async with self._store.lock_async(f"base image {found}"):
                known = await asyncio.to_thread(read, found)
                if known is None:
                    await keep(self._store, image)
                    known = await asyncio.to_thread(read, found)
        if known is None:
            raise CorruptEntryError(f"base image {name}")
        return known

    def _check_place(self, name: str, *, is_local: bool) -> None:
        if is_local and not self._local:
            raise BaseImageError(
                f"the base image {name} is a file, and there are no files here",
                hint="name an image of a registry",
            )
        if not is_local and name.startswith((".", "/")):
            raise BaseImageError(
                f"there is no base image at {name}",
                hint="paths count from the working directory; an image of a registry begins with "
                "the registry's name",
            )


def locked_bases(bases: Mapping[Arch, Base]) -> list[LockedBase]:
    """What a lock says of base images."""
    return [
        LockedBase.of(base.name, base.digest, arch, base.entries, is_local=base.is_local)
        for arch, base in bases.items()
    ]
