"""Guest images: what our engine composes, one more layer with a workspace, and a program."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.api.steps import RepositorySource
from plimsoll.apk.tarfmt import Header, Type
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.builder.codec import GZIP
from plimsoll.builder.layers import finish
from plimsoll.builder.package.load import BUILD_ID, CACHE, HOME
from plimsoll.builder.sca.libraries import library_versions
from plimsoll.builder.segment import SegmentWriter
from plimsoll.builder.steps.packagebase import base_guest, push_with_layer
from plimsoll.builder.steps.packagescript import FOLDER
from plimsoll.builder.steps.packagetar import scan, stream
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.arch import Arch
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.layer import Layer
    from plimsoll.builder.lock import Lock
    from plimsoll.builder.steps.packagebase import BaseGuest
    from plimsoll.builder.steps.packagecommon import Storage
    from plimsoll.oci.model import Descriptor

_SHARED = ("tmp", "var/tmp")


@dataclass(frozen=True, slots=True)
class Workspace:
    """What is added to a guest.

    Attributes:
        home: becomes ``/home/build``.
        cache: becomes ``/var/cache/melange``; ``None`` for none.
        program: files below ``/.plimsoll``; ``run`` is what the image runs.
        folders: further directories, which the user of the image may write to.
    """

    home: Path
    cache: Path | None
    program: Mapping[str, bytes]
    folders: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class GuestImage:
    """A guest in the registry.

    Attributes:
        image: its manifest.
        base: the guest without the workspace.
        lock: its packages.
        libraries: soname → version of the package that offers it.
        user: who its program runs as.
    """

    image: Descriptor
    base: BaseGuest
    lock: Lock
    libraries: dict[str, str]
    user: int


def repositories_of(request: PackageRequest, *, published: bool) -> list[RepositorySource]:
    """Where a guest's packages come from: the repositories given, and this one once it exists."""
    own = RepositorySource(url=f"oci://{request.storage}", keys=request.keys)
    return [*request.repositories, *([own] if published else [])]


def user_of(config: ImageConfiguration) -> int:
    """Who the steps of a guest run as."""
    return 0 if config.accounts.run_as in {"0", "root"} else BUILD_ID


async def push_guest(  # noqa: PLR0913  (what it is made of, and where)
    engine: Engine,
    storage: Storage,
    config: ImageConfiguration,
    arch: Arch,
    *,
    sources: Sequence[RepositorySource],
    workspace: Workspace,
    known: Mapping[str, str] | None = None,
    node: str = "",
) -> GuestImage:
    """Resolve and compose a guest with a workspace, and push it by digest.

    Args:
        engine: composes it.
        storage: where it goes.
        config: its configuration.
        arch: architecture.
        sources: further repositories.
        workspace: what is added.
        known: guests without workspaces that may be there already; see ``base_guest``.
        node: architecture of the nodes that run it by emulation; empty for its own.

    Raises:
        UnsatisfiableError: its packages do not go together.
        RunnerError: it has no shell.
        Error: a package cannot be had or trusted, or the registry fails.
    """
    engine.logins.strip_sources(sources)
    lock, resolutions = await engine.resolve(config, [arch], list(sources))
    chosen = [item.entry for item in resolutions[arch].packages]
    base = await base_guest(engine, storage, config, lock, arch, known or {})
    layer = await asyncio.to_thread(_layer, engine, workspace, user_of(config))
    blob = await _push_layer(engine, storage, layer)
    user = user_of(config)
    return GuestImage(
        await push_with_layer(storage, base, layer, blob, user, node=node),
        base,
        lock,
        dict(library_versions((entry.version, entry.provides) for entry in chosen)),
        user,
    )


async def _push_layer(engine: Engine, storage: Storage, layer: Layer) -> Descriptor:
    part = engine.store.scratch() / "layer"
    try:
        with storage_errors("preparing the workspace for upload"):
            await asyncio.to_thread(layer.write_to, part)
        return await storage.registry.push_blob(storage.repository, part, layer.media_type)
    finally:
        part.unlink(missing_ok=True)


def _layer(engine: Engine, workspace: Workspace, user: int) -> Layer:
    folder = engine.store.scratch()
    with storage_errors("writing the workspace"):
        folder.mkdir(parents=True, exist_ok=True)
        writer = SegmentWriter(folder)
        try:
            _write(writer, workspace, user)
            segment = writer.finish()
        finally:
            writer.close()
    return finish([segment], engine.store, GZIP)


def _write(writer: SegmentWriter, workspace: Workspace, user: int) -> None:
    def folder(path: str, mode: int = 0o755, owner: int = 0) -> None:
        writer.write(encode_header(Header(path, Type.DIRECTORY, mode, owner, owner)))

    folder("home")
    folder("var")
    folder("var/cache")
    for path in _SHARED:
        folder(path, 0o1777)
    home, cache = HOME.strip("/"), CACHE.strip("/")
    for path in (home, cache, *workspace.folders):
        folder(path.strip("/"), 0o755, user)
    for root, prefix in ((workspace.home, home), (workspace.cache, cache)):
        if root is not None:
            for piece in stream(root, scan(root, f"{prefix}/"), owner=user, end=False):
                writer.write(piece)
    folder(FOLDER)
    folder(f"{FOLDER}/steps")
    for name, content in sorted(workspace.program.items()):
        header = Header(f"{FOLDER}/{name}", Type.FILE, 0o755, size=len(content))
        writer.write(encode_header(header) + content + padding(len(content)))
    writer.write(END)
