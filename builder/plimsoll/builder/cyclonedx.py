"""CycloneDX 1.6 documents, made from SPDX ones: both say the same, by the same rules of merging."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from plimsoll.builder.spdx import DOCUMENT

if TYPE_CHECKING:
    from collections.abc import Iterable

CYCLONEDX_MEDIA_TYPE = "application/vnd.cyclonedx+json"
#: Property of a component: the source package that it was built from.
ORIGIN = "plimsoll:origin"
#: Property of a component with one more package URL; CycloneDX has room for one.
PURL = "plimsoll:purl"
_BUILT_FROM = re.compile(r"built from (\S+)(?: at \S+)?")
_LONGEST_VERSION = 1024
_UNKNOWN = {"", "NOASSERTION", "NONE"}
_TYPES = {
    "APPLICATION": ComponentType.APPLICATION,
    "CONTAINER": ComponentType.CONTAINER,
    "FILE": ComponentType.FILE,
    "FIRMWARE": ComponentType.FIRMWARE,
    "FRAMEWORK": ComponentType.FRAMEWORK,
    "OPERATING_SYSTEM": ComponentType.OPERATING_SYSTEM,
}
_HASHES = {
    "SHA1": HashAlgorithm.SHA_1,
    "SHA256": HashAlgorithm.SHA_256,
    "SHA384": HashAlgorithm.SHA_384,
    "SHA512": HashAlgorithm.SHA_512,
}
#: Relationship → whether it leads from the whole to the part.
_EDGES = {
    "CONTAINS": True,
    "DEPENDS_ON": True,
    "GENERATED_FROM": True,
    "CONTAINED_BY": False,
    "DEPENDENCY_OF": False,
    "VARIANT_OF": False,
    "OTHER": True,
}


def from_spdx(data: bytes) -> bytes:
    """The CycloneDX form of an SPDX document of ours.

    Packages and files become components under the same identifiers, relationships dependencies.
    The serial number is made from the document's namespace, so that equal input gives equal bytes.

    Args:
        data: SPDX 2.3 as JSON.
    """
    document = json.loads(data)
    components = {item["SPDXID"]: _component(item) for item in document["packages"]}
    for item in document.get("files", ()):
        components[item["SPDXID"]] = _file(item)
    main = document["documentDescribes"][0]
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, document["documentNamespace"]),
        components=[item for name, item in components.items() if name != main],
    )
    created = document["creationInfo"]["created"]
    bom.metadata.timestamp = datetime.fromisoformat(created)
    bom.metadata.component = components[main]
    bom.metadata.tools.components.add(
        Component(name="plimsoll", version=version("plimsoll"), type=ComponentType.APPLICATION)
    )
    edges: dict[str, list[Component]] = {}
    for one, other in _edges(document["relationships"]):
        if one in components and other in components and one != other:
            edges.setdefault(one, []).append(components[other])
    for name, parts in edges.items():
        bom.register_dependency(components[name], parts)
    return (JsonV1Dot6(bom).output_as_string(indent=2) + "\n").encode()


def _edges(relationships: Iterable[dict[str, str]]) -> Iterable[tuple[str, str]]:
    for item in relationships:
        one, other = item["spdxElementId"], item["relatedSpdxElement"]
        down = _EDGES.get(item["relationshipType"])
        if down is None or DOCUMENT in {one, other}:
            continue
        yield (one, other) if down else (other, one)


def _component(item: dict[str, Any]) -> Component:
    purls = [
        found
        for reference in item.get("externalRefs") or ()
        if reference.get("referenceType") == "purl"
        and (found := _purl(reference["referenceLocator"])) is not None
    ]
    cpe = next(
        (
            reference["referenceLocator"]
            for reference in item.get("externalRefs") or ()
            if reference.get("referenceType") in {"cpe22Type", "cpe23Type"}
        ),
        None,
    )
    built = _BUILT_FROM.fullmatch(item.get("sourceInfo") or "")
    licence = _known(item.get("licenseDeclared")) or _known(item.get("licenseConcluded"))
    return Component(
        bom_ref=item["SPDXID"],
        name=item["name"],
        version=(item.get("versionInfo") or "")[:_LONGEST_VERSION] or None,
        type=_TYPES.get(item.get("primaryPackagePurpose", ""), ComponentType.LIBRARY),
        purl=purls[0] if purls else None,
        cpe=cpe,
        description=item.get("description") or None,
        copyright=_known(item.get("copyrightText")) or None,
        supplier=_organization(item.get("supplier")),
        hashes=_hashes(item),
        properties=[
            *([Property(name=ORIGIN, value=built[1])] if built else ()),
            *(Property(name=PURL, value=purl.to_string()) for purl in purls[1:]),
        ],
        licenses=[LicenseExpression(licence)] if licence else None,
        external_references=[
            ExternalReference(type=kind, url=XsUri(url))
            for kind, url in (
                (ExternalReferenceType.WEBSITE, _known(item.get("homepage"))),
                (ExternalReferenceType.DISTRIBUTION, _known(item.get("downloadLocation"))),
            )
            if "://" in url and " " not in url
        ],
    )


def _purl(text: str) -> PackageURL | None:
    """A package URL; what is none, in a document that a package brings, is left out."""
    try:
        return PackageURL.from_string(text)
    except ValueError:
        return None


def _file(item: dict[str, Any]) -> Component:
    return Component(
        bom_ref=item["SPDXID"],
        name=item["fileName"].removeprefix("."),
        type=ComponentType.FILE,
        hashes=_hashes(item),
        description=item.get("comment"),
    )


def _hashes(item: dict[str, Any]) -> list[HashType]:
    return [
        HashType(alg=_HASHES[checksum["algorithm"]], content=checksum["checksumValue"])
        for checksum in item.get("checksums") or ()
        if checksum.get("algorithm") in _HASHES
    ]


def _organization(text: str | None) -> OrganizationalEntity | None:
    kind, _, name = (text or "").partition(": ")
    return OrganizationalEntity(name=name) if kind == "Organization" and name else None


def _known(text: str | None) -> str:
    return "" if (text or "") in _UNKNOWN else str(text)
