"""What an image, a lock or an SBOM says, in one form, for comparing.

Nothing of an image is unpacked: layers are read as streams, and what is kept of a file is its
attributes and its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from plimsoll.apk.installed import parse_installed
from plimsoll.arch import Arch
from plimsoll.builder.gzipfile import gzip_reader
from plimsoll.errors import Error
from plimsoll.oci.digest import digest_of
from plimsoll.oci.model import Descriptor, Index, Manifest, parse_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.oci.layout import Layout
    from plimsoll.oci.reference import Reference
    from plimsoll.oci.registry import Registry

INSTALLED = ("usr/lib/apk/db/installed", "lib/apk/db/installed")
_MAX_DATABASE = 256 << 20
_MAX_FILES = 2_000_000
_MAX_INFLATED = 64 << 30
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_APK_PURL = re.compile(r"pkg:apk/[^/]+/([^@?]+)@([^?]+)")
_CONFIG_FIELDS = (
    "User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Volumes", "Labels", "StopSignal",
    "ExposedPorts", "Healthcheck",
)  # fmt: skip


class ViewError(Error):
    """Something that cannot be read for a comparison."""

    reason = "Unreadable"


@dataclass(frozen=True, slots=True)
class FileView:
    """A file of an image; ``content`` is a SHA-256 (hex), a link's target, or a device's number."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    content: str = ""


@dataclass(frozen=True, slots=True)
class PackageView:
    """A package: its version, and its licence where that is known."""

    version: str
    licence: str = ""
    origin: str = ""


@dataclass(slots=True)
class View:
    """What there is to compare; ``None`` is what a source of this kind cannot tell.

    Attributes:
        name: what was asked for.
        kind: ``image``, ``lock`` or ``sbom``.
        digest: of the image's manifest, or of the file.
        size: bytes of the compressed layers; of the installed packages for other kinds.
    """

    name: str
    kind: str
    digest: str
    packages: dict[str, PackageView] = field(default_factory=dict)
    files: dict[str, FileView] | None = None
    config: dict[str, Any] | None = None
    size: int | None = None


def document_view(name: str, data: bytes, arch: str | None) -> View:
    """Read a lock, an SPDX or a CycloneDX document.

    Raises:
        ViewError: it is none of these.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ViewError(f"{name} is no JSON object", hint="give a lock, an SBOM or an image")
    try:
        if "spdxVersion" in value:
            return View(name, "sbom", digest_of(data), dict(_spdx(value)))
        if value.get("bomFormat") == "CycloneDX":
            return View(name, "sbom", digest_of(data), dict(_cyclonedx(value)))
        packages = value["contents"]["packages"]
        archs = sorted({str(p["architecture"]) for p in packages})
        wanted = Arch.parse(arch).apk if arch else archs[0] if archs else ""
        found = {
            str(p["name"]): PackageView(str(p["version"]))
            for p in packages
            if p["architecture"] == wanted
        }
    except (KeyError, TypeError, AttributeError, IndexError):
        raise ViewError(
            f"{name} is no lock, SPDX or CycloneDX document",
            hint="make one with 'plimsoll lock' or 'plimsoll sbom'",
        ) from None
    return View(name, "lock", digest_of(data), found)


def _spdx(value: dict[str, Any]) -> list[tuple[str, PackageView]]:
    found = []
    for package in value["packages"]:
        for reference in package.get("externalRefs") or []:
            if match := _APK_PURL.match(str(reference.get("referenceLocator", ""))):
                licence = str(package.get("licenseDeclared", ""))
                view = PackageView(unquote(match[2]), licence.replace("NOASSERTION", ""))
                found.append((unquote(match[1]), view))
    return found


def _cyclonedx(value: dict[str, Any]) -> list[tuple[str, PackageView]]:
    found = []
    for component in value.get("components") or []:
        if match := _APK_PURL.match(str(component.get("purl", ""))):
            licences = [
                item.get("expression") or item.get("license", {}).get("id")
                or item.get("license", {}).get("name", "")
                for item in component.get("licenses") or []
            ]  # fmt: skip
            view = PackageView(unquote(match[2]), " AND ".join(licences))
            found.append((unquote(match[1]), view))
    return found


def layout_view(name: str, layout: Layout, top: Descriptor, arch: str | None) -> View:
    """Read an image of a layout.

    Raises:
        LayoutError, ViewError: it cannot be read.
    """
    document = layout.read_manifest(top)
    if isinstance(document, Index):
        top = _member(name, document, arch)
        document = layout.read_manifest(top)
    if not isinstance(document, Manifest):
        raise ViewError(f"{name} is an index of indexes")
    view = _image_view(name, top, document, layout.read_blob(document.config.digest))
    files: dict[str, FileView] = {}
    database = b""
    for layer in document.layers:
        with layout.blob_path(layer.digest).open("rb") as file:
            database = _read_layer(name, file, files, layer.digest) or database
    return _finished(view, files, database)


async def registry_view(
    registry: Registry, ref: Reference, arch: str | None, scratch: Path
) -> View:
    """Read an image of a registry.

    Args:
        registry: the client.
        ref: the image.
        arch: which one of an index.
        scratch: an empty folder for its layers, one at a time.

    Raises:
        RegistryError, ViewError: it cannot be read.
    """
    import asyncio  # noqa: PLC0415  (only for images of registries)

    name = str(ref)
    top, data = await registry.get_manifest(ref)
    document = parse_manifest(data, top.media_type, what=name)
    if isinstance(document, Index):
        top = _member(name, document, arch)
        _, data = await registry.get_manifest(ref.with_digest(top.digest))
        document = parse_manifest(data, top.media_type, what=name)
    if not isinstance(document, Manifest):
        raise ViewError(f"{name} is an index of indexes")
    config = await registry.get_blob(ref, document.config.digest, 16 << 20)
    view = _image_view(name, top, document, config)
    files: dict[str, FileView] = {}
    database = b""
    for layer in document.layers:
        path = scratch / "layer"
        await registry.download_blob(ref, layer.digest, path, size=layer.size)
        with path.open("rb") as file:
            more = await asyncio.to_thread(_read_layer, name, file, files, layer.digest)
        database = more or database
        path.unlink()
    return _finished(view, files, database)


def _member(name: str, index: Index, arch: str | None) -> Descriptor:
    known = {m.platform.architecture + (m.platform.variant and f"/{m.platform.variant}"): m
             for m in index.manifests if m.platform is not None}  # fmt: skip
    wanted = Arch.parse(arch).oci if arch else None
    found = known.get(wanted) if wanted else next(iter(known.values()), None)
    if found is None:
        raise ViewError(
            f"{name} has no image for {wanted or 'any platform'}",
            hint=f"it has {', '.join(sorted(known)) or 'none'}; choose with --arch",
        )
    return found


def _image_view(name: str, top: Descriptor, manifest: Manifest, config: bytes) -> View:
    try:
        document = json.loads(config)
        own = document.get("config") or {}
        values = {key: own[key] for key in _CONFIG_FIELDS if own.get(key)}
        values["platform"] = f"{document.get('os')}/{document.get('architecture')}"
    except (ValueError, AttributeError):
        raise ViewError(f"the configuration of {name} is no JSON object") from None
    size = sum(layer.size for layer in manifest.layers)
    return View(name, "image", top.digest, config=values, size=size)


def _finished(view: View, files: dict[str, FileView], database: bytes) -> View:
    view.files = files
    text = database.decode(errors="replace")
    for package in parse_installed(text, source=f"the package database of {view.name}"):
        entry = package.entry
        view.packages[entry.name] = PackageView(entry.version, entry.license, entry.origin)
    return view


def _read_layer(name: str, file: IO[bytes], files: dict[str, FileView], digest: str) -> bytes:
    """Lay one layer over what is known; returns the package database, if it holds one."""
    database = b""
    inflated = 0
    try:
        with tarfile.open(fileobj=_inflated(file), mode="r|") as tar:
            for item in tar:
                path = item.name.strip("/").removeprefix("./")
                inflated += item.size
                if inflated > _MAX_INFLATED or len(files) > _MAX_FILES:
                    raise ViewError(f"layer {digest} of {name} holds too much")
                if _whiteout(path, files) or path in {"", "."}:
                    continue
                if path in INSTALLED and item.isreg() and item.size <= _MAX_DATABASE:
                    content = tar.extractfile(item)
                    database = content.read() if content else b""
                    files[path] = _file_view(item, hashlib.sha256(database).hexdigest())
                elif item.isreg():
                    content = tar.extractfile(item)
                    sha256 = hashlib.file_digest(cast("Any", content), "sha256").hexdigest()
                    files[path] = _file_view(item, sha256)
                elif item.islnk():
                    known = files.get(item.linkname.strip("/").removeprefix("./"))
                    files[path] = known or _file_view(item, item.linkname)
                elif item.issym():
                    files[path] = _file_view(item, item.linkname)
                else:
                    device = f"{item.devmajor}:{item.devminor}" if item.isdev() else ""
                    files[path] = _file_view(item, device)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise ViewError(f"layer {digest} of {name} is no readable tar: {error}") from None
    return database


def _file_view(item: tarfile.TarInfo, content: str) -> FileView:
    kinds = {
        tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.CHRTYPE: "device",
        tarfile.BLKTYPE: "device", tarfile.FIFOTYPE: "pipe",
    }  # fmt: skip
    kind = kinds.get(item.type, "file")
    return FileView(kind, item.mode & 0o7777, item.uid, item.gid, item.size, content)


def _whiteout(path: str, files: dict[str, FileView]) -> bool:
    """Take away what a layer's marker takes away (image-spec, "Whiteouts")."""
    parent, _, base = path.rpartition("/")
    if not base.startswith(_WHITEOUT):
        return False
    prefix = f"{parent}/" if parent else ""
    gone = prefix if base == _OPAQUE else f"{prefix}{base[len(_WHITEOUT) :]}/"
    for known in [p for p in files if p.startswith(gone) or f"{p}/" == gone]:
        if base != _OPAQUE or known != parent:
            del files[known]
    return True


def _inflated(file: IO[bytes]) -> IO[bytes]:
    head = file.read(4)
    file.seek(0)
    if head[:2] == b"\x1f\x8b":
        return gzip_reader(file)
    if head == b"\x28\xb5\x2f\xfd":
        import zstandard  # noqa: PLC0415  (only for layers so compressed)

        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return cast("IO[bytes]", reader)
    return file
