"""Writing what ``package updates`` found: one change for each package, one failure at most one."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plimsoll.builder.cli.packagechanges import Branches, write_files
from plimsoll.builder.cli.packagesources import source_policy
from plimsoll.builder.git.errors import GitError
from plimsoll.builder.package.load import load_text
from plimsoll.builder.updates.changes import make_change
from plimsoll.builder.updates.model import Service, State
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.builder.git.credentials import GitCredentials
    from plimsoll.builder.git.policy import SourcePolicy
    from plimsoll.builder.updates.model import Outcome
    from plimsoll.http import Http


async def apply_updates(
    http: Http,
    outcomes: Sequence[Outcome],
    credentials: GitCredentials,
    options: Mapping[str, Any],
) -> list[str | Error]:
    """Change the configurations of packages with news, but those whose updates a person makes.

    Args:
        http: the client.
        outcomes: of all packages that were looked at; they are each other's dependents.
        credentials: for Git servers.
        options: of ``change_options``.

    Returns:
        For each change a line, or what went wrong with it.

    Raises:
        Error: nothing can be changed.
    """
    news = [one for one in outcomes if one.state is State.NEW and not one.request.manual]
    if not news:
        return []
    branches = None
    if any(options[name] for name in ("use_git", "push", "pull_request")):
        branches = await Branches.open(http, news[0].request.file.parent, credentials, options)
    policy = await asyncio.to_thread(source_policy, options)
    done: list[str | Error] = []
    for one in news:
        try:
            done.append(await _apply(http, one, outcomes, credentials, policy, branches))
        except Error as error:
            done.append(error)
    return done


async def _apply(  # noqa: PLR0913, PLR0917  (what a change is made of)
    http: Http,
    one: Outcome,
    outcomes: Sequence[Outcome],
    credentials: GitCredentials,
    policy: SourcePolicy,
    branches: Branches | None,
) -> str:
    async def text(path: Path) -> str:
        return (
            await branches.text(path) if branches else await asyncio.to_thread(Path.read_text, path)
        )

    request = one.request
    before = await text(request.file)
    if load_text(before, str(request.file)).config.package.version == one.version:
        return f"{request.package}: {one.version} is there already"
    # Read anew each time: an earlier change may have given one another epoch.
    others: dict[Path, str] = {}
    for path in [other.request.file for other in outcomes] if request.shared else []:
        with contextlib.suppress(GitError):  # the base does not have it yet
            others[path] = await text(path)
    change = await make_change(
        request.file,
        before,
        one.version,
        http=http,
        credentials=credentials,
        policy=policy,
        others=others,
        links=_links(one),
    )
    if branches is not None:
        return await branches.add(change)
    await asyncio.to_thread(write_files, change)
    again = f"; built again: {', '.join(change.dependents)}" if change.dependents else ""
    return f"{change.title}{again}"


def _links(one: Outcome) -> list[str]:
    query = one.request.query
    if query is None:
        return []
    if query.service in {Service.GITHUB_RELEASES, Service.GITHUB_TAGS}:
        return [f"https://github.com/{query.target}/releases/tag/{one.name}"]
    if query.service is Service.GIT:
        return [f"{query.target} {one.name}"]
    if query.service is Service.RELEASE_MONITOR:
        return [f"https://release-monitoring.org/project/{query.target}/"]
    return [f"{query.target}:{one.name}"]
