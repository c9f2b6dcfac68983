"""SPDX documents of an image and of its index."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from plimsoll.builder import sbomparts
from plimsoll.builder.licences import NO_ASSERTION, Licences
from plimsoll.builder.ociimage import timestamp
from plimsoll.builder.sbompackages import Packages
from plimsoll.builder.sbomparts import Subject, System
from plimsoll.builder.spdx import Graph, document, element_id, renamed, sha256
from plimsoll.builder.spdxclean import plain
from plimsoll.oci.model import OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plimsoll.builder.sbomsource import Contents
    from plimsoll.oci.model import Descriptor

__all__ = ("SPDX_MEDIA_TYPE", "Subject", "image_sbom", "index_sbom", "tool")

SPDX_MEDIA_TYPE = "application/spdx+json"


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
    graph = Graph()
    image = graph.add(sbomparts.image_entry(subject, system.supplier))
    for digest, media_type in subject.layers:
        layer = sbomparts.layer_entry(subject, digest, media_type, system)
        graph.relate(image, "CONTAINS", graph.add(layer))
    graph.relate(image, "CONTAINS", graph.add(sbomparts.system_entry(system)))
    if subject.vcs_url:
        source = graph.add(sbomparts.source_entry(subject.vcs_url))
        graph.relate(image, "GENERATED_FROM", source)
    if subject.base is not None:
        kind = {"mediaType": OCI_MANIFEST}
        base = sbomparts.variant_entry(*subject.base, kind, "base image")
        graph.relate(image, "DESCENDANT_OF", graph.add(base))
    licences = Licences()
    packages = Packages(contents, graph, system, licences, warn)
    for package in contents.packages:
        for name in packages.add(package):
            graph.relate(image, "CONTAINS", name)
    for name in _loose(contents, graph):
        # A package that is not analysed file by file may not "contain" files (SPDX 2.3, 7.8).
        graph.relate(image, "OTHER", name)
    for name, licence in (licences.extracted | licences.unexplained()).items():
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
    top = graph.add(
        sbomparts.variant_entry(name, digest, {"mediaType": OCI_INDEX}, "Multi-arch image index")
    )
    for image, own in sorted(images, key=lambda pair: str(pair[0].platform)):
        slug = str(image.platform).partition("/")[2].replace("/", "-")
        for member in graph.merge(renamed(json.loads(own), slug), NO_ASSERTION):
            graph.relate(member, "VARIANT_OF", top)
    return document(f"sbom-{digest}", timestamp(created), tool(), top, graph)


def _loose(contents: Contents, graph: Graph) -> list[str]:
    """Add the files that no package brings; returns their identifiers."""
    names: list[str] = []
    for item in contents.loose:
        link = f"; link to {plain(item.link)}" if item.link is not None else ""
        entry = {
            # The number keeps paths apart that differ only in what an identifier cannot hold.
            "SPDXID": element_id("File", str(len(names)), item.path),
            "fileName": f"./{plain(item.path)}",
            "checksums": [
                {"algorithm": "SHA1", "checksumValue": item.sha1},
                sha256(item.sha256),
            ],
            "licenseConcluded": NO_ASSERTION,
            "copyrightText": NO_ASSERTION,
            "comment": f"{item.comment}{link}",
        }
        names.append(graph.add_file(entry))
    return names
