"""What a build leaves in the status when it has ended. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.api.imagebuildstatus import ArchImage, VariantImage
from plimsoll.operator.lanes import plan_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.imagebuildstatus import Build, ImageBuildStatus, Lane


def succeeded(
    status: ImageBuildStatus, build: Build, tags: Mapping[str, Sequence[str]]
) -> ImageBuildStatus:
    """The status with the images of a build whose tags have moved.

    Args:
        status: before.
        build: planned and sealed.
        tags: that moved, by the name of the variant.
    """
    if build.plan is None or build.sealed is None:
        raise ValueError(f"build {build.id} has not been sealed")
    variants = []
    for variant in build.variants:
        plan = plan_of(build, variant.name)
        if plan is None or variant.sealed is None:
            raise ValueError(f"variant {variant.name} of build {build.id} has not been sealed")
        digest = variant.sealed.digest
        variants.append(
            VariantImage(
                name=variant.name,
                image=f"{build.inputs.output}@{digest}",
                digest=digest,
                tags=list(tags[variant.name]),
                architectures=_architectures(variant),
                packages=plan.packages,
                lock=plan.lock,
            )
        )
    return status.model_copy(
        update={
            "build": build.model_copy(update={"digest": build.sealed.digest}),
            "failures": 0,
            "image": f"{build.inputs.output}@{build.sealed.digest}",
            "digest": build.sealed.digest,
            "tags": list(tags[""]),
            "architectures": _architectures(build),
            "variants": variants,
            "packages": build.plan.packages,
            "lock": build.plan.lock,
            "inputs_hash": build.plan.inputs_hash,
            "configuration": build.inputs.configuration,
            "signed": build.sealed.signed,
        }
    )


def _architectures(lane: Lane) -> list[ArchImage]:
    return [
        ArchImage(arch=result.arch, digest=result.digest, size=result.size)
        for result in lane.assembled
    ]
