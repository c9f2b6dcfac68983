"""Packages in SPDX documents of images: with what they bring, or what they say of themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from plimsoll.builder.licences import NO_ASSERTION
from plimsoll.builder.spdx import apk_purl, element_id, purl_reference, sha256
from plimsoll.builder.spdxclean import Cleaner, homepage, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.apk.records import IndexEntry
    from plimsoll.builder.licences import Licences
    from plimsoll.builder.sbomparts import System
    from plimsoll.builder.sbomsource import Contents, Listed
    from plimsoll.builder.spdx import Graph


class Packages:
    """Adds packages to a document.

    Args:
        contents: of the image.
        graph: of the document.
        system: of the image.
        licences: of the document.
        warn: told of package documents that cannot be used, or not all of them.
    """

    def __init__(
        self,
        contents: Contents,
        graph: Graph,
        system: System,
        licences: Licences,
        warn: Callable[[str], None],
    ) -> None:
        self._contents = contents
        self._graph = graph
        self._system = system
        self._licences = licences
        self._warn = warn

    def add(self, package: Listed) -> list[str]:
        """Add one; returns the identifiers that the image contains."""
        info = package.entry
        described = self._merge(info)
        known = {name: self._graph.package(name) for name in described}
        main = [
            entry
            for entry in known.values()
            if (entry.get("name"), entry.get("versionInfo")) == (info.name, info.version)
        ]
        for entry in main:
            self._complete(entry, package)
        return described if main else [*described, self._graph.add_new(self._entry(package))]

    def _merge(self, info: IndexEntry) -> list[str]:
        """Take over the package's own document; returns what it describes."""
        own = self._own_document(info)
        if own is None:
            return []
        left_out: list[str] = []
        cleaner = Cleaner(self._licences, left_out.append)
        try:
            described = self._graph.merge(own, self._system.supplier, cleaner)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._warn(f"{info.name} brings an SPDX document that cannot be used: {error!r}")
            return []
        if left_out:
            more = f", and {len(left_out) - 3} more" if len(left_out) > 3 else ""
            self._warn(
                f"{info.name} brings an SPDX document with values that SPDX does not allow, which "
                f"are left out: {'; '.join(left_out[:3])}{more}"
            )
        return described

    def _entry(self, package: Listed) -> dict[str, Any]:
        """What the package says of itself."""
        info = package.entry
        entry: dict[str, Any] = {
            "SPDXID": element_id("Package-apk", info.name, info.version),
            "name": info.name,
            "versionInfo": info.version,
            "filesAnalyzed": False,
            "licenseConcluded": NO_ASSERTION,
            "licenseDeclared": self._licences.expression(info.license),
            "description": plain(info.description),
            "downloadLocation": NO_ASSERTION,
            "homepage": homepage(info.url),
            "originator": self._system.supplier,
            "supplier": self._system.supplier,
            "copyrightText": NO_ASSERTION,
            "primaryPackagePurpose": "APPLICATION",
        }
        entry = {key: value for key, value in entry.items() if value != ""}
        self._complete(entry, package)
        return entry

    def _complete(self, entry: dict[str, Any], package: Listed) -> None:
        """Make sure that a package has its checksum and its package URL."""
        info = package.entry
        origin, commit = plain(info.origin), plain(info.commit)
        checksums = list(entry.get("checksums") or [])
        if package.sha256 and not any(item["algorithm"] == "SHA256" for item in checksums):
            checksums.append(sha256(package.sha256))
        if checksums:
            entry["checksums"] = checksums
        references = list(entry.get("externalRefs") or [])
        if not any(item["referenceType"] == "purl" for item in references):
            purl = apk_purl(
                self._system.id,
                info.name,
                info.version,
                info.arch,
                distro=self._system.release,
                upstream=origin if origin != info.name else "",
            )
            references.append(purl_reference(purl))
        entry["externalRefs"] = references
        if origin and not entry.get("sourceInfo"):
            # Security databases list origins, not the packages that were split off.
            entry["sourceInfo"] = f"built from {origin}" + (f" at {commit}" if commit else "")

    def _own_document(self, info: IndexEntry) -> dict[str, Any] | None:
        names = (
            f"{info.name}-{info.version}",
            info.name,
            f"{info.name}-{info.version.rpartition('-r')[0] or info.version}",
        )
        for name in names:
            try:
                data = self._contents.document(f"{name}.spdx.json")
            except ValueError as error:
                self._warn(f"{info.name} brings an SPDX document that cannot be used: {error}")
                return None
            if data is None:
                continue
            try:
                value = json.loads(data)
            except (ValueError, RecursionError) as error:
                self._warn(f"{info.name} brings an SPDX document that is no JSON: {error}")
                return None
            if isinstance(value, dict):
                return value
            self._warn(f"{info.name} brings an SPDX document that is no JSON object")
            return None
        return None
