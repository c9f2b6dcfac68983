"""Branches with one commit each in a person's own repository; the work tree is never touched.

The program ``git`` runs here as that person: with their configuration, identity, signing key and
credentials.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from plimsoll.builder.git.errors import GitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TIMEOUT: Final = 300.0
_PLAIN_FILE: Final = "100644"


@dataclass(frozen=True, slots=True)
class Base:
    """Where new branches begin.

    Attributes:
        name: of the branch that changes are for.
        commit: its newest.
    """

    name: str
    commit: str


class Project:
    """A repository with a work tree. Construct it with ``find``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    async def find(cls, folder: Path) -> Self:
        """The repository that a folder is in; raises ``GitError``."""
        try:
            out = await _run(folder, ["rev-parse", "--show-toplevel"])
        except GitError as error:
            raise GitError(
                f"{folder} is in no Git repository: {error.message}",
                hint="leave --git out to change the files themselves",
            ) from None
        return cls(Path(out))

    async def base(self, name: str, remote: str) -> Base:
        """Where new branches begin.

        Args:
            name: of a branch; empty for the remote's main one, else the current one.
            remote: name of the remote; what it has goes before what is here.

        Raises:
            GitError: there is no such branch.
        """
        if not name:
            head = f"refs/remotes/{remote}/HEAD"
            found = await self._try("symbolic-ref", "-q", head)
            name = found.removeprefix(f"refs/remotes/{remote}/") if found else ""
            name = name or await self._try("symbolic-ref", "-q", "--short", "HEAD")
        for ref in (f"refs/remotes/{remote}/{name}", f"refs/heads/{name}"):
            commit = await self._try("rev-parse", "-q", "--verify", f"{ref}^{{commit}}")
            if name and commit:
                return Base(name, commit)
        raise GitError(
            f"{self.root} has no branch {name!r} to begin with" if name else "no branch is current",
            hint="name one with --base",
        )

    async def text(self, commit: str, path: Path) -> str:
        """A file as it is in a commit; raises ``GitError``."""
        return await _run(
            self.root, ["cat-file", "blob", f"{commit}:{self.relative(path)}"], strip=False
        )

    def relative(self, path: Path) -> str:
        """A path as the repository names it; raises ``GitError`` where it is not inside."""
        absolute = Path(os.path.realpath(path))
        try:
            return absolute.relative_to(os.path.realpath(self.root)).as_posix()
        except ValueError:
            raise GitError(f"{path} is not in the repository {self.root}") from None

    async def commit(
        self, branch: str, base: Base, files: Mapping[Path, str], message: str
    ) -> bool:
        """A branch that is ``base`` with one commit more.

        Args:
            branch: made, or moved.
            base: where it begins.
            files: path → text.
            message: of the commit.

        Returns:
            Whether that is news: ``False`` if the branch was just so already.

        Raises:
            GitError: git does not let us, for example because the branch is checked out.
        """
        tree = await self._tree(base, files)
        old = await self._try("rev-parse", "-q", "--verify", f"refs/heads/{branch}^{{tree}}")
        parent = await self._try("rev-parse", "-q", "--verify", f"refs/heads/{branch}^")
        if old == tree and parent == base.commit:
            return False
        sign = await self._try("config", "--type=bool", "commit.gpgSign") == "true"
        options = ["-S"] if sign else []
        commit = await self._run(
            "commit-tree", *options, "-p", base.commit, "-F", "-", tree, data=message
        )
        await self._run("branch", "-q", "--no-track", "-f", "--", branch, commit)
        return True

    async def ours(self, prefix: str, trailer: str) -> list[str]:
        """Branches below ``prefix`` whose last commit has a trailer, so nobody added to them."""
        form = f"%(refname:short)%00%(contents:trailers:key={trailer},valueonly)%00"
        out = await self._run("for-each-ref", f"--format={form}", f"refs/heads/{prefix}")
        fields = [item.strip() for item in out.split("\x00")]
        return [name for name, value in zip(fields[::2], fields[1::2], strict=False) if value]

    async def delete(self, branches: Iterable[str]) -> None:
        """Delete branches here."""
        for branch in branches:
            await self._run("branch", "-q", "-D", "--", branch)

    async def push(self, remote: str, branch: str) -> None:
        """Send a branch, whatever is there under its name; raises ``GitError``."""
        ref = f"refs/heads/{branch}"
        await self._run("push", "-q", "--", remote, f"+{ref}:{ref}")

    async def unpush(self, remote: str, branch: str) -> None:
        """Delete a branch there, if it is."""
        with contextlib.suppress(GitError):
            await self._run("push", "-q", "--delete", "--", remote, f"refs/heads/{branch}")

    async def url(self, remote: str) -> str:
        """URL of a remote; raises ``GitError``."""
        return await self._run("remote", "get-url", "--push", "--", remote)

    async def _tree(self, base: Base, files: Mapping[Path, str]) -> str:
        with tempfile.TemporaryDirectory(prefix="plimsoll-git-") as folder:
            env = {"GIT_INDEX_FILE": f"{folder}/index"}
            await self._run("read-tree", base.commit, env=env)
            for path, text in files.items():
                name = self.relative(path)
                blob = await self._run("hash-object", "-w", "--no-filters", "--stdin", data=text)
                entry = f"{_PLAIN_FILE},{blob},{name}"
                await self._run("update-index", "--add", "--cacheinfo", entry, env=env)
            return await self._run("write-tree", env=env)

    async def _run(self, *arguments: str, data: str = "", env: dict[str, str] | None = None) -> str:
        return await _run(self.root, arguments, data=data, env=env)

    async def _try(self, *arguments: str) -> str:
        """The output, or nothing where it fails."""
        with contextlib.suppress(GitError):
            return await self._run(*arguments)
        return ""


async def _run(
    folder: Path,
    arguments: Iterable[str],
    *,
    data: str = "",
    env: dict[str, str] | None = None,
    strip: bool = True,
) -> str:
    command = list(arguments)
    try:
        process = await asyncio.create_subprocess_exec(
            *("git", *command),
            cwd=folder,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(env or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise GitError("git is not installed", hint="install the package 'git'") from None
    try:
        async with asyncio.timeout(_TIMEOUT):
            out, said = await process.communicate(data.encode())
    except TimeoutError:
        raise GitError(f"git {command[0]} takes longer than {_TIMEOUT:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
        reason = lines[-1].removeprefix("fatal: ")[:300] if lines else "without a reason"
        raise GitError(f"git {command[0]}: {reason}")
    text = out.decode(errors="replace")
    return text.rstrip("\n") if strip else text
