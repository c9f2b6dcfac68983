"""What the steps share: the registry, the lock, the records that one step leaves for another."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from plimsoll.api.base import Model
from plimsoll.api.steps import BuildRequest
from plimsoll.arch import Arch
from plimsoll.builder.lock import MAX_SIZE, MEDIA_TYPE, Lock
from plimsoll.builder.sbom import SPDX_MEDIA_TYPE
from plimsoll.errors import Error
from plimsoll.oci.auth import Credentials
from plimsoll.oci.digest import digest_of
from plimsoll.oci.model import EMPTY_DESCRIPTOR, EMPTY_JSON, OCI_MANIFEST, Manifest
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.oci.model import Descriptor

#: What ``assemble`` attaches to an image for ``seal``: its SPDX document and its packages.
ASSEMBLY_TYPE = "application/vnd.plimsoll.assembly.v1+json"
PACKAGES_TYPE = "application/vnd.plimsoll.packages.v1+json"
_MAX_RECORD = 64 << 20
_Request = TypeVar("_Request", bound=Model)


class RequestError(Error):
    """A request that this step cannot read or fulfil."""

    reason = "InvalidRequest"


@dataclass(frozen=True, slots=True)
class Assembly:
    """What ``assemble`` left for one architecture."""

    sbom: bytes
    packages: list[dict[str, Any]]


def read_request(path: Path, variant: str = "") -> BuildRequest:
    """Read the request file of an image's build.

    Args:
        path: of the file.
        variant: whose image the step is for; empty for the image that is none.

    Raises:
        RequestError: it is missing or malformed, or knows no such variant.
    """
    whole = parse_request(BuildRequest, path)
    try:
        request = whole.of_variant(variant)
    except KeyError:
        known = ", ".join(each.name for each in whole.variants) or "none"
        raise RequestError(
            f"the request has no variant {variant!r}", hint=f"it has {known}"
        ) from None
    if request.image.include:
        raise RequestError(
            f"the image configuration includes {request.image.include!r}, and there are no files",
            hint="write the included values into the ImageBuild, or use imageFrom",
        )
    return request


def parse_request(model: type[_Request], path: Path) -> _Request:
    """Read a request file.

    Raises:
        RequestError: it is missing or malformed.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise RequestError(f"the request {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RequestError(
            f"the request is not valid: {where}: {first['msg']}",
            hint="operator and builder must be of the same version",
        ) from None


def registry_of(request: BuildRequest | PackageRequest) -> Registry:
    """The client for the registry that a request writes to, with docker's logins."""
    return Registry(
        Credentials.default(),
        insecure=frozenset(request.insecure_registries),
        allow_private=False,
        trusted_hosts=frozenset(request.trusted_hosts),
    )


def repository_of(request: BuildRequest) -> Reference:
    """Where the image goes."""
    return Reference.repository_of(request.output.repository)


def architectures_of(request: BuildRequest) -> list[Arch]:
    """The architectures of a request."""
    return list(dict.fromkeys(Arch.parse(name) for name in request.archs))


async def push_lock(registry: Registry, repository: Reference, lock: Lock) -> str:
    """Push a lock as an artifact; returns its digest."""
    await registry.push_blob(repository, EMPTY_JSON)
    layer = await registry.push_blob(repository, lock.dump(), MEDIA_TYPE)
    data = Manifest(config=EMPTY_DESCRIPTOR, layers=(layer,), artifact_type=MEDIA_TYPE).to_bytes()
    target = repository.with_digest(digest_of(data))
    return (await registry.push_manifest(target, data, OCI_MANIFEST)).digest


async def pull_lock(registry: Registry, repository: Reference, digest: str) -> Lock:
    """Read a lock artifact.

    Raises:
        RequestError: the digest names something else.
        RegistryError: it cannot be read.
    """
    target = repository.with_digest(digest)
    descriptor, data = await registry.get_manifest(target)
    manifest = Manifest.parse(data, descriptor.media_type, what=str(target))
    if manifest.artifact_type != MEDIA_TYPE or len(manifest.layers) != 1:
        raise RequestError(f"{target} is no lock", hint="plan the build again")
    blob = await registry.get_blob(target, manifest.layers[0].digest, MAX_SIZE)
    return Lock.parse(blob, str(target))


async def pull_assembly(registry: Registry, repository: Reference, image: Descriptor) -> Assembly:
    """Read what ``assemble`` attached to an image.

    Raises:
        RequestError: it attached nothing.
        RegistryError: it cannot be read.
    """
    target = repository.with_digest(image.digest)
    for found in await registry.referrers(target, ASSEMBLY_TYPE):
        reference = repository.with_digest(found.digest)
        descriptor, data = await registry.get_manifest(reference)
        manifest = Manifest.parse(data, descriptor.media_type, what=str(reference))
        if manifest.artifact_type != ASSEMBLY_TYPE:
            continue
        blobs = {
            layer.media_type: await registry.get_blob(reference, layer.digest, _MAX_RECORD)
            for layer in manifest.layers
        }
        return Assembly(blobs[SPDX_MEDIA_TYPE], json.loads(blobs[PACKAGES_TYPE]))
    raise RequestError(
        f"nothing is recorded about {target}", hint="assemble the image again, then seal it"
    )
