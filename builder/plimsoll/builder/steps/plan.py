"""The plan step: all architectures of every image resolved, each image into one lock."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC
from typing import TYPE_CHECKING

from plimsoll.api.steps import TERMINATION_MESSAGE_LIMIT, PlanResult, VariantPlan
from plimsoll.builder.remembered import OUTPUT_FORMAT
from plimsoll.builder.sbom import tool
from plimsoll.builder.steps.common import (
    RequestError,
    architectures_of,
    push_lock,
    registry_of,
    repository_of,
)
from plimsoll.oci.reference import check_tag

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from plimsoll.api.steps import BuildRequest
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.lock import Lock
    from plimsoll.oci.registry import Registry

_TEMPLATE = re.compile(r"\$\{([^}]*)\}")
_TAG_LENGTH = 128


async def plan(engine: Engine, request: BuildRequest) -> PlanResult:
    """Resolve the image and its variants, push their locks, and say whether anything changed.

    Raises:
        UnsatisfiableError: there is no solution, and why.
        RequestError: a tag template names what is not in the image, or two images have one tag.
        Error: a repository, a key or the registry fails.
    """
    names = ["", *(variant.name for variant in request.variants)]
    plans: list[VariantPlan] = []
    hashes: list[str] = []
    async with registry_of(request) as registry:
        for name in names:
            found, inputs = await _plan(engine, registry, request.of_variant(name))
            plans.append(found)
            hashes.append(inputs)
    _check_tags(plans)
    own, *variants = plans
    inputs_hash = hashes[0]
    if variants:
        inputs_hash = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    result = PlanResult(
        inputs_hash=inputs_hash,
        unchanged=inputs_hash == request.previous_inputs_hash and not request.force,
        lock=own.lock,
        packages=own.packages,
        tags=own.tags,
        variants=variants,
    )
    size = len(result.model_dump_json(by_alias=True))
    if size > TERMINATION_MESSAGE_LIMIT:
        raise RequestError(
            f"the tags of all images take too much room: {size} bytes in all, of "
            f"{TERMINATION_MESSAGE_LIMIT}",
            hint="use fewer or shorter tags",
        )
    return result


async def _plan(
    engine: Engine, registry: Registry, request: BuildRequest
) -> tuple[VariantPlan, str]:
    """The plan of one image, and the hash of all that makes a difference to it."""
    archs = architectures_of(request)
    lock, _ = await engine.resolve(request.image, archs, request.repositories)
    tags = [expand(tag, lock, request.started) for tag in request.output.tags]
    digest = await push_lock(registry, repository_of(request), lock)
    inputs = lock.inputs_hash(
        engine.logins.strip_config(request.image),
        {
            "builder": tool(),
            "format": OUTPUT_FORMAT,
            "archs": [arch.oci for arch in archs],
            "output": request.output.model_dump(mode="json"),
            "attest": request.attest.model_dump(mode="json"),
        },
    )
    found = VariantPlan(
        name=request.variant,
        lock=digest,
        packages=len(lock.contents.packages),
        tags=list(dict.fromkeys(tags)),
    )
    return found, inputs


def _check_tags(plans: Sequence[VariantPlan]) -> None:
    taken: dict[str, str] = {}
    for plan in plans:
        for tag in plan.tags:
            if tag in taken:
                names = " and ".join(
                    f"variant {name}" if name else "the image" for name in (taken[tag], plan.name)
                )
                raise RequestError(
                    f"{names} would have the same tag {tag!r}", hint="give one of them other tags"
                )
            taken[tag] = plan.name


def expand(template: str, lock: Lock, started: datetime) -> str:
    """Fill in a tag template: ``${timestamp}``, ``${package.NAME.version}``.

    Characters of versions that tags do not allow become ``-``.

    Raises:
        RequestError: it names something else, or the result is no tag.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name == "timestamp":
            return started.astimezone(UTC).strftime("%Y%m%d%H%M%S")
        package = re.fullmatch(r"package\.(.+)\.version", name)
        if package is None:
            raise RequestError(
                f"tag {template!r}: {match[0]} is unknown",
                hint="use ${timestamp} or ${package.NAME.version}",
            )
        versions = {p.version for p in lock.contents.packages if p.name == package[1]}
        if len(versions) != 1:
            raise RequestError(
                f"tag {template!r}: package {package[1]!r} "
                + ("differs between architectures" if versions else "is not in the image"),
                hint="name a package that is installed on every architecture",
            )
        return re.sub(r"[^A-Za-z0-9_.-]", "-", versions.pop())

    return check_tag(_TEMPLATE.sub(value, template)[:_TAG_LENGTH])
