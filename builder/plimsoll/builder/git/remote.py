"""Asking Git servers over HTTP with the one HTTP client: bounded, guarded, no program started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.git.errors import GitError
from plimsoll.builder.git.refs import (
    Ref,
    ls_refs_request,
    read_advertisement,
    read_ls_refs,
    read_plain,
    with_prefix,
)
from plimsoll.http import HttpError, NotModified, public_url, retrying
from plimsoll.http.transport import basic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.http import Http, Response

#: Bytes of a list of references.
MAX_ANSWER: Final = 64 << 20
_SERVICE: Final = "/info/refs?service=git-upload-pack"
_RESULT: Final = "application/x-git-upload-pack-result"
_SMART: Final = "application/x-git-upload-pack-advertisement"


async def list_refs(
    http: Http,
    repository: str,
    prefixes: Sequence[str],
    credentials: GitCredentials | None = None,
) -> tuple[Ref, ...]:
    """The references of a repository.

    Args:
        http: the client; its guard and its time limits count.
        repository: http or https URL.
        prefixes: of full names, such as ``refs/tags/``.
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
    base = repository.rstrip("/")
    headers = {"Git-Protocol": "version=2", **_authorization(logins, base)}
    try:
        answer = await http.get(base + _SERVICE, max_size=MAX_ANSWER, headers=headers)
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
        found = await _read(http, answer, base, prefixes, logins)
    except GitError as error:
        raise GitError(f"{shown}: {error.message}", hint=error.hint) from None
    return with_prefix(found, prefixes)  # a server may answer more than was asked


async def _read(
    http: Http, answer: Response, base: str, prefixes: Sequence[str], logins: GitCredentials
) -> tuple[Ref, ...]:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    if kind == "text/plain":
        return read_plain(answer.body)
    if kind != _SMART:
        raise GitError(f"it answered {kind[:60]!r}, which is not Git's protocol")
    advertised = read_advertisement(answer.body)
    if advertised.version < 2:
        return advertised.refs
    return await _ls_refs(http, _base(answer), prefixes, logins, sent_by=base)


async def _ls_refs(
    http: Http, base: str, prefixes: Sequence[str], logins: GitCredentials, *, sent_by: str
) -> tuple[Ref, ...]:
    headers = {
        "Git-Protocol": "version=2",
        "Content-Type": "application/x-git-upload-pack-request",
        "Accept": _RESULT,
        **_authorization(logins, base),
    }

    async def once() -> Response:
        response = await http.fetch(
            "POST",
            f"{base}/git-upload-pack",
            max_size=MAX_ANSWER,
            headers=headers,
            body=ls_refs_request(prefixes),
            sent_by=None if base == sent_by else sent_by,
        )
        if response.status != 200:
            raise HttpError(
                f"{public_url(base)} answered {response.status}", status=response.status
            )
        return response

    answer = await retrying(once, http.retry)
    if answer.headers.get("Content-Type", "").partition(";")[0].strip() != _RESULT:
        raise GitError("it does not speak Git's protocol")
    return read_ls_refs(answer.body)


def _base(answer: Response) -> str:
    """Where the repository is after redirects."""
    path = answer.url.partition("?")[0]
    if not path.endswith("/info/refs"):
        raise GitError("it redirects to something that is no repository")
    return path.removesuffix("/info/refs")


def _authorization(logins: GitCredentials, url: str) -> dict[str, str]:
    login = logins.login(url)
    return {"Authorization": basic(login.username, login.password)} if login else {}
