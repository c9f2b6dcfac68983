"""The promote step: only now do tags move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.api.steps import PromoteResult
from plimsoll.builder.steps.common import registry_of, repository_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.steps import BuildRequest


async def promote(request: BuildRequest, digest: str, tags: Sequence[str]) -> PromoteResult:
    """Let every tag name the sealed index.

    Tags made from the time of the build go first: they are unique, so that the image has a
    lasting name before any tag that people follow moves to it.

    Raises:
        RegistryError: the registry fails; tags that moved stay, and repeating moves the rest.
    """
    repository = repository_of(request)
    moment = request.started.strftime("%Y%m%d%H%M%S")
    ordered = sorted(dict.fromkeys(tags), key=lambda tag: moment not in tag)
    async with registry_of(request) as registry:
        descriptor, data = await registry.get_manifest(repository.with_digest(digest))
        for tag in ordered:
            await registry.push_manifest(repository.with_tag(tag), data, descriptor.media_type)
    return PromoteResult(tags=ordered)
