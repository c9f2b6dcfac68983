"""The guest: a root directory that our image engine composes from packages."""

from __future__ import annotations

import asyncio
import os
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isal import isal_zlib

from plimsoll.builder.sca.libraries import library_versions
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.arch import Arch
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.layers import Layer
    from plimsoll.builder.lock import Lock

_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Guest:
    """What a guest consists of.

    Attributes:
        lock: its packages.
        libraries: soname → version of the package that offers it.
    """

    lock: Lock
    libraries: Mapping[str, str]


async def make_guest(engine: Engine, config: ImageConfiguration, arch: Arch, target: Path) -> Guest:
    """Compose a guest, and unpack it unless the directory holds one already.

    Raises:
        Error: a package cannot be had or trusted, or the guest cannot be composed.
    """
    lock, resolutions = await engine.resolve(config, [arch])
    chosen = [item.entry for item in resolutions[arch].packages]
    guest = Guest(lock, library_versions((entry.version, entry.provides) for entry in chosen))
    if await asyncio.to_thread(_is_filled, target):
        return guest

    async def once() -> None:
        image = await engine.build(config, lock, arch, name="guest")
        for layer in image.layers:
            await asyncio.to_thread(_unpack, layer, target)

    await engine.repairing(once)
    return guest


def _is_filled(target: Path) -> bool:
    return target.exists() and any(target.iterdir())


def _unpack(layer: Layer, target: Path) -> None:
    with storage_errors(f"unpacking the guest into {target}"):
        target.mkdir(parents=True, exist_ok=True)
        stream: Any = _Stream(_inflate(layer))
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            # Our own tree: no path leads through a link, and no name is there twice.
            archive.extractall(  # noqa: S202  (as above)
                target, members=_members(archive), filter=_plain
            )


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    return (member for member in archive if not member.isdev())


def _plain(member: tarfile.TarInfo, target: str) -> tarfile.TarInfo:
    """Everything belongs to who builds: a user namespace maps one owner only."""
    del target
    mode = (member.mode or 0) & 0o1777 | (0o700 if member.isdir() else 0o400)
    return member.replace(
        mode=mode, uid=os.getuid(), gid=os.getgid(), uname="", gname="", deep=False
    )


def _inflate(layer: Layer) -> Iterator[bytes]:
    """The tar of a layer, which is one gzip member after the other."""
    inflater = isal_zlib.decompressobj(31)
    for chunk in layer.chunks():
        data = chunk
        while data:
            yield inflater.decompress(data)
            data = inflater.unused_data if inflater.eof else b""
            if inflater.eof:
                inflater = isal_zlib.decompressobj(31)


class _Stream:
    """An iterator of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int = _READ) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        parts: list[memoryview] = []
        while size > 0:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk)
                continue
            parts.append(self._rest[:size])
            self._rest = self._rest[size:]
            size -= len(parts[-1])
        return b"".join(parts)
