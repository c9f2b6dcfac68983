"""Git sources of packages: fetched by the prepare step, found by ``git-checkout`` without network.

Every repository becomes a bare one in the guest's cache, and Git's configuration there sends who
asks for its URL to it. The pipeline checks commit and tag as it always does.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plimsoll.builder.git.checkout import verify_source
from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.git.errors import GitError
from plimsoll.builder.git.local import LocalRepository
from plimsoll.builder.git.policy import SourcePolicy
from plimsoll.builder.git.remote import Remote
from plimsoll.builder.package.load import CACHE
from plimsoll.builder.steps.common import RequestError
from plimsoll.http import public_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plimsoll.api.gitsource import VerifiedSigner
    from plimsoll.api.packagesteps import PackageRequest
    from plimsoll.builder.git.refs import Ref
    from plimsoll.http import Http

_HEAD = "HEAD"
_BRANCH = "refs/heads/plimsoll-head"


def read_credentials(folders: Iterable[str], url: str) -> GitCredentials:
    """Logins of mounted Secrets, for the host of a URL.

    Raises:
        GitError: a folder holds none.
    """
    found = GitCredentials()
    for folder in folders:
        found = found.merged(GitCredentials.read(Path(folder), urlsplit(url).netloc))
    return found


class GitMirrors:
    """Bare copies of repositories.

    Args:
        http: the client; its guard counts.
        folder: where they are made.
        request: names logins, and who must have signed what.

    Raises:
        GitError: a rule about signatures is none.
    """

    def __init__(self, http: Http, folder: Path, request: PackageRequest) -> None:
        self._http = http
        self._folder = folder
        self._credentials = request.credentials
        self._policy = SourcePolicy(request.signed_sources)
        self._names: dict[str, str] = {}
        self.signers: dict[str, VerifiedSigner] = {}

    def __bool__(self) -> bool:
        return bool(self._names)

    def config(self) -> str:
        """Git's configuration for the guest."""
        lines = ["[safe]\n\tdirectory = *\n"]
        for url, name in self._names.items():
            quoted = url.replace("\\", "\\\\").replace('"', '\\"')
            place = f"file://{CACHE}/git/{name}"
            lines.append(f'[url "{place}"]\n\tinsteadOf = "{quoted}"\n')
        return "".join(lines)

    async def add(self, inputs: Mapping[str, str]) -> None:
        """Fetch what a ``git-checkout`` with these inputs needs.

        Raises:
            RequestError: it is something that is not fetched here.
            NotSignedError: nobody who may has signed it.
            GitError: the repository, or what is wanted of it, cannot be had.
            HttpError: its server cannot be reached, or must not be asked.
        """
        url = inputs["repository"]
        shown = public_url(url)
        if inputs.get("recurse-submodules") == "true":
            raise RequestError(
                f"submodules of {shown} are not fetched for builds without network",
                hint="check each out by a step of its own, or allow the network",
            )
        credentials = await asyncio.to_thread(read_credentials, self._credentials, url)
        signers = self._policy.signers(url)
        if signers is not None:
            self.signers[url] = await verify_source(self._http, inputs, signers, credentials)
        remote = await Remote.open(self._http, url, credentials)
        refs, depth = await _wanted(remote, inputs)
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:24]}.git"
        local = await LocalRepository.create(self._folder / name)
        pack = self._folder / f"{name}.pack"
        wants = dict.fromkeys(ref.object for ref in refs)
        shallow = await remote.fetch(list(wants), pack, depth=depth)
        await local.add_pack(pack, shallow)
        for ref in refs:
            await local.set_ref(_BRANCH if ref.name == _HEAD else ref.name, ref.object)
        if refs[0].name == _HEAD:
            await local.run("symbolic-ref", _HEAD, _BRANCH)
        self._names[url] = name


async def _wanted(remote: Remote, inputs: Mapping[str, str]) -> tuple[list[Ref], int]:
    """References, and how much history (0: all), as the pipeline asks for them."""
    branch, tag = inputs.get("branch", ""), inputs.get("tag", "")
    given = inputs.get("depth") or "unset"
    if given == "unset":
        given = "-1" if branch and inputs.get("expected-commit") else "1"
    if not given.removeprefix("-").isdecimal():
        raise RequestError(f"depth {given!r} of a git-checkout is no number")
    depth = max(int(given), 0)
    name = f"refs/tags/{tag}" if tag else f"refs/heads/{branch}" if branch else _HEAD
    picks = bool(inputs.get("cherry-picks", "").strip())
    found = await remote.refs([name, *(["refs/heads/"] if picks else [])])
    refs = [ref for ref in found if ref.name == name]
    if not refs:
        what = f"tag {tag}" if tag else f"branch {branch or _HEAD}"
        raise GitError(f"{remote.shown} has no {what}", hint="check its name")
    if picks:
        refs += [ref for ref in found if ref.name.startswith("refs/heads/") and ref.name != name]
        depth = 0
    return refs, depth
