"""Pull requests of GitHub and merge requests of GitLab: opening, finding, closing."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlsplit

from plimsoll.builder.updates.github import GitHub, check_limit, parse
from plimsoll.builder.updates.model import UpdateError
from plimsoll.builder.updates.tokens import github_token, gitlab_token
from plimsoll.http import HttpError, Response, public_url, retrying

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plimsoll.builder.git.credentials import GitCredentials
    from plimsoll.http import Http

_MAX_ANSWER: Final = 32 << 20
_PAGE: Final = 100
_MAX_PAGES: Final = 20
_SCP: Final = re.compile(r"(?:[^@/:]+@)?(?P<host>[^:/]+):(?P<path>[^/].*)")


@dataclass(frozen=True, slots=True)
class Pull:
    """A change that waits for people.

    Attributes:
        number: within its project.
        branch: that it brings.
        url: for people.
    """

    number: int
    branch: str
    url: str


class Forge(Protocol):
    """Where changes wait for people."""

    async def opened(self, prefix: str) -> list[Pull]:
        """Open ones of this project's own branches whose names begin with ``prefix``."""

    async def open(self, branch: str, base: str, title: str, body: str) -> Pull:
        """Open one."""

    async def close(self, pull: Pull, why: str) -> None:
        """Close one, saying why."""


def forge_of(
    http: Http, url: str, environ: Mapping[str, str], credentials: GitCredentials
) -> Forge:
    """The forge of a repository.

    Args:
        http: the client.
        url: of the remote.
        environ: ``GITHUB_SERVER_URL`` and ``GITHUB_API_URL`` name another GitHub,
            ``CI_SERVER_URL`` and ``CI_API_V4_URL`` another GitLab, as their own runners do.
        credentials: logins by host.

    Raises:
        UpdateError: it is on none that we know, or there is no token for it.
    """
    host, path = _parts(url)
    hub = environ.get("GITHUB_SERVER_URL", "").rstrip("/") or "https://github.com"
    lab = environ.get("CI_SERVER_URL", "").rstrip("/") or "https://gitlab.com"
    if host == urlsplit(hub).netloc:
        api = environ.get("GITHUB_API_URL", "").rstrip("/") or GitHub().api
        token = github_token(environ, credentials, hub, api)
        if not token:
            raise UpdateError(
                f"there is no token for {host}", hint="give one as GH_TOKEN that may write"
            )
        return _GitHubForge(http, GitHub(api, f"{api}/graphql", hub, token), path)
    if host == urlsplit(lab).netloc or host.startswith("gitlab."):
        server = lab if host == urlsplit(lab).netloc else f"https://{host}"
        api = environ.get("CI_API_V4_URL", "").rstrip("/") or f"{server}/api/v4"
        token = gitlab_token(environ, credentials, server)
        if not token:
            raise UpdateError(
                f"there is no token for {host}", hint="give one as GITLAB_TOKEN that may write"
            )
        return _GitLabForge(http, api, token, path)
    raise UpdateError(
        f"{host} is neither GitHub nor GitLab as far as is known",
        hint="leave --pull-request out, or set GITHUB_SERVER_URL or CI_SERVER_URL",
    )


class _GitHubForge:
    def __init__(self, http: Http, github: GitHub, name: str) -> None:
        self._http = http
        self._github = github
        self._name = name

    async def opened(self, prefix: str) -> list[Pull]:
        with _shaped("GitHub"):
            return await self._opened(prefix)

    async def _opened(self, prefix: str) -> list[Pull]:
        found: list[Pull] = []
        for page in range(1, _MAX_PAGES + 1):
            items = await self._ask("GET", f"pulls?state=open&per_page={_PAGE}&page={page}")
            for item in items:
                head = item["head"]
                own = (head.get("repo") or {}).get("full_name", "").lower() == self._name.lower()
                # Anybody can open one from a repository of their own with any branch name.
                if own and head["ref"].startswith(prefix):
                    found.append(Pull(item["number"], head["ref"], item["html_url"]))
            if len(items) < _PAGE:
                break
        return found

    async def open(self, branch: str, base: str, title: str, body: str) -> Pull:
        value = {"title": title, "body": body, "head": branch, "base": base}
        item = await self._ask("POST", "pulls", value)
        with _shaped("GitHub"):
            return Pull(item["number"], branch, item["html_url"])

    async def close(self, pull: Pull, why: str) -> None:
        await self._ask("POST", f"issues/{pull.number}/comments", {"body": why})
        await self._ask("PATCH", f"pulls/{pull.number}", {"state": "closed"})

    async def _ask(self, method: str, path: str, value: Any = None) -> Any:
        url = f"{self._github.api}/repos/{self._name}/{path}"
        return await _ask(self._http, method, url, self._github.headers(), value, self._github)


class _GitLabForge:
    def __init__(self, http: Http, api: str, token: str, name: str) -> None:
        self._http = http
        self._base = f"{api}/projects/{quote(name, safe='')}/merge_requests"
        self._headers = {"PRIVATE-TOKEN": token}

    async def opened(self, prefix: str) -> list[Pull]:
        with _shaped("GitLab"):
            return await self._opened(prefix)

    async def _opened(self, prefix: str) -> list[Pull]:
        found: list[Pull] = []
        for page in range(1, _MAX_PAGES + 1):
            items = await self._ask("GET", f"?state=opened&per_page={_PAGE}&page={page}")
            for item in items:
                own = item.get("source_project_id") == item.get("target_project_id")
                if own and item["source_branch"].startswith(prefix):
                    found.append(Pull(item["iid"], item["source_branch"], item["web_url"]))
            if len(items) < _PAGE:
                break
        return found

    async def open(self, branch: str, base: str, title: str, body: str) -> Pull:
        value = {
            "title": title,
            "description": body,
            "source_branch": branch,
            "target_branch": base,
            "remove_source_branch": True,
        }
        item = await self._ask("POST", "", value)
        with _shaped("GitLab"):
            return Pull(item["iid"], branch, item["web_url"])

    async def close(self, pull: Pull, why: str) -> None:
        await self._ask("POST", f"/{pull.number}/notes", {"body": why})
        await self._ask("PUT", f"/{pull.number}", {"state_event": "close"})

    async def _ask(self, method: str, path: str, value: Any = None) -> Any:
        return await _ask(self._http, method, self._base + path, self._headers, value, None)


async def _ask(  # noqa: PLR0913, PLR0917  one request has that many parts
    http: Http,
    method: str,
    url: str,
    headers: Mapping[str, str],
    value: Any,
    github: GitHub | None,
) -> Any:
    """The answer to a question; those that change something are asked only once."""
    body = None if value is None else json.dumps(value).encode()
    more = {} if body is None else {"Content-Type": "application/json"}

    async def once() -> Response:
        response = await http.fetch(
            method, url, max_size=_MAX_ANSWER, headers={**headers, **more}, body=body
        )
        if github is not None:
            check_limit(response, github)
        if response.status not in {200, 201}:
            raise _refusal(method, url, response)
        return response

    response = await (retrying(once, http.retry) if method == "GET" else once())
    return parse(response)


@contextmanager
def _shaped(where: str) -> Iterator[None]:
    """Answers of another shape than documented are errors for people, too."""
    try:
        yield
    except (KeyError, TypeError, AttributeError):
        raise UpdateError(f"{where} answered something else than asked") from None


def _refusal(method: str, url: str, response: Response) -> HttpError:
    reason = ""
    try:
        value = json.loads(response.body)
        reason = str(value.get("message") or value.get("error") or "")[:200]
    except (ValueError, AttributeError, RecursionError):
        pass
    hints = {
        401: "the token is not accepted",
        403: "the token may not do this",
        404: "the token may not see this project, or there is none",
    }
    return HttpError(
        f"{method} {public_url(url)} was answered {response.status} {reason}".rstrip(),
        hint=hints.get(response.status),
        status=response.status,
    )


def _parts(url: str) -> tuple[str, str]:
    """Host (with port) and path of a repository's URL, also in the form of ``scp``."""
    match = _SCP.fullmatch(url) if "://" not in url else None
    if match is not None:
        host, path = match["host"], match["path"]
    else:
        parts = urlsplit(url)
        host, path = parts.netloc.rpartition("@")[2], parts.path
        if parts.scheme == "ssh":  # its port is not that of the web
            host = parts.hostname or ""
    return host.lower(), path.strip("/").removesuffix(".git")
