"""The plan step: all architectures resolved together into one lock."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING

from plimsoll.api.steps import PlanResult
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
    from datetime import datetime

    from plimsoll.api.steps import BuildRequest
    from plimsoll.builder.engine import Engine
    from plimsoll.builder.lock import Lock

_TEMPLATE = re.compile(r"\$\{([^}]*)\}")
_TAG_LENGTH = 128


async def plan(engine: Engine, request: BuildRequest) -> PlanResult:
    """Resolve, push the lock, and say whether anything changed.

    Raises:
        UnsatisfiableError: there is no solution, and why.
        RequestError: a tag template names what is not in the image.
        Error: a repository, a key or the registry fails.
    """
    archs = architectures_of(request)
    lock, _ = await engine.resolve(request.image, archs, request.repositories)
    tags = [expand(tag, lock, request.started) for tag in request.output.tags]
    async with registry_of(request) as registry:
        digest = await push_lock(registry, repository_of(request), lock)
    found = lock.inputs_hash(
        engine.logins.strip_config(request.image),
        {
            "builder": tool(),
            "format": OUTPUT_FORMAT,
            "archs": [arch.oci for arch in archs],
            "output": request.output.model_dump(mode="json"),
            "attest": request.attest.model_dump(mode="json"),
        },
    )
    return PlanResult(
        inputs_hash=found,
        unchanged=found == request.previous_inputs_hash and not request.force,
        lock=digest,
        packages=len(lock.contents.packages),
        tags=list(dict.fromkeys(tags)),
    )


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
