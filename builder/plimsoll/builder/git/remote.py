"""Asking Git servers over HTTP with the one HTTP client: bounded, guarded, no program started.

So the guard against forbidden addresses, the limits, proxies and authorities of the client hold,
a login is in no file, environment or process list, and what a redirect leads to gets none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.git.errors import GitError
from plimsoll.builder.git.pack import PackReader, fetch_request
from plimsoll.builder.git.refs import (
    Advertisement,
    Ref,
    ls_refs_request,
    read_advertisement,
    read_ls_refs,
    read_plain,
    with_prefix,
)
from plimsoll.http import HttpError, NotModified, public_url, retrying

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plimsoll.http import Http, Response

#: Bytes of a list of references.
MAX_ANSWER: Final = 64 << 20
#: Bytes of a pack.
MAX_PACK: Final = 4 << 30
_SERVICE: Final = "/info/refs?service=git-upload-pack"
_RESULT: Final = "application/x-git-upload-pack-result"
_PLAIN: Final = frozenset({"", "text/plain", "application/octet-stream"})
_SMART: Final = "application/x-git-upload-pack-advertisement"


class Remote:
    """A repository on a server. Construct it with ``open``."""

    def __init__(
        self,
        http: Http,
        asked: str,
        base: str,
        credentials: GitCredentials,
        advertisement: Advertisement,
    ) -> None:
        self._http = http
        self._asked = asked
        self._base = base
        self._credentials = credentials
        self._advertisement = advertisement
        self.shown = public_url(asked)

    @classmethod
    async def open(
        cls, http: Http, repository: str, credentials: GitCredentials | None = None
    ) -> Self:
        """Greet the server of a repository, and follow it where it has moved.

        Args:
            http: the client; its guard and its time limits count.
            repository: http or https URL.
            credentials: logins by host.

        Raises:
            GitError: there is no such repository, or its server does not speak Git's protocol.
            HttpError: it cannot be reached.
        """
        shown = public_url(repository)
        if urlsplit(repository).scheme not in {"http", "https"}:
            raise GitError(
                f"{shown} cannot be asked: its URL is neither https nor http",
                hint="use the repository's https URL",
            )
        logins = credentials or GitCredentials()
        asked = repository.rstrip("/")
        headers = {"Git-Protocol": "version=2", **logins.headers(asked)}
        try:
            answer = await http.get(asked + _SERVICE, max_size=MAX_ANSWER, headers=headers)
        except HttpError as error:
            if error.status in {401, 403, 404}:
                raise GitError(
                    f"there is no repository {shown} for us ({error.status})",
                    hint="check the URL; a private repository needs credentials for its host",
                ) from None
            raise
        if isinstance(answer, NotModified):
            raise GitError(f"{shown} gave no answer")
        try:
            return cls(http, asked, _base(answer), logins, _advertised(answer))
        except GitError as error:
            raise GitError(f"{shown}: {error.message}", hint=error.hint) from None

    async def refs(self, prefixes: Sequence[str]) -> tuple[Ref, ...]:
        """References whose full names begin with one of ``prefixes``, such as ``refs/tags/``.

        Raises:
            GitError, HttpError: they cannot be had.
        """
        if self._advertisement.version < 2:
            return with_prefix(self._advertisement.refs, prefixes)
        body = ls_refs_request(prefixes)

        async def once() -> Response:
            response = await self._http.fetch(
                "POST",
                self._url,
                max_size=MAX_ANSWER,
                headers=self._headers(),
                body=body,
                sent_by=self._sent_by,
            )
            self._check(response.status, response.headers.get("Content-Type", ""))
            return response

        answer = await retrying(once, self._http.retry)
        try:
            found = read_ls_refs(answer.body)
        except GitError as error:
            raise GitError(f"{self.shown}: {error.message}", hint=error.hint) from None
        return with_prefix(found, prefixes)  # a server may answer more than was asked

    async def fetch(
        self,
        wants: Sequence[str],
        path: Path,
        *,
        depth: int = 1,
        objects: bool = False,
        max_size: int = MAX_PACK,
    ) -> tuple[str, ...]:
        """Save a pack with commits or tags and what belongs to them.

        Args:
            wants: numbers of objects.
            path: the file that is written.
            depth: of the history; 0 for all of it.
            objects: whether commits and tags are enough, without files, where the server knows
                how to leave those out.
            max_size: bytes of the pack.

        Returns:
            Commits whose parents are not in it.

        Raises:
            GitError: the server has no such object, or its answer is malformed or too large.
            HttpError: it cannot be reached.
        """
        if self._advertisement.version < 2:
            raise GitError(
                f"{self.shown} is on a server that speaks an old protocol only",
                hint="version 2 of Git's protocol is needed, which servers have since 2018",
            )
        known = self._advertisement.capabilities.get("fetch", "").split()
        left_out = "tree:0" if objects and "filter" in known else ""
        body = fetch_request(wants, depth, left_out)

        async def once() -> tuple[str, ...]:
            async with self._http.exchange(
                "POST",
                self._url,
                headers=self._headers(),
                body=body,
                size=max_size,
                sent_by=self._sent_by,
            ) as response:
                self._check(response.status, response.headers.get("Content-Type", ""))
                with path.open("wb") as file:
                    reader = PackReader(file, max_size)
                    async for piece in response.content.iter_any():
                        reader.feed(piece)
                    return reader.finish()

        try:
            return await retrying(once, self._http.retry)
        except GitError as error:
            raise GitError(f"{self.shown}: {error.message}", hint=error.hint) from None

    @property
    def _url(self) -> str:
        return f"{self._base}/git-upload-pack"

    @property
    def _sent_by(self) -> str | None:
        """Who sent us to where the repository is, for the check of addresses."""
        return None if self._base == self._asked else self._asked

    def _headers(self) -> dict[str, str]:
        return {
            "Git-Protocol": "version=2",
            "Content-Type": "application/x-git-upload-pack-request",
            "Accept": _RESULT,
            **self._credentials.headers(self._base),
        }

    def _check(self, status: int, kind: str) -> None:
        if status != 200:
            raise HttpError(f"{self.shown} answered {status}", status=status)
        if kind.partition(";")[0].strip() != _RESULT:
            raise GitError("it does not speak Git's protocol")


async def list_refs(
    http: Http,
    repository: str,
    prefixes: Sequence[str],
    credentials: GitCredentials | None = None,
) -> tuple[Ref, ...]:
    """The references of a repository; see ``Remote.open`` and ``Remote.refs``."""
    return await (await Remote.open(http, repository, credentials)).refs(prefixes)


def _advertised(answer: Response) -> Advertisement:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if kind in _PLAIN:
        return Advertisement(0, {}, read_plain(answer.body))
    if kind != _SMART:
        raise GitError(f"it answered {kind[:60]!r}, which is not Git's protocol")
    return read_advertisement(answer.body)


def _base(answer: Response) -> str:
    """Where the repository is after redirects."""
    path = answer.url.partition("?")[0]
    if not path.endswith("/info/refs"):
        raise GitError("it redirects to something that is no repository")
    return path.removesuffix("/info/refs")
