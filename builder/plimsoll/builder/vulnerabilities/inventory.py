"""What may be vulnerable: the components that an SBOM, an image or a lock lists."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from plimsoll.builder.spdx import apk_purl
from plimsoll.builder.vulnerabilities.model import Component, VulnerabilityDataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plimsoll.builder.cachedpackage import CachedPackage

_PURL = re.compile(
    r"pkg:(?P<type>[a-zA-Z0-9.+-]+)/(?:(?P<namespace>[^@?#]+)/)?(?P<name>[^/@?#]+)"
    r"@(?P<version>[^?#]+)(?:\?(?P<query>[^#]*))?(?:#.*)?"
)
_BUILT_FROM = re.compile(r"built from (\S+)(?: at \S+)?")
#: What a purl lists that cannot be vulnerable by itself.
_NOT = {"oci", "docker", "generic", "github"}
#: Properties by which scanners name the source package of an installed one.
_ORIGINS = {"plimsoll:origin", "aquasecurity:trivy:SrcName", "syft:metadata:originPackage"}


def document_components(data: bytes, source: str) -> tuple[list[Component], str]:
    """The components of an SPDX or CycloneDX document, and the digest of the image, if it says.

    Raises:
        VulnerabilityDataError: it is neither.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    try:
        if isinstance(value, dict) and "spdxVersion" in value:
            return _unique(_spdx(value)), _described(value)
        if isinstance(value, dict) and value.get("bomFormat") == "CycloneDX":
            return _unique(_cyclonedx(value)), ""
    except (KeyError, TypeError, AttributeError) as error:
        raise VulnerabilityDataError(f"{source} is damaged: {error!r}") from None
    raise VulnerabilityDataError(
        f"{source} is no SPDX or CycloneDX document", hint="make one with 'plimsoll sbom'"
    )


def package_components(packages: Iterable[CachedPackage], distro: str) -> list[Component]:
    """The components of the packages of a lock."""
    return _unique(
        Component(
            "apk",
            info.name,
            info.version,
            apk_purl(distro or "unknown", info.name, info.version, info.arch),
            info.origin,
            distro,
        )
        for info in (package.info for package in packages)
    )


def component_of(purl: str, origin: str = "") -> Component | None:
    """The component that a package URL names, if it can be vulnerable."""
    match = _PURL.fullmatch(purl)
    if match is None or match["type"].lower() in _NOT:
        return None
    type_ = match["type"].lower()
    namespace = unquote(match["namespace"] or "")
    name = unquote(match["name"])
    query = dict(
        pair.partition("=")[::2] for pair in (match["query"] or "").split("&") if "=" in pair
    )
    upstream = unquote(query.get("upstream", "")).partition("@")[0]
    if type_ == "apk":
        return Component(
            type_, name, unquote(match["version"]), purl, origin or upstream, namespace.lower()
        )
    if namespace:
        name = f"{namespace}:{name}" if type_ == "maven" else f"{namespace}/{name}"
    return Component(type_, name, unquote(match["version"]), purl)


def _spdx(value: dict[str, Any]) -> Iterator[Component | None]:
    for package in value["packages"]:
        built = _BUILT_FROM.fullmatch(str(package.get("sourceInfo", "")))
        for reference in package.get("externalRefs") or []:
            if reference.get("referenceType") == "purl":
                locator = str(reference.get("referenceLocator", ""))
                yield component_of(locator, built[1] if built else "")


def _cyclonedx(value: dict[str, Any]) -> Iterator[Component | None]:
    todo = list(value.get("components") or [])
    while todo:
        item = todo.pop(0)
        todo += item.get("components") or []
        origin = next(
            (
                str(p.get("value", ""))
                for p in item.get("properties") or []
                if p.get("name") in _ORIGINS
            ),
            "",
        )
        yield component_of(str(item.get("purl", "")), origin)


def _described(value: dict[str, Any]) -> str:
    names = set(value.get("documentDescribes") or [])
    for package in value["packages"]:
        version = str(package.get("versionInfo", ""))
        if package.get("SPDXID") in names and version.startswith("sha256:"):
            return version
    return ""


def _unique(found: Iterable[Component | None]) -> list[Component]:
    return list(dict.fromkeys(item for item in found if item is not None))
