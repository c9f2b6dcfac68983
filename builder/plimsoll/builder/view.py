"""What an image, a lock or an SBOM says, in one form, for comparing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from plimsoll.apk.installed import parse_installed
from plimsoll.arch import Arch
from plimsoll.builder.layerfiles import LayerFiles, read_layers
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error
from plimsoll.oci.digest import digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.builder.imagesource import ImageSource
    from plimsoll.builder.layerfiles import FileView

_MAX_DOCUMENT = 256 << 20
_APK_PURL = re.compile(r"pkg:apk/[^/]+/([^@?]+)@([^?]+)")
_CONFIG_FIELDS = (
    "User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Volumes", "Labels", "StopSignal",
    "ExposedPorts", "Healthcheck",
)  # fmt: skip


class ViewError(Error):
    """Something that cannot be read for a comparison."""

    reason = "Unreadable"


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


def file_view(path: Path, arch: str | None) -> View:
    """Read a document from a file. Blocks.

    Raises:
        ViewError: it is no lock, SPDX or CycloneDX document.
        StorageError: it cannot be read.
    """
    return document_view(str(path), read_document(path), arch)


def read_document(path: Path) -> bytes:
    """The bytes of a document of bounded size. Blocks.

    Raises:
        ViewError, StorageError: it is too large, or cannot be read.
    """
    with storage_errors(f"reading {path}"):
        if path.stat().st_size > _MAX_DOCUMENT:
            raise ViewError(f"{path} is larger than {_MAX_DOCUMENT} bytes")
        return path.read_bytes()


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


async def image_view(image: ImageSource) -> View:
    """Read an image.

    Raises:
        ImageSourceError, RegistryError: a layer cannot be read.
        InstalledFormatError: its package database is damaged.
    """
    document = image.document()
    own = document.get("config")
    own = own if isinstance(own, dict) else {}
    values = {key: own[key] for key in _CONFIG_FIELDS if own.get(key)}
    values["platform"] = f"{document.get('os')}/{document.get('architecture')}"
    size = sum(layer.size for layer in image.manifest.layers)
    view = View(image.name, "image", image.descriptor.digest, config=values, size=size)
    found = await read_layers(image, LayerFiles(image.name))
    view.files = found.files
    source = f"the package database of {view.name}"
    for package in parse_installed(found.database(), source=source):
        entry = package.entry
        view.packages[entry.name] = PackageView(entry.version, entry.license, entry.origin)
    return view
