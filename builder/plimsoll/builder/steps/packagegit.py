"""Git sources of packages: fetched by the prepare step, found by ``git-checkout`` without network.

Every repository becomes a bare one in the guest's cache, and Git's configuration there sends who
asks for its URL to it. The pipeline checks commit and tag as it always does.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plimsoll.builder.git.checkout import verify_source
from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.git.mirror import configuration, mirror
from plimsoll.builder.git.policy import SourcePolicy
from plimsoll.builder.package.load import CACHE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plimsoll.api.gitsource import VerifiedSigner
    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.http import Http


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
        self._urls: dict[str, None] = {}
        self.signers: dict[str, VerifiedSigner] = {}

    def __bool__(self) -> bool:
        return bool(self._urls)

    def config(self) -> str:
        """Git's configuration for the guest."""
        return configuration(self._urls, f"{CACHE}/git")

    def headers(self, url: str) -> dict[str, str]:
        """The login for a download as a header.

        Raises:
            GitError: a Secret holds no login.
        """
        return read_credentials(self._credentials, url).headers(url)

    async def add(self, inputs: Mapping[str, str]) -> None:
        """Fetch what a ``git-checkout`` with these inputs needs.

        Raises:
            NotSignedError: nobody who may has signed it.
            GitError: the repository, or what is wanted of it, cannot be had here.
            HttpError: its server cannot be reached, or must not be asked.
        """
        url = inputs["repository"]
        credentials = await asyncio.to_thread(read_credentials, self._credentials, url)
        signers = self._policy.signers(url)
        if signers is not None:
            self.signers[url] = await verify_source(self._http, inputs, signers, credentials)
        await mirror(self._http, self._folder, inputs, credentials)
        self._urls[url] = None
