"""Bills of materials as people attest them: SPDX 2 and 3, CycloneDX. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.api.predicates import CYCLONEDX, SPDX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.signing.results import VerifiedAttestation

_UNSAID = frozenset({"", "NOASSERTION", "NONE"})
_LICENCE_RELATIONS = frozenset({"hasDeclaredLicense", "hasConcludedLicense"})
_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Component:
    """One package of a bill of materials."""

    name: str
    version: str = ""
    licenses: tuple[str, ...] = ()
    """Expressions that all hold."""

    identified: bool = False
    """Whether a purl or CPE names it."""

    @property
    def complete(self) -> bool:
        """Whether all is said that ``completeness`` asks for."""
        return bool(self.name and self.version and self.licenses and self.identified)

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


def components(document: VerifiedAttestation) -> Iterator[Component]:
    """The packages of a document; raises ``ValueError`` if it is not understood."""
    predicate = document.predicate
    if not isinstance(predicate, dict):
        raise ValueError("it is no object")  # noqa: TRY004  what a document holds is no type of ours
    if document.predicate_type.startswith(SPDX):
        if "@graph" in predicate:
            yield from _of_spdx3(_items(predicate, "@graph"))
            return
        if "packages" not in predicate:
            raise ValueError("it has neither packages nor a @graph")
        for item in _items(predicate, "packages"):
            if item.get("primaryPackagePurpose") != "CONTAINER":
                yield _of_spdx(item)
    elif document.predicate_type.startswith(CYCLONEDX):
        yield from _of_cyclonedx(predicate, 0)
    else:
        raise ValueError(f"{document.predicate_type} is no bill of materials")


def _of_spdx(item: dict[str, Any]) -> Component:
    said = [_text(item, key) for key in ("licenseDeclared", "licenseConcluded")]
    kinds = {_text(ref, "referenceType") for ref in _items(item, "externalRefs")}
    return Component(
        name=_text(item, "name"),
        version=_text(item, "versionInfo"),
        licenses=tuple(dict.fromkeys(one for one in said if one not in _UNSAID)),
        identified=bool(kinds & {"purl", "cpe22Type", "cpe23Type"}),
    )


def _of_spdx3(graph: list[dict[str, Any]]) -> Iterator[Component]:
    """SPDX 3.0, JSON-LD as its own schema writes it: elements, and relationships between them."""
    elements = {_id(item): item for item in graph}
    if not any(item.get("type") == "SpdxDocument" for item in graph):
        raise ValueError("its @graph has no SpdxDocument")
    licenses: dict[str, list[str]] = {}
    for item in graph:
        if item.get("relationshipType") not in _LICENCE_RELATIONS:
            continue
        targets = item.get("to")
        if not isinstance(targets, list):
            raise ValueError("a relationship leads nowhere")  # noqa: TRY004
        for target in targets:
            licenses.setdefault(_text(item, "from"), []).append(_licence(target, elements))
    for name, item in elements.items():
        if item.get("type") != "software_Package":
            continue
        if item.get("software_primaryPurpose") == "container":
            continue
        kinds = {_text(one, "externalIdentifierType") for one in _items(item, "externalIdentifier")}
        said = licenses.get(name, [])
        yield Component(
            name=_text(item, "name"),
            version=_text(item, "software_packageVersion"),
            licenses=tuple(dict.fromkeys(one for one in said if one not in _UNSAID)),
            identified=bool(
                _text(item, "software_packageUrl") or kinds & {"packageUrl", "cpe22", "cpe23"}
            ),
        )


def _id(item: dict[str, Any]) -> str:
    return _text(item, "spdxId") or _text(item, "@id")


def _licence(target: Any, elements: dict[str, dict[str, Any]]) -> str:
    """A licence by its name; what is not understood stays as it is, and so is no licence."""
    if isinstance(target, dict):
        element, name = target, _id(target)
    elif isinstance(target, str):
        element, name = elements.get(target, {}), target
    else:
        raise ValueError("a licence is neither a name nor an element")  # noqa: TRY004
    kind = _text(element, "type")
    if kind.endswith(("NoAssertionLicense", "NoneLicense")):
        return ""
    listed = name.removeprefix("https://spdx.org/licenses/")
    if listed != name:
        return listed
    return _text(element, "simplelicensing_licenseExpression") or _text(element, "name") or name


def _of_cyclonedx(holder: dict[str, Any], depth: int) -> Iterator[Component]:
    if depth > _DEPTH:
        raise ValueError("its components are nested too deeply")
    for item in _items(holder, "components"):
        licenses: list[str] = []
        for entry in _items(item, "licenses"):
            one = entry.get("license")
            named = (_text(one, "id") or _text(one, "name")) if isinstance(one, dict) else ""
            licenses.append(_text(entry, "expression") or named)
        yield Component(
            name=_text(item, "name"),
            version=_text(item, "version"),
            licenses=tuple(one for one in licenses if one not in _UNSAID),
            identified=bool(_text(item, "purl") or _text(item, "cpe")),
        )
        yield from _of_cyclonedx(item, depth + 1)


def _items(holder: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = holder.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{key} is no list of objects")
    return value


def _text(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} is no text")
    return value or ""
