"""Bare copies of repositories in which ``git-checkout`` finds, without network, what it needs.

Each lies under a name made of its URL; Git's configuration sends who asks for the URL to it. The
pipeline checks commit and tag as it always does, and Git every object.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.builder.git.errors import GitError, time_limit
from plimsoll.builder.git.local import LocalRepository
from plimsoll.builder.git.refs import Ref
from plimsoll.builder.git.remote import Remote
from plimsoll.builder.store import storage_errors
from plimsoll.http import public_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plimsoll.builder.git.credentials import GitCredentials
    from plimsoll.http import Http

#: Seconds that a repository may take; the largest have some gigabytes.
TIMEOUT = 7200.0
_HEAD = "HEAD"
_BRANCH = "refs/heads/plimsoll-head"
_PICK = re.compile(r"(?m)^[^#:\n]*?([0-9a-f]{7,40})[ \t]*:")


class UnfetchableError(GitError):
    """A checkout that can only be made with network."""

    reason = "NeedsNetwork"


def name_of(url: str) -> str:
    """The folder of a repository's copy."""
    return f"{hashlib.sha256(url.encode()).hexdigest()[:24]}.git"


def configuration(urls: Iterable[str], place: str) -> str:
    """Git's configuration that sends URLs to their copies.

    Args:
        urls: of repositories.
        place: where the folder of the copies is for those who ask.
    """
    lines = ["[safe]\n\tdirectory = *\n"]
    for url in urls:
        quoted = url.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'[url "file://{place}/{name_of(url)}"]\n\tinsteadOf = "{quoted}"\n')
    return "".join(lines)


async def mirror(
    http: Http,
    folder: Path,
    inputs: Mapping[str, str],
    credentials: GitCredentials | None = None,
) -> bool:
    """Copy what a ``git-checkout`` with these inputs needs.

    A copy that holds the expected commit, by the tag or branch that is asked for, is kept.

    Args:
        http: the client; its guard and its limits count.
        folder: of the copies.
        inputs: of the step.
        credentials: logins by host.

    Returns:
        Whether anything was fetched.

    Raises:
        UnfetchableError: it is something that is not fetched here.
        GitError: the repository, or what is wanted of it, cannot be had.
        HttpError: its server cannot be reached, or must not be asked.
    """
    url = inputs["repository"]
    shown = public_url(url)
    if inputs.get("recurse-submodules") == "true":
        raise UnfetchableError(
            f"submodules of {shown} are not fetched for builds without network",
            hint="check each out by a step of its own, or allow the network",
        )
    place = folder / name_of(url)
    depth, picks = _depth(inputs), bool(inputs.get("cherry-picks", "").strip())
    if await has(folder, inputs):
        return False
    remote = await Remote.open(http, url, credentials)
    refs = await _refs(remote, inputs, picks=picks)
    await asyncio.to_thread(_make, folder)
    with tempfile.TemporaryDirectory(prefix=".mirror-", dir=folder) as name:
        # All of the history goes into a copy of its own: a shallow one would stay shallow.
        fresh = not depth or not await asyncio.to_thread((place / _HEAD).exists)
        target = Path(name, "bare") if fresh else place
        local = await LocalRepository.create(target)
        if fresh and await asyncio.to_thread((place / _HEAD).exists):
            refs += await _held(LocalRepository(place), {ref.name for ref in refs})
        wants = list(dict.fromkeys(ref.object for ref in refs))
        pack = Path(name, hashlib.sha256(f"{wants}{depth}".encode()).hexdigest()[:40])
        async with time_limit(TIMEOUT, f"fetching {shown}"):
            shallow = await remote.fetch(wants, pack, depth=depth)
        await local.add_pack(pack, shallow)
        for ref in refs:
            await local.set_ref(_BRANCH if ref.name == _HEAD else ref.name, ref.object)
        if refs[0].name == _HEAD:
            await local.run("symbolic-ref", _HEAD, _BRANCH)
        if fresh:
            await asyncio.to_thread(_replace, target, place)
    return True


async def has(folder: Path, inputs: Mapping[str, str]) -> bool:
    """Whether the copy holds the commit that a ``git-checkout`` expects, so that it can be made.

    A step that expects no commit is never certain.
    """
    expected, place = inputs.get("expected-commit", ""), folder / name_of(inputs["repository"])
    if not expected or not await asyncio.to_thread((place / _HEAD).exists):
        return False
    if not _depth(inputs) and await asyncio.to_thread((place / "shallow").exists):
        return False
    local = LocalRepository(place)
    name = _name(inputs)
    try:
        for pick in _PICK.findall(inputs.get("cherry-picks", "")):
            await local.run("cat-file", "-e", f"{pick}^{{commit}}")
        ref = _BRANCH if name == _HEAD else name
        if name.startswith("refs/tags/"):
            number = await local.run("rev-parse", "--verify", "-q", f"{ref}^{{commit}}")
            tag = await local.run("rev-parse", "--verify", "-q", ref)
            return expected in {number.decode().strip(), tag.decode().strip()}
        await local.run("merge-base", "--is-ancestor", expected, ref)
    except GitError:
        return False
    return True


def _depth(inputs: Mapping[str, str]) -> int:
    """How much history a step wants; 0 for all."""
    given = inputs.get("depth") or "unset"
    if given == "unset":
        given = "-1" if inputs.get("branch") and inputs.get("expected-commit") else "1"
    if not given.removeprefix("-").isdecimal():
        raise UnfetchableError(f"depth {given!r} of a git-checkout is no number")
    return 0 if inputs.get("cherry-picks", "").strip() else max(int(given), 0)


def _name(inputs: Mapping[str, str]) -> str:
    branch, tag = inputs.get("branch", ""), inputs.get("tag", "")
    return f"refs/tags/{tag}" if tag else f"refs/heads/{branch}" if branch else _HEAD


async def _refs(remote: Remote, inputs: Mapping[str, str], *, picks: bool) -> list[Ref]:
    """What is wanted first, then all branches where commits are picked from them."""
    name = _name(inputs)
    found = await remote.refs([name, *(["refs/heads/"] if picks else [])])
    refs = [ref for ref in found if ref.name == name]
    if not refs:
        branch, tag = inputs.get("branch", ""), inputs.get("tag", "")
        what = f"tag {tag}" if tag else f"branch {branch or _HEAD}"
        raise GitError(f"{remote.shown} has no {what}", hint="check its name")
    if picks:
        refs += [ref for ref in found if ref.name.startswith("refs/heads/") and ref.name != name]
    return refs


async def _held(local: LocalRepository, besides: set[str]) -> list[Ref]:
    """What a copy holds already for other steps."""
    out = await local.run("for-each-ref", "--format=%(objectname) %(refname)")
    pairs = (line.split(" ", 1) for line in out.decode().splitlines())
    return [Ref(name, number) for number, name in pairs if name not in {*besides, _BRANCH}]


def _make(folder: Path) -> None:
    with storage_errors(f"making {folder}"):
        folder.mkdir(parents=True, exist_ok=True)


def _replace(source: Path, target: Path) -> None:
    with storage_errors(f"writing {target}"):
        if target.exists():
            shutil.rmtree(target)
        source.replace(target)
