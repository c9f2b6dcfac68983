"""Manifests and indexes of the OCI image-spec v1.1, and docker's schema 2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from plimsoll.oci.descriptor import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    EMPTY_DESCRIPTOR,
    EMPTY_JSON,
    ENTRY_LIMIT,
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    annotations_of,
    array_of,
    text_of,
)
from plimsoll.oci.errors import InvalidManifestError
from plimsoll.oci.strictjson import dump, load_object

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image or artifact (image-spec, manifest.md)."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What referrers list as its artifact type: its own, else its config's media type."""
        return self.artifact_type or self.config.media_type

    def to_bytes(self) -> bytes:
        """The document to push."""
        result: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        result["config"] = self.config.to_dict()
        result["layers"] = [layer.to_dict() for layer in self.layers]
        return _finish(result, self.subject, self.annotations)

    @classmethod
    def parse(cls, data: bytes, media_type: str = "", *, what: str = "manifest") -> Manifest:
        """Read and check a manifest.

        Args:
            data: the document.
            media_type: what the registry or descriptor said it is; must agree with the document.
            what: names it in errors.

        Raises:
            InvalidManifestError: if it is none, or over a limit.
        """
        obj = load_object(data, what=what, max_size=MANIFEST_LIMIT)
        found = _checked_type(obj, media_type, MANIFEST_TYPES, OCI_MANIFEST, what)
        if "config" not in obj or "manifests" in obj:
            raise InvalidManifestError(f"{what} is no image manifest: it has no config")
        subject = obj.get("subject")
        return cls(
            config=Descriptor.from_dict(obj["config"], f"{what}: config"),
            layers=tuple(
                Descriptor.from_dict(item, f"{what}: layer {number}")
                for number, item in enumerate(array_of(obj, "layers", what))
            ),
            media_type=found,
            artifact_type=text_of(obj, "artifactType", what),
            subject=None if subject is None else Descriptor.from_dict(subject, f"{what}: subject"),
            annotations=annotations_of(obj, what),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Several manifests under one digest (image-spec, image-index.md)."""

    manifests: tuple[Descriptor, ...]
    media_type: str = OCI_INDEX
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The document to push."""
        result: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        result["manifests"] = [member.to_dict() for member in self.manifests]
        return _finish(result, self.subject, self.annotations)

    @classmethod
    def parse(cls, data: bytes, media_type: str = "", *, what: str = "image index") -> Index:
        """Read and check an index; see ``Manifest.parse``."""
        obj = load_object(data, what=what, max_size=MANIFEST_LIMIT)
        found = _checked_type(obj, media_type, INDEX_TYPES, OCI_INDEX, what)
        if "manifests" not in obj or "config" in obj or "layers" in obj:
            raise InvalidManifestError(f"{what} is no image index: it has no manifests")
        subject = obj.get("subject")
        return cls(
            manifests=tuple(
                Descriptor.from_dict(item, f"{what}: manifest {number}")
                for number, item in enumerate(array_of(obj, "manifests", what))
            ),
            media_type=found,
            artifact_type=text_of(obj, "artifactType", what),
            subject=None if subject is None else Descriptor.from_dict(subject, f"{what}: subject"),
            annotations=annotations_of(obj, what),
        )


def parse_manifest(
    data: bytes, media_type: str = "", *, what: str = "manifest"
) -> Manifest | Index:
    """Read either kind, by the media type, else by the document's own, else by its fields.

    Raises:
        InvalidManifestError: for anything else, docker's schema 1 included.
    """
    kind = media_type
    if not kind:
        obj = load_object(data, what=what, max_size=MANIFEST_LIMIT)
        kind = text_of(obj, "mediaType", what) or (
            OCI_INDEX if "manifests" in obj else OCI_MANIFEST
        )
    if kind in INDEX_TYPES:
        return Index.parse(data, media_type, what=what)
    if kind in MANIFEST_TYPES:
        return Manifest.parse(data, media_type, what=what)
    raise InvalidManifestError(
        f"{what} has the media type {kind[:100]!r}",
        hint="images are OCI manifests or indexes, or docker's schema 2; push it anew with a "
        "current tool",
    )


def _checked_type(
    obj: dict[str, Any], declared: str, allowed: tuple[str, ...], default: str, what: str
) -> str:
    if obj.get("schemaVersion") != 2:
        raise InvalidManifestError(f"{what}: its schemaVersion is not 2")
    own = text_of(obj, "mediaType", what)
    if own and declared and own != declared:
        # Read as a manifest by one client and as an index by another, one digest could be two
        # images (CVE-2021-41190).
        raise InvalidManifestError(
            f"{what} says it is {own[:100]!r} but is served as {declared[:100]!r}"
        )
    found = own or declared or default
    if found not in allowed:
        raise InvalidManifestError(f"{what} has the media type {found[:100]!r}, not {allowed[0]!r}")
    return found


def _finish(
    result: dict[str, Any], subject: Descriptor | None, annotations: Mapping[str, str]
) -> bytes:
    if subject is not None:
        plain = Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size)
        result["subject"] = plain.to_dict()
    if annotations:
        result["annotations"] = dict(annotations)
    return dump(result)


__all__ = [
    "DOCKER_CONFIG",
    "DOCKER_LAYER_GZIP",
    "DOCKER_LIST",
    "DOCKER_MANIFEST",
    "EMPTY_DESCRIPTOR",
    "EMPTY_JSON",
    "ENTRY_LIMIT",
    "INDEX_TYPES",
    "MANIFEST_LIMIT",
    "MANIFEST_TYPES",
    "OCI_CONFIG",
    "OCI_EMPTY",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_LAYER_GZIP",
    "OCI_LAYER_ZSTD",
    "OCI_MANIFEST",
    "Descriptor",
    "Index",
    "Manifest",
    "Platform",
    "parse_manifest",
]
