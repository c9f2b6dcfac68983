"""SPDX documents of an image and of its index."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from plimsoll.builder.licences import NO_ASSERTION, Licences
from plimsoll.builder.ociimage import timestamp
from plimsoll.builder.spdx import (
    Graph,
    apk_purl,
    document,
    element_id,
    oci_purl,
    purl_reference,
    renamed,
)
from plimsoll.oci.model import OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plimsoll.apk.records import IndexEntry
    from plimsoll.arch import Arch
    from plimsoll.builder.sbomsource import Contents, Listed
    from plimsoll.oci.model import Descriptor

SPDX_MEDIA_TYPE = "application/spdx+json"


@dataclass(frozen=True, slots=True)
class System:
    """What ``/etc/os-release`` says."""

    id: str = "unknown"
    name: str = "unknown"
    version: str = "unknown"

    @classmethod
    def of(cls, release: str) -> System:
        """Read it."""
        values: dict[str, str] = {}
        for line in release.splitlines():
            key, _, value = line.partition("=")
            values[key.strip()] = value.strip().strip("\"'")
        found = values.get("ID") or "unknown"
        return cls(found, values.get("NAME") or found, values.get("VERSION_ID") or "unknown")


@dataclass(frozen=True, slots=True)
class Subject:
    """The image that a document is about.

    Attributes:
        name: repository, for package URLs.
        digest: of the manifest, ``sha256:…``.
        created: seconds since the epoch.
        layers: digest and media type of each, bottom first.
        vcs_url: ``URL@COMMIT`` of the configuration, or ``""``.
        base: name and digest of the base image, if there is one.
    """

    name: str
    arch: Arch
    digest: str
    created: int
    layers: Sequence[tuple[str, str]]
    vcs_url: str = ""
    base: tuple[str, str] | None = None


def tool() -> str:
    """Name and version of this program, as documents write it."""
    return f"plimsoll-{version('plimsoll')}"


def image_sbom(
    contents: Contents, subject: Subject, warn: Callable[[str], None] = lambda _: None
) -> bytes:
    """The SPDX document of one architecture's image.

    Every package of the installed database is in it: with the document that the package brings,
    or else with one made from what the package says of itself.

    Args:
        contents: of the image.
        subject: the image.
        warn: told of package documents that cannot be used.
    """
    system = System.of(contents.release)
    supplier = f"Organization: {system.name}"
    graph = Graph()
    image = graph.add(_image(subject, supplier))
    for digest, media_type in subject.layers:
        qualifiers = {
            "arch": subject.arch.architecture,
            "os": "linux",
            "mediaType": media_type,
        }
        graph.relate(
            image,
            "CONTAINS",
            graph.add(
                {
                    "SPDXID": element_id("Package-ImageLayer", digest),
                    "name": digest,
                    "versionInfo": system.version,
                    "filesAnalyzed": False,
                    "description": "layer of the image",
                    "downloadLocation": NO_ASSERTION,
                    "supplier": supplier,
                    "primaryPackagePurpose": "CONTAINER",
                    "checksums": [_sha256(digest.partition(":")[2])],
                    "externalRefs": [purl_reference(oci_purl(subject.name, digest, qualifiers))],
                }
            ),
        )
    graph.relate(image, "CONTAINS", graph.add(_system(system, supplier)))
    if subject.vcs_url:
        graph.relate(image, "GENERATED_FROM", graph.add(_source(subject.vcs_url)))
    if subject.base is not None:
        base = _variant(*subject.base, {"mediaType": OCI_MANIFEST}, "base image")
        graph.relate(image, "DESCENDANT_OF", graph.add(base))
    licences = Licences()
    for package in contents.packages:
        for name in _package(contents, graph, package, system, licences, warn):
            graph.relate(image, "CONTAINS", name)
    for name in _loose(contents, graph):
        # A package that is not analysed file by file may not "contain" files (SPDX 2.3, 7.8).
        graph.relate(image, "OTHER", name)
    for name, licence in licences.extracted.items():
        graph.licences.setdefault(name, licence)
    when = timestamp(subject.created)
    return document(f"sbom-{subject.digest}", when, tool(), image, graph)


def index_sbom(
    name: str, digest: str, images: Iterable[tuple[Descriptor, bytes]], created: int
) -> bytes:
    """The SPDX document of an index: its images, each with everything that its own document says.

    Args:
        name: repository.
        digest: of the index.
        images: its members with their documents.
        created: seconds since the epoch.
    """
    graph = Graph()
    top = graph.add(_variant(name, digest, {"mediaType": OCI_INDEX}, "Multi-arch image index"))
    for image, own in sorted(images, key=lambda pair: str(pair[0].platform)):
        slug = str(image.platform).partition("/")[2].replace("/", "-")
        for member in graph.merge(renamed(json.loads(own), slug), NO_ASSERTION, files=True):
            graph.relate(member, "VARIANT_OF", top)
    return document(f"sbom-{digest}", timestamp(created), tool(), top, graph)


def _loose(contents: Contents, graph: Graph) -> list[str]:
    """Add the files that no package brings; returns their identifiers."""
    names: list[str] = []
    for item in contents.loose:
        link = f"; link to {item.link}" if item.link is not None else ""
        entry = {
            # The number keeps paths apart that differ only in what an identifier cannot hold.
            "SPDXID": element_id("File", str(len(names)), item.path),
            "fileName": f"./{item.path}",
            "checksums": [
                {"algorithm": "SHA1", "checksumValue": item.sha1},
                _sha256(item.sha256),
            ],
            "licenseConcluded": NO_ASSERTION,
            "copyrightText": NO_ASSERTION,
            "comment": f"{item.comment}{link}",
        }
        names.append(graph.add_file(entry))
    return names


def _package(  # noqa: PLR0913, PLR0917  (what a merge needs)
    contents: Contents,
    graph: Graph,
    package: Listed,
    system: System,
    licences: Licences,
    warn: Callable[[str], None],
) -> list[str]:
    """Add one installed package; returns the identifiers that the image contains."""
    info = package.entry
    supplier = f"Organization: {system.name}"
    own = _own_document(contents, info, warn)
    if own is not None:
        try:
            described = graph.merge(own, supplier)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            warn(f"{info.name} brings an SPDX document that cannot be used: {error!r}")
            described = []
        names = {p["SPDXID"]: p for p in graph.packages}
        main = [
            name
            for name in described
            if names[name].get("name") == info.name
            and names[name].get("versionInfo") == info.version
        ]
        for name in main:
            _complete(names[name], package, system)
        if main:
            return described
    declared = licences.expression(info.license)
    entry: dict[str, Any] = {
        "SPDXID": element_id("Package-apk", info.name, info.version),
        "name": info.name,
        "versionInfo": info.version,
        "filesAnalyzed": False,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": declared,
        "description": info.description,
        "downloadLocation": NO_ASSERTION,
        "homepage": info.url if "://" in info.url else "",
        "originator": supplier,
        "supplier": supplier,
        "copyrightText": NO_ASSERTION,
        "primaryPackagePurpose": "APPLICATION",
    }
    entry = {key: value for key, value in entry.items() if value != ""}
    _complete(entry, package, system)
    return [graph.add(entry)]


def _complete(entry: dict[str, Any], package: Listed, system: System) -> None:
    """Make sure that a package has its checksum and its package URL."""
    info = package.entry
    checksums = list(entry.get("checksums") or [])
    if package.sha256 and not any(item.get("algorithm") == "SHA256" for item in checksums):
        checksums.append(_sha256(package.sha256))
    references = list(entry.get("externalRefs") or [])
    if not any(item.get("referenceType") == "purl" for item in references):
        purl = apk_purl(system.id, info.name, info.version, info.arch)
        references.append(purl_reference(purl))
    entry["externalRefs"] = references
    if info.origin and not entry.get("sourceInfo"):
        # Security databases list origins, not the packages that were split off.
        commit = f" at {info.commit}" if info.commit else ""
        entry["sourceInfo"] = f"built from {info.origin}{commit}"
    if checksums:
        entry["checksums"] = checksums


def _own_document(
    contents: Contents, info: IndexEntry, warn: Callable[[str], None]
) -> dict[str, Any] | None:
    names = (
        f"{info.name}-{info.version}",
        info.name,
        f"{info.name}-{_without_revision(info.version)}",
    )
    for name in names:
        data = contents.document(f"{name}.spdx.json")
        if data is None:
            continue
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            warn(f"{info.name} brings an SPDX document that is no JSON: {error}")
            return None
        return value if isinstance(value, dict) else None
    return None


def _without_revision(text: str) -> str:
    return text.rpartition("-r")[0] or text


def _image(subject: Subject, supplier: str) -> dict[str, Any]:
    qualifiers = {
        "arch": subject.arch.architecture,
        "mediaType": OCI_MANIFEST,
        "os": "linux",
    }
    return {
        "SPDXID": element_id("Package-Image", subject.digest),
        "name": subject.digest,
        "versionInfo": subject.digest,
        "filesAnalyzed": False,
        "description": f"container image for {subject.arch.platform}",
        "downloadLocation": NO_ASSERTION,
        "supplier": supplier,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [_sha256(subject.digest.partition(":")[2])],
        "externalRefs": [purl_reference(oci_purl(subject.name, subject.digest, qualifiers))],
    }


def _system(system: System, supplier: str) -> dict[str, Any]:
    return {
        "SPDXID": element_id("OperatingSystem", system.id),
        "name": system.id,
        "versionInfo": system.version,
        "filesAnalyzed": False,
        "description": "Operating System",
        "downloadLocation": NO_ASSERTION,
        "supplier": supplier,
        "primaryPackagePurpose": "OPERATING_SYSTEM",
    }


def _source(vcs_url: str) -> dict[str, Any]:
    url, _, commit = vcs_url.rpartition("@")
    name = url.partition("://")[2].rpartition("@")[2] or url
    entry: dict[str, Any] = {
        "SPDXID": element_id("Package-Source", name, commit),
        "name": name,
        "versionInfo": commit,
        "filesAnalyzed": False,
        "downloadLocation": NO_ASSERTION,
        "supplier": NO_ASSERTION,
        "primaryPackagePurpose": "SOURCE",
    }
    if len(commit) == 40:
        entry["checksums"] = [{"algorithm": "SHA1", "checksumValue": commit}]
    if name.startswith("github.com/"):
        path = name.removeprefix("github.com/").removesuffix(".git")
        entry["externalRefs"] = [purl_reference(f"pkg:github/{path.lower()}@{commit}")]
    return entry


def _variant(
    name: str, digest: str, qualifiers: dict[str, str], description: str
) -> dict[str, Any]:
    return {
        "SPDXID": element_id("Package", digest),
        "name": digest,
        "versionInfo": digest,
        "filesAnalyzed": False,
        "description": description,
        "downloadLocation": NO_ASSERTION,
        "supplier": NO_ASSERTION,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [_sha256(digest.partition(":")[2])],
        "externalRefs": [purl_reference(oci_purl(name, digest, qualifiers))],
    }


def _sha256(value: str) -> dict[str, str]:
    return {"algorithm": "SHA256", "checksumValue": value}
