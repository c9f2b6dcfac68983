"""Media types, platforms and descriptors (OCI image-spec v1.1, descriptor.md)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from plimsoll.oci.digest import digest_of, is_digest
from plimsoll.oci.errors import InvalidManifestError

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
        obj = as_object(value, where)
        return cls(
            architecture=text_of(obj, "architecture", where),
            os=text_of(obj, "os", where),
            variant=text_of(obj, "variant", where),
            os_version=text_of(obj, "os.version", where),
            os_features=tuple(str(item) for item in array_of(obj, "os.features", where)),
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
        obj = as_object(value, where)
        digest = text_of(obj, "digest", where)
        if not is_digest(digest):
            raise InvalidManifestError(f"{where}: {digest[:80]!r} is no sha256 or sha512 digest")
        size = obj.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidManifestError(f"{where}: its size is no number of bytes")
        platform = obj.get("platform")
        return cls(
            media_type=text_of(obj, "mediaType", where),
            digest=digest,
            size=size,
            annotations=annotations_of(obj, where),
            platform=None if platform is None else Platform.from_dict(platform, where),
            artifact_type=text_of(obj, "artifactType", where),
            data=_embedded(obj, digest, size, where),
        )


EMPTY_DESCRIPTOR: Final = Descriptor(
    media_type=OCI_EMPTY, digest=digest_of(EMPTY_JSON), size=len(EMPTY_JSON), data=EMPTY_JSON
)


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item or key in {"architecture", "os"}}


def as_object(value: Any, where: str) -> dict[str, Any]:
    """The value, if it is a JSON object; raises ``InvalidManifestError``."""
    if not isinstance(value, dict):
        raise InvalidManifestError(f"{where} is no JSON object")
    return value


def text_of(obj: Mapping[str, Any], key: str, where: str) -> str:
    """A text field; empty if absent; raises ``InvalidManifestError``."""
    value = obj.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidManifestError(f"{where}: {key} is no text")
    return value


def array_of(obj: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """A list field within the limit; empty if absent; raises ``InvalidManifestError``."""
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


def annotations_of(obj: Mapping[str, Any], where: str) -> dict[str, str]:
    """The annotations; empty if absent; raises ``InvalidManifestError``."""
    value = obj.get("annotations")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise InvalidManifestError(f"{where}: annotations is no map of texts")
    return value


def _embedded(obj: Mapping[str, Any], digest: str, size: int, where: str) -> bytes | None:
    encoded = text_of(obj, "data", where)
    if not encoded:
        return None
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidManifestError(f"{where}: data is no base64") from None
    if len(data) != size or digest_of(data, digest.partition(":")[0]) != digest:
        raise InvalidManifestError(f"{where}: its embedded data is not what its digest names")
    return data
