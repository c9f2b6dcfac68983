"""The plan step: all architectures of every image resolved, each image into one lock."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC
from typing import TYPE_CHECKING

from plimsoll.api.steps import MOST_TAGS, TERMINATION_MESSAGE_LIMIT, PlanResult, VariantPlan
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
    tags = [tag for each in request.output.tags for tag in expand(each, lock, request.started)]
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
        if len(plan.tags) > MOST_TAGS:
            raise RequestError(
                f"an image would have {len(plan.tags)} tags, and {MOST_TAGS} are the most",
                hint="use fewer templates",
            )
        for tag in plan.tags:
            if tag in taken:
                names = " and ".join(
                    f"variant {name}" if name else "the image" for name in (taken[tag], plan.name)
                )
                raise RequestError(
                    f"{names} would have the same tag {tag!r}", hint="give one of them other tags"
                )
            taken[tag] = plan.name


def expand(template: str, lock: Lock, started: datetime) -> list[str]:
    """Fill in a tag template: ``${timestamp}``, ``${package.NAME.version}``.

    ``${package.NAME.stems}`` makes a tag of each part of a version that people follow: of
    ``3.12.1-r2`` these are ``3``, ``3.12`` and ``3.12.1``. Characters of versions that tags do not
    allow become ``-``.

    Raises:
        RequestError: it names something else, or the result is no tag.
    """
    texts = [""]
    for number, part in enumerate(_TEMPLATE.split(template)):
        values = _values(part, template, lock, started) if number % 2 else [part]
        texts = [text + value for text in texts for value in values]
    return [check_tag(text[:_TAG_LENGTH]) for text in texts]


def _values(name: str, template: str, lock: Lock, started: datetime) -> list[str]:
    """What may stand for one name in a template."""
    if name == "timestamp":
        return [started.astimezone(UTC).strftime("%Y%m%d%H%M%S")]
    asked = re.fullmatch(r"package\.(.+)\.(version|stems)", name)
    if asked is None:
        raise RequestError(
            f"tag {template!r}: ${{{name}}} is unknown",
            hint="use ${timestamp}, ${package.NAME.version} or ${package.NAME.stems}",
        )
    versions = {p.version for p in lock.contents.packages if p.name == asked[1]}
    if len(versions) != 1:
        raise RequestError(
            f"tag {template!r}: package {asked[1]!r} "
            + ("differs between architectures" if versions else "is not in the image"),
            hint="name a package that is installed on every architecture",
        )
    version = versions.pop()
    values = [version] if asked[2] == "version" else stems(version)
    return [re.sub(r"[^A-Za-z0-9_.-]", "-", value) for value in values]


def stems(version: str) -> list[str]:
    """The parts of a version that people follow, the shortest first, without the revision.

    What comes before a release is followed by nobody: ``3.13.0_rc1`` is its only stem.
    """
    whole = re.sub(r"-r[0-9]+$", "", version)
    if re.search(r"_(alpha|beta|pre|rc)", whole):
        return [whole]
    leading = re.match(r"[0-9]+(\.[0-9]+)*", whole)
    numbers = leading[0].split(".") if leading else []
    return [*(".".join(numbers[:count]) for count in range(1, len(numbers))), whole]
