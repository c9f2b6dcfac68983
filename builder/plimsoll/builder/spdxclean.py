"""What packages bring as SPDX, kept to what SPDX 2.3 allows: one bad value spoils a whole document.

A value that is none is left out and told of; what identifies a package must be sound.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plimsoll.builder.licences import Licences

NO_ASSERTION = "NOASSERTION"
_UNKNOWN = {NO_ASSERTION, "NONE"}
_ID = re.compile(r"SPDXRef-[A-Za-z0-9.-]+")
_LICENCE_ID = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
_HOST = r"[A-Za-z0-9]+(?:[-.][A-Za-z0-9]+){0,100}\.[A-Za-z]{2,}(?::[0-9]{1,5})?"
_TAIL = r"(?:[/?#](?:[A-Za-z0-9._~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)?"
_URL = re.compile(rf"(?:https?|ssh|git|svn|s?ftp)://{_HOST}{_TAIL}")
_DOWNLOAD = re.compile(
    rf"(?:(?:git|hg|svn|bzr)\+)?{_URL.pattern}|git\+git@[A-Za-z0-9.-]+:[A-Za-z0-9/.@-]+"
)
_LOGIN = re.compile(r"(?<=://)[^/@]*@")
_ACTOR = re.compile(r"(?:Person|Organization|Tool): [^\x00-\x1f()]+(?: \([^()\x00-\x1f]*\))?")
_TIME = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3])"
                   r":[0-5][0-9]:[0-5][0-9]Z")  # fmt: skip
_DIGITS = {
    "SHA1": 40, "SHA224": 56, "SHA256": 64, "SHA384": 96, "SHA512": 128, "SHA3-256": 64,
    "SHA3-384": 96, "SHA3-512": 128, "BLAKE2b-256": 64, "BLAKE2b-384": 96, "BLAKE2b-512": 128,
    "MD2": 32, "MD4": 32, "MD5": 32, "ADLER32": 8,
}  # fmt: skip
_PURPOSES = {
    "APPLICATION", "FRAMEWORK", "LIBRARY", "CONTAINER", "OPERATING_SYSTEM", "DEVICE", "FIRMWARE",
    "SOURCE", "ARCHIVE", "FILE", "INSTALL", "OTHER",
}  # fmt: skip
_CPE_PART = r"(?:[?]+|[*])?(?:[A-Za-z0-9._-]|\\[\\*?!\"#$%&'()+,/:;<=>@\[\]^`{|}~])+(?:[?]+|[*])?"
_CPE_PART = rf"(?:{_CPE_PART}|[*-])"
#: (Category, type) → what a locator looks like.
_REFERENCES = {
    ("PACKAGE-MANAGER", "purl"): re.compile(r"pkg:[A-Za-z][A-Za-z0-9.+-]*/[!-~]+"),
    ("PACKAGE-MANAGER", "maven-central"): re.compile(r"[^:\s]+:[^:\s]+(?::[^:\s]+)?"),
    ("PACKAGE-MANAGER", "npm"): re.compile(r"[^@\s]+@[^@\s]+"),
    ("PACKAGE-MANAGER", "nuget"): re.compile(r"[^/\s]+/[^/\s]+"),
    ("PACKAGE-MANAGER", "bower"): re.compile(r"[^#\s]+#[^#\s]+"),
    ("SECURITY", "cpe22Type"): re.compile(r"cpe:/[AHOaho]?(?::[A-Za-z0-9._~%-]*){0,6}"),
    ("SECURITY", "cpe23Type"): re.compile(
        rf"cpe:2\.3:[aho*-](?::{_CPE_PART}){{5}}:(?:[A-Za-z]{{2,3}}(?:-(?:[A-Za-z]{{2}}|[0-9]{{3}}))?"
        rf"|[*-])(?::{_CPE_PART}){{4}}"
    ),
    ("SECURITY", "advisory"): _URL,
    ("SECURITY", "fix"): _URL,
    ("SECURITY", "url"): _URL,
    ("PERSISTENT-ID", "swh"): re.compile(r"swh:1:(?:snp|rel|rev|dir|cnt):[0-9a-fA-F]{40}"),
    ("PERSISTENT-ID", "gitoid"): re.compile(
        r"gitoid:(?:blob|tree|commit|tag):(?:sha1:[0-9a-fA-F]{40}|sha256:[0-9a-fA-F]{64})"
    ),
}
#: Relationships between elements (SPDX 2.3, clause 11.1).
RELATIONSHIPS = {
    "DESCRIBES", "DESCRIBED_BY", "CONTAINS", "CONTAINED_BY", "DEPENDS_ON", "DEPENDENCY_OF",
    "DEPENDENCY_MANIFEST_OF", "BUILD_DEPENDENCY_OF", "DEV_DEPENDENCY_OF",
    "OPTIONAL_DEPENDENCY_OF", "PROVIDED_DEPENDENCY_OF", "TEST_DEPENDENCY_OF",
    "RUNTIME_DEPENDENCY_OF", "EXAMPLE_OF", "GENERATES", "GENERATED_FROM", "ANCESTOR_OF",
    "DESCENDANT_OF", "VARIANT_OF", "DISTRIBUTION_ARTIFACT", "PATCH_FOR", "PATCH_APPLIED",
    "COPY_OF", "FILE_ADDED", "FILE_DELETED", "FILE_MODIFIED", "EXPANDED_FROM_ARCHIVE",
    "DYNAMIC_LINK", "STATIC_LINK", "DATA_FILE_OF", "TEST_CASE_OF", "BUILD_TOOL_OF", "DEV_TOOL_OF",
    "TEST_OF", "TEST_TOOL_OF", "DOCUMENTATION_OF", "OPTIONAL_COMPONENT_OF", "METAFILE_OF",
    "PACKAGE_OF", "AMENDS", "PREREQUISITE_FOR", "HAS_PREREQUISITE", "REQUIREMENT_DESCRIPTION_FOR",
    "SPECIFICATION_FOR", "OTHER",
}  # fmt: skip


def is_element_id(text: Any) -> bool:
    """Whether it can name a package; the document's own name cannot."""
    return isinstance(text, str) and bool(_ID.fullmatch(text)) and text != "SPDXRef-DOCUMENT"


def homepage(text: Any) -> str:
    """A web address without a login, ``""`` if it is none."""
    plain = _LOGIN.sub("", text) if isinstance(text, str) else ""
    return plain if _URL.fullmatch(plain) else ""


def plain(text: str) -> str:
    """A text without control characters, which a terminal would obey."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()


class Cleaner:
    """Cleans the packages of one document.

    Args:
        licences: for expressions.
        told: gets a line for each value that is left out.
    """

    def __init__(self, licences: Licences, told: Callable[[str], None]) -> None:
        self._licences = licences
        self._told = told
        self._checks: dict[str, Callable[[Any], Any]] = {
            "versionInfo": _text,
            "packageFileName": _text,
            "supplier": _actor,
            "originator": _actor,
            "downloadLocation": _download,
            "checksums": _each(_checksum),
            "homepage": homepage,
            "sourceInfo": _text,
            "licenseConcluded": self._licence,
            "licenseDeclared": self._licence,
            "licenseComments": _text,
            "copyrightText": _text,
            "summary": _text,
            "description": _text,
            "comment": _text,
            "externalRefs": _each(_reference),
            "attributionTexts": _each(_text),
            "primaryPackagePurpose": lambda v: v if v in _PURPOSES else None,
            "builtDate": _time,
            "releaseDate": _time,
            "validUntilDate": _time,
        }

    def package(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A package without what SPDX does not allow, its fields in their order.

        Raises:
            ValueError: it has no sound identifier, or no name.
        """
        if not is_element_id(value.get("SPDXID")):
            raise ValueError(f"the identifier {str(value.get('SPDXID'))[:80]!r}")
        if not isinstance(value.get("name"), str) or not value["name"]:
            raise ValueError(f"{value['SPDXID']} without a name")
        kept: dict[str, Any] = {}
        for key, item in value.items():
            if key in {"SPDXID", "name"}:
                kept[key] = item
            elif key in self._checks:
                clean = self._checks[key](item)
                if clean not in (None, "") or clean == item:
                    kept[key] = clean
                if clean != item:
                    self._told(f"{value['SPDXID']}: {key} {str(item)[:80]!r}")
        return kept

    def licence(self, value: Mapping[str, Any]) -> dict[str, Any] | None:
        """A licence that a document explains."""
        name, text = value.get("licenseId"), value.get("extractedText")
        if not (isinstance(name, str) and _LICENCE_ID.fullmatch(name) and text) or not isinstance(
            text, str
        ):
            self._told(f"the licence {str(name)[:80]!r}")
            return None
        kept: dict[str, Any] = {
            key: item
            for key, item in value.items()
            if key in {"licenseId", "extractedText", "name", "comment"} and isinstance(item, str)
        }
        links = value.get("seeAlsos")
        if isinstance(links, list) and all(homepage(link) == link for link in links):
            kept["seeAlsos"] = links
        return kept

    def _licence(self, value: Any) -> str:
        return self._licences.checked(value) if isinstance(value, str) else NO_ASSERTION


def _each(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(value: Any) -> list[Any] | None:
        if not isinstance(value, list):
            return None
        return [clean for item in value if (clean := check(item)) is not None]

    return checked


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _actor(value: Any) -> str | None:
    known = isinstance(value, str) and (value in _UNKNOWN or _ACTOR.fullmatch(value))
    return value if known else None


def _download(value: Any) -> str:
    text = _LOGIN.sub("", value) if isinstance(value, str) else ""
    return text if text in _UNKNOWN or _DOWNLOAD.fullmatch(text) else NO_ASSERTION


def _time(value: Any) -> str | None:
    return value if isinstance(value, str) and _TIME.fullmatch(value) else None


def _checksum(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    kind, digits = value.get("algorithm"), value.get("checksumValue")
    if not isinstance(digits, str) or not isinstance(kind, str) or len(digits) != _DIGITS.get(kind):
        return None
    digits = digits.lower()
    sound = re.fullmatch("[0-9a-f]+", digits)
    return {"algorithm": kind, "checksumValue": digits} if sound else None


def _reference(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    texts = [value.get(k) for k in ("referenceCategory", "referenceType", "referenceLocator")]
    if not all(isinstance(text, str) and text for text in texts):
        return None
    category, kind, locator = map(str, texts)
    pattern = _REFERENCES.get((category.replace("_", "-"), kind))
    if category == "OTHER":
        pattern = re.compile(r"[!-~]+")
    if pattern is None or not pattern.fullmatch(locator):
        return None
    comment = value.get("comment", "")
    kept = {"referenceCategory", "referenceType", "referenceLocator", "comment"}
    return {k: v for k, v in value.items() if k in kept} if isinstance(comment, str) else None
