"""The guest: a root directory that our image engine composes from packages."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
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
    from plimsoll.builder.layer import Layer
    from plimsoll.builder.lock import Lock

_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Guest:
    """What a guest consists of.

    Attributes:
        config: what it is made from.
        arch: its architecture.
        lock: its packages.
        libraries: soname → version of the package that offers it.
        identity: of its packages and of what is made of them.
    """

    config: ImageConfiguration
    arch: Arch
    lock: Lock
    libraries: Mapping[str, str]
    identity: str


async def choose_guest(engine: Engine, config: ImageConfiguration, arch: Arch) -> Guest:
    """Decide which packages make a guest.

    Raises:
        Error: a package cannot be had or trusted.
    """
    lock, resolutions = await engine.resolve(config, [arch])
    chosen = [item.entry for item in resolutions[arch].packages]
    digest = hashlib.sha256(f"{arch.apk} {config.model_dump_json()}".encode())
    for entry in chosen:
        digest.update(f"{entry.name}={entry.version} {entry.checksum.hex()}\n".encode())
    libraries = library_versions((entry.version, entry.provides) for entry in chosen)
    return Guest(config, arch, lock, libraries, digest.hexdigest())


async def fill_guest(engine: Engine, guest: Guest, target: Path, *, keep: bool = False) -> None:
    """Unpack a guest into a directory.

    Args:
        engine: composes it.
        guest: what was chosen.
        target: the directory; what it holds is removed.
        keep: leave it as it is if it holds this guest, as steps may have changed it.

    Raises:
        Error: the guest cannot be composed or written.
    """
    mark = target.with_name(f"{target.name}.id")
    if keep and await asyncio.to_thread(_marked, mark, target) == guest.identity:
        return

    async def once() -> None:
        image = await engine.build(guest.config, guest.lock, guest.arch, name="guest")
        await asyncio.to_thread(_empty, mark, target)
        for layer in image.layers:
            await asyncio.to_thread(_unpack, layer, target)

    await engine.repairing(once)
    with storage_errors(f"writing {mark}"):
        await asyncio.to_thread(mark.write_text, guest.identity)


async def make_guest(engine: Engine, config: ImageConfiguration, arch: Arch, target: Path) -> Guest:
    """Choose a guest and unpack it.

    Raises:
        Error: a package cannot be had or trusted, or the guest cannot be composed.
    """
    guest = await choose_guest(engine, config, arch)
    await fill_guest(engine, guest, target)
    return guest


def _marked(mark: Path, target: Path) -> str:
    return mark.read_text() if mark.is_file() and target.is_dir() else ""


def _empty(mark: Path, target: Path) -> None:
    with storage_errors(f"emptying {target}"):
        mark.unlink(missing_ok=True)
        if target.exists():
            shutil.rmtree(target)


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
