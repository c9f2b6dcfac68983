"""Guest images: what our engine composes, one more layer with a workspace, and a program."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Header, Type
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.builder.codec import GZIP
from plimsoll.builder.layers import finish
from plimsoll.builder.ociimage import image_config, image_manifest
from plimsoll.builder.package.load import BUILD_ID, CACHE, HOME
from plimsoll.builder.package.runner import RunnerError
from plimsoll.builder.package.script import SHELLS
from plimsoll.builder.publish import push_image
from plimsoll.builder.sca.libraries import library_versions
from plimsoll.builder.segment import SegmentWriter
from plimsoll.builder.steps.packagescript import FOLDER, PROGRAM
from plimsoll.builder.steps.packagetar import scan, stream
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from plimsoll.api.image import ImageConfiguration
    from plimsoll.api.steps import RepositorySource
    from plimsoll.arch import Arch
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.layer import Layer
    from plimsoll.builder.lock import Lock
    from plimsoll.builder.ociimage import ArchImage
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
    """A guest as an image.

    Attributes:
        libraries: soname → version of the package that offers it.
    """

    image: ArchImage
    lock: Lock
    libraries: dict[str, str]
    user: int


def user_of(config: ImageConfiguration) -> int:
    """Who the steps of a guest run as."""
    return 0 if config.accounts.run_as in {"0", "root"} else BUILD_ID


async def compose_guest(
    engine: Engine,
    config: ImageConfiguration,
    arch: Arch,
    sources: Sequence[RepositorySource],
    workspace: Workspace,
) -> GuestImage:
    """Resolve and compose a guest with a workspace.

    Raises:
        UnsatisfiableError: its packages do not go together.
        RunnerError: it has no shell.
        Error: a package cannot be had or trusted.
    """
    engine.logins.strip_sources(sources)
    lock, resolutions = await engine.resolve(config, [arch], list(sources))
    chosen = [item.entry for item in resolutions[arch].packages]
    user = user_of(config)

    async def once() -> ArchImage:
        image = await engine.build(config, lock, arch, name="guest")
        shell = await _shell(engine, lock)
        layer = await asyncio.to_thread(_layer, engine, workspace, user)
        return _with_layer(image, config, layer, user, shell)

    image = await engine.repairing(once)
    return GuestImage(
        image,
        lock,
        dict(library_versions((entry.version, entry.provides) for entry in chosen)),
        user,
    )


async def push_guest(engine: Engine, storage: Storage, guest: GuestImage) -> Descriptor:
    """Push a guest by digest.

    Raises:
        RegistryError: the registry does not take it.
    """
    return await push_image(storage.registry, storage.repository, guest.image, engine.store)


async def _shell(engine: Engine, lock: Lock) -> Sequence[str]:
    """What runs the program: the first shell that the guest has.

    Raises:
        RunnerError: it has none.
    """
    packages = await engine.packages(lock)
    found = {entry.path for package in packages.values() for entry in package.entries}
    for shell in SHELLS:
        path = shell[0].strip("/")
        if path in found or f"usr/{path}" in found:
            return shell
    raise RunnerError(
        "the guest has no shell", hint="add busybox or bash to environment.contents.packages"
    )


def _with_layer(
    image: ArchImage, config: ImageConfiguration, layer: Layer, user: int, shell: Sequence[str]
) -> ArchImage:
    layers = (*image.layers, layer)
    run = config.model_copy(
        update={
            "entrypoint": config.entrypoint.model_copy(
                update={"command": " ".join((*shell, PROGRAM)), "shell_fragment": "", "type": ""}
            ),
            "cmd": "",
            "work_dir": "/",
        }
    )
    document = image_config(
        run, image.arch, layers, user=f"{user}:{user}", created=image.created, labels={}
    )
    manifest = image_manifest(document, layers, {})
    return replace(image, config=document, manifest=manifest, layers=layers)


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
