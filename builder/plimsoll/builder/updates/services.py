"""The places that are asked for versions, but GitHub's API: see ``github``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from plimsoll.builder.git.remote import list_refs
from plimsoll.builder.updates.github import parse
from plimsoll.builder.updates.model import Candidate, UpdateError
from plimsoll.http import HttpError, Response
from plimsoll.oci.reference import Reference

if TYPE_CHECKING:
    from plimsoll.builder.git.credentials import GitCredentials
    from plimsoll.http import Http
    from plimsoll.oci.registry import Registry

RELEASE_MONITOR: Final = "https://release-monitoring.org"
_MAX_ANSWER: Final = 8 << 20
_TAGS: Final = "refs/tags/"


async def release_monitor(http: Http, server: str, project: str) -> list[Candidate]:
    """Versions of a project of release-monitoring.org (Anitya's API, version 2).

    Args:
        http: the client.
        server: URL of the service.
        project: its number.

    Raises:
        UpdateError: there is no such project.
        HttpError: the service cannot be reached.
    """
    url = f"{server}/api/v2/versions/?project_id={project}"
    try:
        answer = await http.get(url, max_size=_MAX_ANSWER)
    except HttpError as error:
        if error.status in {400, 404}:
            raise UpdateError(
                f"release-monitoring has no project {project}",
                hint="check update.release-monitor.identifier",
            ) from None
        raise
    value: Any = parse(answer) if isinstance(answer, Response) else None
    if not isinstance(value, dict):
        raise UpdateError("release-monitoring did not answer an object")
    stable, every = _texts(value.get("stable_versions")), _texts(value.get("versions"))
    if not stable:  # the service has not sorted this project
        return [Candidate(name) for name in every]
    known = set(stable)
    return [Candidate(name, "", name not in known) for name in dict.fromkeys((*stable, *every))]


async def git_tags(
    http: Http, repository: str, prefix: str, credentials: GitCredentials
) -> list[Candidate]:
    """Tags of a repository, by Git's own protocol.

    Raises:
        GitError, HttpError: it cannot be had.
    """
    refs = await list_refs(http, repository, [_TAGS + prefix], credentials)
    return [Candidate(ref.name.removeprefix(_TAGS), ref.commit) for ref in refs]


async def oci_tags(registry: Registry, image: str) -> list[Candidate]:
    """Tags of a repository in a registry.

    Raises:
        Error: it cannot be had.
    """
    return [Candidate(tag) for tag in await registry.list_tags(Reference.parse(image))]


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
