"""Parts of SPDX 2.3 documents: packages, relationships, what packages say of themselves."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from plimsoll.builder.spdxclean import RELATIONSHIPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.builder.spdxclean import Cleaner

VERSION = "SPDX-2.3"
DOCUMENT = "SPDXRef-DOCUMENT"
LICENCE_LIST = "3.27"
NAMESPACE = "https://plimsoll.dev/spdx"
_BAD_ID = re.compile(r"[^A-Za-z0-9.-]+")
#: Relationships that a merged document cannot keep: they speak of files and of documents.
_FILE = "SPDXRef-File-"


def element_id(*parts: str) -> str:
    """A valid SPDX identifier: ``SPDXRef-`` and letters, digits, dots and dashes."""
    return "SPDXRef-" + "-".join(_BAD_ID.sub("-", part) for part in parts)


def sha256(value: str) -> dict[str, str]:
    """A checksum; ``value`` is hex."""
    return {"algorithm": "SHA256", "checksumValue": value}


def relationship(one: str, kind: str, other: str) -> dict[str, str]:
    """One relationship."""
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def purl_reference(purl: str) -> dict[str, str]:
    """A package URL as an external reference."""
    return {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceLocator": purl,
        "referenceType": "purl",
    }


def apk_purl(distro: str, name: str, version: str, arch: str, /, **more: str) -> str:
    """The package URL of an APK package (purl-spec, type ``apk``).

    Args:
        distro: ``ID`` of the system.
        name: of the package.
        version: of the package.
        arch: APK name.
        more: what scanners look for: ``distro`` (``ID-VERSION``) and ``upstream``, the package
            that it was built from, by which security databases know it.
    """
    path = f"{quote(distro.lower(), safe='')}/{quote(name.lower(), safe='')}"
    known = sorted((key, value) for key, value in {"arch": arch, **more}.items() if value)
    qualifiers = "&".join(f"{key}={quote(value, safe='')}" for key, value in known)
    return f"pkg:apk/{path}@{quote(version, safe='')}" + (f"?{qualifiers}" if known else "")


def oci_purl(name: str, digest: str, qualifiers: Mapping[str, str]) -> str:
    """The package URL of an image or a part of one."""
    base = quote(name.rpartition("/")[2].lower() or "image", safe="")
    query = urlencode(sorted((k, v) for k, v in qualifiers.items() if v))
    return f"pkg:oci/{base}@{digest}" + (f"?{query}" if query else "")


def renamed(document: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The document with a prefix in every identifier of a package, for merging with its likes."""

    def name(old: str) -> str:
        return old if old == DOCUMENT else f"SPDXRef-{prefix}-{old.removeprefix('SPDXRef-')}"

    return {
        **document,
        "documentDescribes": [name(item) for item in document.get("documentDescribes", [])],
        "packages": [{**p, "SPDXID": name(p["SPDXID"])} for p in document["packages"]],
        "files": [{**f, "SPDXID": name(f["SPDXID"])} for f in document.get("files", [])],
        "relationships": [
            relationship(
                name(item["spdxElementId"]),
                item["relationshipType"],
                name(item["relatedSpdxElement"]),
            )
            for item in document["relationships"]
        ],
    }


@dataclass(slots=True)
class Graph:
    """Packages and relationships of a document in the making, each identifier once."""

    packages: list[dict[str, Any]] = field(default_factory=list)
    relationships: list[dict[str, str]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    licences: dict[str, dict[str, Any]] = field(default_factory=dict)
    _ids: dict[str, dict[str, Any]] = field(default_factory=dict)
    _related: set[tuple[str, str, str]] = field(default_factory=set)

    def add(self, package: dict[str, Any]) -> str:
        """Add a package unless its identifier is there; returns the identifier."""
        name: str = package["SPDXID"]
        if name not in self._ids:
            self._ids[name] = package
            self.packages.append(package)
        return name

    def add_file(self, item: dict[str, Any]) -> str:
        """Add a file unless its identifier is there; returns the identifier."""
        name: str = item["SPDXID"]
        if name not in self._ids:
            self._ids[name] = item
            self.files.append(item)
        return name

    def relate(self, one: str, kind: str, other: str) -> None:
        """Add a relationship unless it is there."""
        if (one, kind, other) not in self._related:
            self._related.add((one, kind, other))
            self.relationships.append(relationship(one, kind, other))

    def package(self, name: str) -> dict[str, Any]:
        """A package by its identifier."""
        return self._ids[name]

    def add_new(self, package: dict[str, Any]) -> str:
        """Add a package under an identifier that no other one has; returns it."""
        name, number = package["SPDXID"], 1
        while package["SPDXID"] in self._ids:
            number += 1
            package = {**package, "SPDXID": f"{name}-{number}"}
        return self.add(package)

    def merge(
        self,
        document: Mapping[str, Any],
        supplier: str,
        cleaner: Cleaner | None = None,
    ) -> list[str]:
        """Take over a document: a package's own, or an image's with its files.

        Args:
            document: SPDX 2.3 as parsed JSON.
            supplier: of packages that name none.
            cleaner: of a package's document, which may hold anything; ``None`` for an image's.

        Returns:
            Identifiers of what the document describes.

        Raises:
            KeyError, TypeError, ValueError: it is no such document.
        """
        if not str(document["spdxVersion"]).startswith("SPDX-2."):
            raise ValueError(f"version {document['spdxVersion']!r}")
        check_shape(document)
        known = {}
        for package in document["packages"]:
            if package["SPDXID"].startswith(_FILE):
                continue
            clean = package if cleaner is None else cleaner.package(package)
            known[package["SPDXID"]] = self._adopted(clean, supplier)
        if cleaner is None:
            for item in document.get("files", []):
                self.add_file(item)
        ends = known.keys() | ({item["SPDXID"] for item in self.files} if not cleaner else set())
        related = [
            item
            for item in document.get("relationships") or []
            if item["spdxElementId"] in ends
            and item["relatedSpdxElement"] in ends
            and item["relationshipType"] in RELATIONSHIPS
        ]
        described = list(document.get("documentDescribes") or [])
        described += [
            item["relatedSpdxElement"]
            for item in document.get("relationships") or []
            if (item["spdxElementId"], item["relationshipType"]) == (DOCUMENT, "DESCRIBES")
        ]
        for package in known.values():
            self.add(package)
        for item in related:
            self.relate(item["spdxElementId"], item["relationshipType"], item["relatedSpdxElement"])
        for licence in document.get("hasExtractedLicensingInfos") or []:
            explained = cleaner.licence(licence) if cleaner else dict(licence)
            if explained is not None:
                self.licences.setdefault(explained["licenseId"], explained)
        return [name for name in dict.fromkeys(described) if name in known]

    @staticmethod
    def _adopted(package: Mapping[str, Any], supplier: str) -> dict[str, Any]:
        adopted = dict(package)
        # Files are left out, so nothing can be said about having analysed them.
        adopted.pop("hasFiles", None)
        adopted.pop("packageVerificationCode", None)
        adopted["filesAnalyzed"] = False
        adopted.setdefault("downloadLocation", "NOASSERTION")
        for key in ("originator", "supplier"):
            adopted.setdefault(key, supplier)
        return adopted


def check_shape(document: Mapping[str, Any]) -> None:
    """Refuse a document whose parts do not have the types that SPDX 2.3 gives them.

    Raises:
        ValueError: naming the first part that is wrong.
    """
    for kind, items, texts in (
        ("package", document["packages"], ("SPDXID", "name")),
        ("file", document.get("files") or [], ("SPDXID", "fileName")),
        (
            "relationship",
            document.get("relationships") or [],
            ("spdxElementId", "relationshipType", "relatedSpdxElement"),
        ),
        ("licence", document.get("hasExtractedLicensingInfos") or [], ("licenseId",)),
    ):
        _check_items(kind, items, texts)
    described = document.get("documentDescribes") or []
    if not isinstance(described, list) or not all(isinstance(x, str) for x in described):
        raise ValueError("documentDescribes is no list of identifiers")


def _check_items(kind: str, items: Any, texts: tuple[str, ...]) -> None:
    if not isinstance(items, list):
        raise ValueError(f"no list of {kind}s")  # noqa: TRY004  (one kind of error)
    for item in items:
        if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in texts):
            raise ValueError(f"a {kind} without {', '.join(texts)}")


def document(name: str, created: str, tool: str, describes: str, graph: Graph) -> bytes:
    """The finished document; its namespace is made from its content.

    Args:
        name: of the document.
        created: RFC 3339.
        tool: name and version of what made it.
        describes: identifier of the main package.
        graph: everything else.
    """
    value: dict[str, Any] = {
        "SPDXID": DOCUMENT,
        "name": name,
        "spdxVersion": VERSION,
        "creationInfo": {
            "created": created,
            "creators": [f"Tool: {tool}"],
            "licenseListVersion": LICENCE_LIST,
        },
        "dataLicense": "CC0-1.0",
        "documentNamespace": "",
        "documentDescribes": [describes],
        "packages": graph.packages,
        "relationships": [relationship(DOCUMENT, "DESCRIBES", describes), *graph.relationships],
    }
    if graph.files:
        value["files"] = graph.files
    if graph.licences:
        value["hasExtractedLicensingInfos"] = [graph.licences[k] for k in sorted(graph.licences)]
    content = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    unique = hashlib.sha256(content).hexdigest()
    value["documentNamespace"] = f"{NAMESPACE}/{_BAD_ID.sub('-', name)}-{unique[:32]}"
    # What JSON of a package may hold and UTF-8 cannot say becomes a question mark.
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(errors="replace")
