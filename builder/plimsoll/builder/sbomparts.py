"""Parts of SPDX documents of images: the image itself, its layers, system, source and base."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from plimsoll.builder.licences import NO_ASSERTION
from plimsoll.builder.spdx import element_id, oci_purl, purl_reference, sha256
from plimsoll.builder.spdxclean import plain
from plimsoll.oci.model import OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.arch import Arch

#: They mark a mail address there.
_BRACKETS = str.maketrans("()", "[]")


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
        values = {key: plain(value) for key, value in values.items()}
        found = values.get("ID") or "unknown"
        return cls(found, values.get("NAME") or found, values.get("VERSION_ID") or "unknown")

    @property
    def release(self) -> str:
        """``ID-VERSION``, as package URLs name it; ``""`` if unknown."""
        return f"{self.id}-{self.version}" if "unknown" not in {self.id, self.version} else ""

    @property
    def supplier(self) -> str:
        """Who the packages come from."""
        return f"Organization: {self.name.translate(_BRACKETS) or 'unknown'}"


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


def image_entry(subject: Subject, supplier: str) -> dict[str, Any]:
    """The image."""
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
        "checksums": [sha256(subject.digest.partition(":")[2])],
        "externalRefs": [purl_reference(oci_purl(subject.name, subject.digest, qualifiers))],
    }


def layer_entry(subject: Subject, digest: str, media_type: str, system: System) -> dict[str, Any]:
    """One of its layers."""
    qualifiers = {"arch": subject.arch.architecture, "os": "linux", "mediaType": media_type}
    return {
        "SPDXID": element_id("Package-ImageLayer", digest),
        "name": digest,
        "versionInfo": system.version,
        "filesAnalyzed": False,
        "description": "layer of the image",
        "downloadLocation": NO_ASSERTION,
        "supplier": system.supplier,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [sha256(digest.partition(":")[2])],
        "externalRefs": [purl_reference(oci_purl(subject.name, digest, qualifiers))],
    }


def system_entry(system: System) -> dict[str, Any]:
    """The operating system."""
    return {
        "SPDXID": element_id("OperatingSystem", system.id),
        "name": system.id,
        "versionInfo": system.version,
        "filesAnalyzed": False,
        "description": "Operating System",
        "downloadLocation": NO_ASSERTION,
        "supplier": system.supplier,
        "primaryPackagePurpose": "OPERATING_SYSTEM",
    }


def source_entry(vcs_url: str) -> dict[str, Any]:
    """Where the configuration lives."""
    url, _, commit = vcs_url.rpartition("@") if "@" in vcs_url else (vcs_url, "", "")
    commit = plain(commit)
    name = plain(url.partition("://")[2].rpartition("@")[2] or url) or "source"
    entry: dict[str, Any] = {
        "SPDXID": element_id("Package-Source", name, commit),
        "name": name,
        "versionInfo": commit,
        "filesAnalyzed": False,
        "downloadLocation": NO_ASSERTION,
        "supplier": NO_ASSERTION,
        "primaryPackagePurpose": "SOURCE",
    }
    if re.fullmatch("[0-9a-f]{40}", commit):
        entry["checksums"] = [{"algorithm": "SHA1", "checksumValue": commit}]
    if name.startswith("github.com/"):
        path = quote(name.removeprefix("github.com/").removesuffix(".git").lower())
        version = f"@{quote(commit, safe='')}" if commit else ""
        entry["externalRefs"] = [purl_reference(f"pkg:github/{path}{version}")]
    return entry


def variant_entry(
    name: str, digest: str, qualifiers: dict[str, str], description: str
) -> dict[str, Any]:
    """An image or index that this one is a variant of, or stands on."""
    return {
        "SPDXID": element_id("Package", digest),
        "name": digest,
        "versionInfo": digest,
        "filesAnalyzed": False,
        "description": description,
        "downloadLocation": NO_ASSERTION,
        "supplier": NO_ASSERTION,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [sha256(digest.partition(":")[2])],
        "externalRefs": [purl_reference(oci_purl(name, digest, qualifiers))],
    }
