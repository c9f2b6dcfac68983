"""Manifests, indexes and descriptors of the OCI image-spec v1.1, and docker's schema 2."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plimsoll.oci.digest import digest_of, is_digest
from plimsoll.oci.errors import InvalidManifestError
from plimsoll.oci.strictjson import dump, load_object

if TYPE_CHECKING:
    from collections.abc import Mapping

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFEST_TYPES: Final = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES: Final = (OCI_INDEX, DOCKER_LIST)

#: Bytes of a manifest or index that a registry must accept at least; nobody needs more.
MANIFEST_LIMIT: Final = 4 << 20
#: Layers of one manifest or members of one index.
ENTRY_LIMIT: Final = 1000

#: The two bytes that stand for "no config" (image-spec, manifest.md, "Guidance for an Empty
#: Descriptor").
EMPTY_JSON: Final = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Where an image runs, in the words of GOOS and GOARCH."""

    architecture: str
    os: str = "linux"
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.os}/{self.architecture}{variant}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return _filled(
            {
                "architecture": self.architecture,
                "os": self.os,
                "os.version": self.os_version,
                "os.features": list(self.os_features),
                "variant": self.variant,
            }
        )

    @classmethod
    def from_dict(cls, value: Any, where: str) -> Platform:
        """Read the JSON object; raises ``InvalidManifestError``."""
        obj = _object(value, where)
        return cls(
            architecture=_text(obj, "architecture", where),
            os=_text(obj, "os", where),
            variant=_text(obj, "variant", where),
            os_version=_text(obj, "os.version", where),
            os_features=tuple(str(item) for item in _array(obj, "os.features", where)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What names a blob or manifest: media type, digest, size (image-spec, descriptor.md)."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str = ""
    data: bytes | None = None
    """The content itself, where it is embedded; already checked against digest and size."""

    @classmethod
    def of(
        cls,
        data: bytes,
        media_type: str,
        *,
        annotations: Mapping[str, str] | None = None,
        platform: Platform | None = None,
        artifact_type: str = "",
    ) -> Descriptor:
        """The descriptor of ``data``."""
        return cls(
            media_type=media_type,
            digest=digest_of(data),
            size=len(data),
            annotations=annotations or {},
            platform=platform,
            artifact_type=artifact_type,
        )

    @property
    def is_index(self) -> bool:
        """Whether it names an image index or manifest list."""
        return self.media_type in INDEX_TYPES

    def to_dict(self) -> dict[str, Any]:
        """The JSON object, in the order of the specification."""
        result: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        if self.data is not None:
            result["data"] = base64.b64encode(self.data).decode()
        if self.platform is not None:
            result["platform"] = self.platform.to_dict()
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        return result

    @classmethod
    def from_dict(cls, value: Any, where: str = "descriptor") -> Descriptor:
        """Read the JSON object; raises ``InvalidManifestError``."""
        obj = _object(value, where)
        digest = _text(obj, "digest", where)
        if not is_digest(digest):
            raise InvalidManifestError(f"{where}: {digest[:80]!r} is no sha256 or sha512 digest")
        size = obj.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidManifestError(f"{where}: its size is no number of bytes")
        platform = obj.get("platform")
        return cls(
            media_type=_text(obj, "mediaType", where),
            digest=digest,
            size=size,
            annotations=_annotations(obj, where),
            platform=None if platform is None else Platform.from_dict(platform, where),
            artifact_type=_text(obj, "artifactType", where),
            data=_embedded(obj, digest, size, where),
        )


EMPTY_DESCRIPTOR: Final = Descriptor(
    media_type=OCI_EMPTY, digest=digest_of(EMPTY_JSON), size=len(EMPTY_JSON), data=EMPTY_JSON
)


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
                for number, item in enumerate(_array(obj, "layers", what))
            ),
            media_type=found,
            artifact_type=_text(obj, "artifactType", what),
            subject=None if subject is None else Descriptor.from_dict(subject, f"{what}: subject"),
            annotations=_annotations(obj, what),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Several manifests under one digest (image-spec, image-index.md)."""

    manifests: tuple[Descriptor, ...]
    media_type: str = OCI_INDEX
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def for_platform(self, platform: Platform) -> Descriptor | None:
        """The first member for this OS and architecture; an asked variant must agree."""
        for member in self.manifests:
            has = member.platform
            if (
                has is not None
                and (has.os, has.architecture) == (platform.os, platform.architecture)
                and (not platform.variant or has.variant in {"", platform.variant})
            ):
                return member
        return None

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
                for number, item in enumerate(_array(obj, "manifests", what))
            ),
            media_type=found,
            artifact_type=_text(obj, "artifactType", what),
            subject=None if subject is None else Descriptor.from_dict(subject, f"{what}: subject"),
            annotations=_annotations(obj, what),
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
        kind = _text(obj, "mediaType", what) or (OCI_INDEX if "manifests" in obj else OCI_MANIFEST)
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
    own = _text(obj, "mediaType", what)
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


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item or key in {"architecture", "os"}}


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidManifestError(f"{where} is no JSON object")
    return value


def _text(obj: Mapping[str, Any], key: str, where: str) -> str:
    value = obj.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidManifestError(f"{where}: {key} is no text")
    return value


def _array(obj: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = obj.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidManifestError(f"{where}: {key} is no list")
    if len(value) > ENTRY_LIMIT:
        raise InvalidManifestError(
            f"{where}: {key} has {len(value)} entries, more than {ENTRY_LIMIT} allowed"
        )
    return value


def _annotations(obj: Mapping[str, Any], where: str) -> dict[str, str]:
    value = obj.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise InvalidManifestError(f"{where}: annotations is no map of texts")
    return value


def _embedded(obj: Mapping[str, Any], digest: str, size: int, where: str) -> bytes | None:
    encoded = _text(obj, "data", where)
    if not encoded:
        return None
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidManifestError(f"{where}: data is no base64") from None
    if len(data) != size or digest_of(data, digest.partition(":")[0]) != digest:
        raise InvalidManifestError(f"{where}: its embedded data is not what its digest names")
    return data
