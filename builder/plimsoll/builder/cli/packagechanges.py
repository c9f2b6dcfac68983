"""What ``package bump`` and ``package updates --bump`` do with changes: files, or branches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plimsoll.builder.cli.packageoptions import OptionsError
from plimsoll.builder.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from plimsoll.builder.git.branches import Base, Project
    from plimsoll.builder.git.credentials import GitCredentials
    from plimsoll.builder.updates.changes import Change
    from plimsoll.builder.updates.forge import Forge
    from plimsoll.http import Http

F = TypeVar("F", bound="Callable[..., Any]")

_OPTIONS = (
    click.option(
        "--git",
        "use_git",
        is_flag=True,
        help="Make a branch with one commit for each package, instead of changing files.",
    ),
    click.option(
        "--base", default="", help="Branch to begin with. Default: the remote's main one."
    ),
    click.option("--remote", default="origin", show_default=True, help="Remote of the repository."),
    click.option("--push", is_flag=True, help="Send the branches to the remote."),
    click.option(
        "--pull-request",
        is_flag=True,
        help="Open a pull request or merge request for each, and close those it supersedes; "
        "wants a token as GH_TOKEN or GITLAB_TOKEN.",
    ),
)


def change_options(command: F) -> F:
    """Add the options about branches."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def write_files(change: Change) -> None:
    """Change the files themselves, each at once."""
    for path, text in change.files.items():
        with storage_errors(f"writing {path}"):
            temporary = path.with_name(f".{path.name}.new")
            temporary.write_text(text)
            temporary.replace(path)


class Branches:
    """Changes as branches. Construct it with ``open``."""

    def __init__(
        self, project: Project, base: Base, forge: Forge | None, options: Mapping[str, Any]
    ) -> None:
        self._project = project
        self._forge = forge
        self._options = options
        self.base = base

    @classmethod
    async def open(
        cls, http: Http, folder: Path, credentials: GitCredentials, options: Mapping[str, Any]
    ) -> Branches:
        """Find the repository, and its forge where that is wanted.

        Raises:
            Error: there is none, or no token for it.
        """
        from plimsoll.builder.git.branches import Project  # noqa: PLC0415  (start-up time)
        from plimsoll.builder.updates.forge import forge_of  # noqa: PLC0415

        if not options["use_git"]:
            raise OptionsError("--push and --pull-request are about branches", hint="add --git")
        project = await Project.find(folder)
        base = await project.base(options["base"], options["remote"])
        forge = None
        if options["pull_request"]:
            url = await project.url(options["remote"])
            forge = forge_of(http, url, os.environ, credentials)
        return cls(project, base, forge, options)

    async def text(self, path: Path) -> str:
        """A file as the base has it."""
        return await self._project.text(self.base.commit, path)

    async def add(self, change: Change) -> str:
        """Make the branch of a change, and what else is wanted of it; a line for people."""
        from plimsoll.builder.updates.changes import PREFIX, TRAILER  # noqa: PLC0415  (as above)

        project, remote = self._project, self._options["remote"]
        mine = await project.ours(PREFIX, TRAILER)
        news = await project.commit(change.branch, self.base, change.files, change.message)
        old = [
            name
            for name in mine
            if name.startswith(change.prefix) and name != change.branch and not change.sequential
        ]
        await project.delete(old)
        said = [f"branch {change.branch}" + ("" if news else " (as it was)")]
        if self._options["push"] or self._forge is not None:
            await project.push(remote, change.branch)
            said.append(f"sent to {remote}")
        if self._forge is not None:
            said.append(await self._pull(self._forge, change))
        elif self._options["push"]:
            for name in old:
                await project.unpush(remote, name)
        return f"{change.title}: {', '.join(said)}"

    async def _pull(self, forge: Forge, change: Change) -> str:
        opened = await forge.opened(change.prefix)
        mine = next((one for one in opened if one.branch == change.branch), None)
        if mine is None:
            mine = await forge.open(change.branch, self.base.name, change.title, change.body)
        if not change.sequential:
            for one in opened:
                if one.branch != change.branch:
                    await forge.close(one, f"Superseded by {mine.url}.")
                    await self._project.unpush(self._options["remote"], one.branch)
        return mine.url
