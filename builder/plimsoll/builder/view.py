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
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from plimsoll.builder.imagesource import ImageSource
    from plimsoll.builder.layerfiles import FileView

_MAX_DOCUMENT = 256 << 20
#: As ``cyclonedx`` has it, whose library loads slowly.
PURL_PROPERTY = "plimsoll:purl"
#: Type, namespace, name, version.
_PURL = re.compile(r"pkg:([a-z0-9.+-]+)/(?:(.*/))?([^@?#/]+)(?:@([^?#]+))?")
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
            return View(name, "sbom", digest_of(data), _packages(_spdx(value)))
        if value.get("bomFormat") == "CycloneDX":
            return View(name, "sbom", digest_of(data), _packages(_cyclonedx(value)))
        contents = value["contents"]
        packages = [(str(p["architecture"]), p) for p in contents["packages"]]
        for base in contents.get("baseimage") or []:
            packages += [(str(base["architecture"]), p) for p in base["packages"]]
        archs = sorted({name for name, _ in packages})
        wanted = Arch.parse(arch).apk if arch else archs[0] if archs else ""
        found = {
            str(p["name"]): PackageView(str(p["version"])) for name, p in packages if name == wanted
        }
    except (KeyError, TypeError, AttributeError, IndexError):
        raise ViewError(
            f"{name} is no lock, SPDX or CycloneDX document",
            hint="make one with 'plimsoll lock' or 'plimsoll sbom'",
        ) from None
    return View(name, "lock", digest_of(data), found)


def _packages(found: Iterable[tuple[str, str]]) -> dict[str, PackageView]:
    """Packages by their purls and licences.

    Those of APK where there are any: what else a document names are the sources of these.
    """
    others: dict[str, PackageView] = {}
    own: dict[str, PackageView] = {}
    for purl, licence in found:
        if match := _PURL.match(purl):
            kind, space, name, version = (unquote(text or "") for text in match.groups())
            view = PackageView(version, licence)
            if kind == "apk":
                own[name] = view
            elif kind != "oci":
                others[f"{kind}:{space}{name}"] = view
    return own or others


def _spdx(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for package in value["packages"]:
        licence = _licence(package.get("licenseDeclared"))
        for reference in package.get("externalRefs") or []:
            yield str(reference.get("referenceLocator", "")), licence


def _cyclonedx(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for component in value.get("components") or []:
        licences = [
            item.get("expression") or item.get("license", {}).get("id")
            or item.get("license", {}).get("name", "")
            for item in component.get("licenses") or []
        ]  # fmt: skip
        licence = " AND ".join(filter(None, map(_licence, licences)))
        yield str(component.get("purl", "")), licence
        for more in component.get("properties") or []:
            if more.get("name") == PURL_PROPERTY:
                yield str(more.get("value", "")), licence


def _licence(text: object) -> str:
    """A licence; empty where nothing is said of it."""
    return "" if text in {None, "NOASSERTION", "NONE"} else str(text)


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
        licence = _licence(entry.license)
        view.packages[entry.name] = PackageView(entry.version, licence, entry.origin)
    return view
