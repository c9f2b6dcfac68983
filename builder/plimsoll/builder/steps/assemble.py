"""The assemble step: one architecture's image, pushed by digest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from plimsoll.api.steps import AssembleResult
from plimsoll.builder.publish import push_image
from plimsoll.builder.sbom import SPDX_MEDIA_TYPE
from plimsoll.builder.steps.common import (
    ASSEMBLY_TYPE,
    PACKAGES_TYPE,
    pull_lock,
    registry_of,
    repository_of,
)
from plimsoll.oci.digest import digest_of
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Artifact

if TYPE_CHECKING:
    from plimsoll.api.steps import BuildRequest
    from plimsoll.arch import Arch
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.lock import Lock
    from plimsoll.builder.ociimage import ArchImage


async def assemble(
    engine: Engine, request: BuildRequest, arch: Arch, lock_digest: str
) -> AssembleResult:
    """Fetch, verify, compose, push.

    The SPDX document and the list of packages are attached to the image, so that the seal step
    finds them and no registry takes them for garbage.

    Raises:
        Error: a package, the configuration or the registry fails.
    """
    repository = repository_of(request)
    engine.logins.strip_sources(request.repositories)
    async with registry_of(request) as registry:
        lock = await pull_lock(registry, repository, lock_digest)

        async def once() -> ArchImage:
            image = await engine.build(request.image, lock, arch, name=repository.name)
            await push_image(registry, repository, image, engine.store)
            return image

        image = await engine.repairing(once)
        packages = json.dumps(await _packages(engine, lock, arch), separators=(",", ":"))
        await registry.attach(
            repository,
            image.descriptor,
            artifact_type=ASSEMBLY_TYPE,
            layers=[
                Artifact(SPDX_MEDIA_TYPE, image.sbom),
                Artifact(PACKAGES_TYPE, packages.encode()),
            ],
        )
    return AssembleResult(
        arch=arch.oci,
        digest=image.descriptor.digest,
        size=image.size,
        sbom=digest_of(image.sbom),
    )


async def _packages(engine: Engine, lock: Lock, arch: Arch) -> list[dict[str, Any]]:
    """The base image and each package on top, with where they came from and their digests."""
    own = lock.packages(arch)
    contents = lock.contents.model_copy(update={"packages": own})
    found = await engine.packages(lock.model_copy(update={"contents": contents}))
    base = lock.base(arch)
    below: list[dict[str, Any]] = []
    if base is not None:
        image = Reference.parse(base.image).with_digest(base.digest)
        digest = base.digest.partition(":")[2]
        below.append({"name": base.image, "base": True, "url": f"oci://{image}", "sha256": digest})
    packages = (
        {
            "name": item.name,
            "version": item.version,
            "arch": arch.apk,
            "url": item.url,
            "sha256": found[arch.apk, item.name].sha256,
            "control": item.checksum,
        }
        for item in own
    )
    return [*below, *packages]
