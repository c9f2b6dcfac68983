"""Images that exist: in a registry, in an OCI layout, in a tar file."""

from __future__ import annotations

import asyncio
import json
import tarfile
import tempfile
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from plimsoll.arch import Arch
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error
from plimsoll.oci.layout import REF_NAME, Layout
from plimsoll.oci.model import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    Descriptor,
    Index,
    Manifest,
    Platform,
    parse_manifest,
)
from plimsoll.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from plimsoll.oci.registry import Registry

MAX_CONFIG = 4 << 20
_MAX_IMAGES = 64
#: Bytes of a layer, as it is sent and as it is inflated.
MAX_LAYER = 64 << 30


class ImageSourceError(Error):
    """An image that cannot be read."""

    reason = "Unreadable"


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One architecture's image.

    Attributes:
        name: what was asked for.
        descriptor: of its manifest.
        config: its configuration document.
        layer: a layer as a file, for as long as the context lasts.
    """

    name: str
    descriptor: Descriptor
    manifest: Manifest
    config: bytes
    layer: Callable[[Descriptor], AbstractAsyncContextManager[Path]]

    def document(self) -> dict[str, Any]:
        """The configuration document, parsed.

        Raises:
            ImageSourceError: it is no JSON object.
        """
        try:
            value = json.loads(self.config)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ImageSourceError(f"the configuration of {self.name} is no JSON object")
        return value

    @property
    def arch(self) -> Arch:
        """Its architecture.

        Raises:
            UnknownArchitectureError: it is none that APK packages know.
        """
        value = self.document()
        variant = value.get("variant")
        name = str(value.get("architecture"))
        if name == "arm64" or not variant:
            return Arch.parse(name)
        return Arch.parse(f"{name}/{variant}")


@asynccontextmanager
async def open_image(
    name: str, arch: Arch | None, connect: Callable[[], Registry], *, local: bool = True
) -> AsyncIterator[ImageSource]:
    """Open an image.

    Args:
        name: a folder or a ``.tar`` file that exists, else a reference to a registry.
        arch: which image of an index; the first one if not given.
        connect: makes the client for a registry.
        local: whether files of this machine may be named.

    Raises:
        ImageSourceError, LayoutError, RegistryError: it cannot be read.
    """
    if local and await asyncio.to_thread(Path(name).exists):
        with ExitStack() as stack:
            layout = await asyncio.to_thread(_local, Path(name), stack)
            yield _of_layout(name, layout, _top(name, layout, arch), arch)
        return
    if local and _is_file_name(name):
        raise ImageSourceError(
            f"there is no file or folder {name}",
            hint="name a tar file, an OCI layout, or an image in a registry",
        )
    reference = Reference.parse(name)
    with tempfile.TemporaryDirectory(prefix="plimsoll-image-") as folder:
        async with connect() as registry:
            yield await _of_registry(registry, reference, arch, Path(folder))


def is_image_file(path: Path) -> bool:
    """Whether a path is a layout or an image in a tar file, not a document. Blocks."""
    if path.is_dir():
        return True
    with storage_errors(f"reading {path}"):
        return tarfile.is_tarfile(path)


def _is_file_name(name: str) -> bool:
    """Whether a name can hardly mean an image in a registry."""
    first, slash, _ = name.partition("/")
    if first in {"", ".", "..", "~"}:
        return True
    has_host = slash and ("." in first or ":" in first or first == "localhost")
    return not has_host and name.endswith((".tar", ".json", ".gz", ".yaml", ".yml"))


def _local(path: Path, stack: ExitStack) -> Layout:
    if path.is_dir():
        return Layout.open(path)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plimsoll-image-")))
    from plimsoll.builder.imagefile import unpack  # noqa: PLC0415  (which raises our errors)

    with storage_errors(f"reading {path}"):
        unpack(path, folder)
    if not (folder / "oci-layout").exists():
        if (folder / "manifest.json").exists():
            return _docker_archive(path, folder)
        raise ImageSourceError(
            f"{path} is a tar file without an image",
            hint="name one that 'plimsoll build' or 'docker save' wrote",
        )
    return Layout.open(folder)


def _top(name: str, layout: Layout, arch: Arch | None) -> Descriptor:
    """What a layout is about: its only member, or, as apko writes it, the one for ``arch``."""
    index = layout.index
    tops = {member.digest: member for member in index.manifests}
    if len(tops) > 1 and all(member.platform for member in tops.values()):
        return _member(name, index, arch)
    if len(tops) != 1:
        names = ", ".join(sorted(m.annotations.get(REF_NAME, m.digest) for m in tops.values()))
        raise ImageSourceError(
            f"{name} holds {len(tops)} images", hint=f"give one image; these are {names[:300]}"
        )
    return next(iter(tops.values()))


def _docker_archive(path: Path, folder: Path) -> Layout:
    """The images of a ``docker save`` file without OCI documents, as a layout."""
    layout = Layout.create(folder / ".layout")
    try:
        entries = json.loads(_document(folder, "manifest.json"))
        if len(entries) > _MAX_IMAGES:
            raise ValueError(f"it names {len(entries)} images")  # noqa: TRY301  (as all others)
        layout.set_index([_docker_image(folder, layout, entry) for entry in entries])
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RecursionError) as error:
        why = error if isinstance(error, ValueError) else "a document in it has another form"
        raise ImageSourceError(
            f"{path} holds no image that can be read: {why}",
            hint="save the image again, or copy it from its registry",
        ) from None
    return layout


def _docker_image(folder: Path, layout: Layout, entry: dict[str, Any]) -> Descriptor:
    config = _document(folder, entry["Config"])
    layers = []
    for name in entry["Layers"]:
        file = _inside(folder, name)
        with file.open("rb") as opened:
            packed = opened.read(2) == b"\x1f\x8b"
        layers.append(layout.add_file(file, OCI_LAYER_GZIP if packed else OCI_LAYER))
    manifest = Manifest(config=layout.add_bytes(config, OCI_CONFIG), layers=tuple(layers))
    described = json.loads(config)
    platform = Platform(
        architecture=str(described.get("architecture", "unknown")),
        os=str(described.get("os", "")),
        variant=str(described.get("variant", "")),
    )
    top = layout.add_bytes(manifest.to_bytes(), manifest.media_type)
    return replace(top, platform=platform)


def _inside(folder: Path, name: str) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"it names {name}, which is outside of it")
    if not (folder / path).is_file():
        raise ValueError(f"it names {name}, which is not in it")
    return folder / path


def _document(folder: Path, name: str) -> bytes:
    path = _inside(folder, name)
    if path.stat().st_size > MAX_CONFIG:
        raise ValueError(f"{name} is larger than {MAX_CONFIG} bytes")
    return path.read_bytes()


def _of_layout(name: str, layout: Layout, top: Descriptor, arch: Arch | None) -> ImageSource:
    document = layout.read_manifest(top)
    if isinstance(document, Index):
        top = _member(name, document, arch)
        document = layout.read_manifest(top)
    if not isinstance(document, Manifest):
        raise ImageSourceError(f"{name} is an index of indexes")

    @asynccontextmanager
    async def layer(item: Descriptor) -> AsyncIterator[Path]:
        yield layout.blob_path(item.digest)

    config = layout.read_blob(document.config.digest, MAX_CONFIG)
    return _checked(ImageSource(name, top, document, config, layer), arch)


async def _of_registry(
    registry: Registry, ref: Reference, arch: Arch | None, scratch: Path
) -> ImageSource:
    name = str(ref)
    top, data = await registry.get_manifest(ref)
    document = parse_manifest(data, top.media_type, what=name)
    if isinstance(document, Index):
        top = _member(name, document, arch)
        _, data = await registry.get_manifest(ref.with_digest(top.digest))
        document = parse_manifest(data, top.media_type, what=name)
    if not isinstance(document, Manifest):
        raise ImageSourceError(f"{name} is an index of indexes")

    @asynccontextmanager
    async def layer(item: Descriptor) -> AsyncIterator[Path]:
        path = scratch / item.digest.rpartition(":")[2]
        await registry.download_blob(ref, item.digest, path, size=item.size, max_size=MAX_LAYER)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    config = await registry.get_blob(ref, document.config.digest, MAX_CONFIG)
    return _checked(ImageSource(name, top, document, config, layer), arch)


def _checked(image: ImageSource, arch: Arch | None) -> ImageSource:
    """An image that stands alone must be of the architecture asked for, too."""
    image.document()
    if arch is not None and image.arch is not arch:
        raise ImageSourceError(
            f"{image.name} is an image for {image.arch}, not for {arch}",
            hint="choose another image, or another --arch",
        )
    return image


def _member(name: str, index: Index, arch: Arch | None) -> Descriptor:
    known: dict[str, Descriptor] = {}
    for member in index.manifests:
        platform = member.platform
        # Builders put attestations beside images under a platform that is none.
        if platform is None or platform.architecture == "unknown":
            continue
        variant = platform.variant if platform.architecture != "arm64" else ""
        known.setdefault(platform.architecture + (variant and f"/{variant}"), member)
    found = known.get(arch.oci) if arch else next(iter(known.values()), None)
    if found is None:
        raise ImageSourceError(
            f"{name} has no image for {arch.oci if arch else 'any platform'}",
            hint=f"it has {', '.join(sorted(known)) or 'none'}; choose with --arch",
        )
    return found
