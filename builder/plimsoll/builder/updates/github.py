"""Releases and tags on GitHub: many repositories a question where there is a token.

GraphQL needs a token and answers dozens of repositories at once. Without one, releases come from
the REST API (60 questions an hour; those that come back unchanged are free), and tags from Git's
own protocol, which has no such limit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from plimsoll.builder.updates.model import Candidate, LimitError, Query, Service, UpdateError
from plimsoll.http import HttpError, NotModified, public_url, retrying

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.builder.updates.memory import Memory
    from plimsoll.http import Http, Response

#: Repositories in one question.
BATCH: Final = 40
#: Releases or tags of one repository, the newest.
NEWEST: Final = 100
MAX_ANSWER: Final = 32 << 20

_RELEASES: Final = (
    f"releases(first: {NEWEST}, orderBy: {{field: CREATED_AT, direction: DESC}}) "
    "{ nodes { tagName isDraft isPrerelease tagCommit { oid } } }"
)
_TAGS: Final = (
    f'refs(refPrefix: "refs/tags/", first: {NEWEST}, query: $FILTER, '
    "orderBy: {field: TAG_COMMIT_DATE, direction: DESC}) "
    "{ nodes { name target { oid ... on Tag { target { oid } } } } }"
)


@dataclass(frozen=True, slots=True)
class GitHub:
    """A GitHub server.

    Attributes:
        api: URL of its REST API.
        graphql: URL of its GraphQL API.
        server: URL that people see.
        token: empty for none.
    """

    api: str = "https://api.github.com"
    graphql: str = "https://api.github.com/graphql"
    server: str = "https://github.com"
    token: str = ""

    def headers(self) -> dict[str, str]:
        """Headers of every question."""
        result = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        return result | ({"Authorization": f"Bearer {self.token}"} if self.token else {})


Answer = list[Candidate] | UpdateError


async def ask_batch(http: Http, github: GitHub, queries: Sequence[Query]) -> list[Answer]:
    """Ask for at most ``BATCH`` repositories at once.

    Returns:
        An answer for each query; an error where that one repository cannot be had.

    Raises:
        UpdateError: nothing can be had; ``LimitError`` where that is only so for now.
    """
    text, variables = _question(queries)
    body = json.dumps({"query": text, "variables": variables}).encode()

    async def once() -> Response:
        headers = {**github.headers(), "Content-Type": "application/json"}
        response = await http.fetch(
            "POST", github.graphql, max_size=MAX_ANSWER, headers=headers, body=body
        )
        check_limit(response, github)
        if response.status != 200:
            raise HttpError(
                f"{public_url(github.graphql)} answered {response.status}", status=response.status
            )
        return response

    value = parse(await retrying(once, http.retry))
    errors = _errors(value)
    data = value.get("data")
    if not isinstance(data, dict):
        raise UpdateError(f"GitHub refused the question: {errors.get('', 'without a reason')}")
    return [_answer(data.get(f"r{n}"), query, errors, n) for n, query in enumerate(queries)]


async def releases(http: Http, github: GitHub, name: str, memory: Memory) -> list[Candidate]:
    """Releases of a repository by the REST API; unchanged answers come from memory.

    Raises:
        UpdateError: there is no such repository, or no answer for now.
    """
    url = f"{github.api}/repos/{name}/releases?per_page={NEWEST}"
    etag, kept = memory.answer(url)

    async def once() -> Response | NotModified:
        headers = github.headers() | ({"If-None-Match": etag} if etag else {})
        response = await http.fetch("GET", url, max_size=MAX_ANSWER, headers=headers)
        if response.status == 304 and kept is not None:
            return NotModified(etag)
        check_limit(response, github)
        if response.status == 404:
            raise UpdateError(
                f"there is no repository {name} on GitHub", hint="check update.github.identifier"
            )
        if response.status != 200:
            raise HttpError(f"{public_url(url)} answered {response.status}", status=response.status)
        return response

    answer = await retrying(once, http.retry)
    if isinstance(answer, NotModified):
        return [Candidate(*item) for item in kept or []]
    value = parse(answer)
    found = [
        Candidate(item["tag_name"], "", bool(item.get("prerelease")))
        for item in value
        if isinstance(item, dict) and isinstance(item.get("tag_name"), str)
        if not item.get("draft")
    ]
    memory.remember(url, answer.etag or "", [[c.name, c.commit, c.prerelease] for c in found])
    return found


def check_limit(response: Response, github: GitHub) -> None:
    """Say clearly where GitHub will not answer (any more); raises ``UpdateError``."""
    left = response.headers.get("X-RateLimit-Remaining")
    limited = response.status == 429 or (response.status == 403 and left == "0")
    if limited or (response.status == 403 and response.headers.get("Retry-After")):
        again = _time(response.headers)
        raise LimitError(
            f"GitHub answers no more questions for now{again}",
            hint="try then" if github.token else "give a token as GH_TOKEN: its limit is higher",
        )
    if response.status == 401:
        raise UpdateError(
            "GitHub does not accept the token",
            hint="give another as GH_TOKEN, or run 'gh auth login'",
        )


def parse(response: Response) -> Any:
    """The JSON value of an answer; raises ``UpdateError``."""
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        raise UpdateError(f"{public_url(response.url)} did not answer JSON") from None


def _time(headers: Mapping[str, str]) -> str:
    reset = headers.get("X-RateLimit-Reset", "")
    if reset.isascii() and reset.isdigit() and len(reset) < 12:
        moment = datetime.fromtimestamp(int(reset), UTC)
        return f", until {moment:%Y-%m-%d %H:%M} UTC"
    after = headers.get("Retry-After", "")
    return f", for {after} s" if after.isascii() and after.isdigit() else ""


def _question(queries: Sequence[Query]) -> tuple[str, dict[str, str]]:
    variables: dict[str, str] = {}
    parts, declared = [], []
    for number, query in enumerate(queries):
        owner, _, name = query.target.partition("/")
        variables |= {f"o{number}": owner, f"n{number}": name}
        declared.append(f"$o{number}: String!, $n{number}: String!")
        if query.service is Service.GITHUB_TAGS:
            variables[f"q{number}"] = query.prefix or query.contains
            declared.append(f"$q{number}: String!")
        tags = query.service is Service.GITHUB_TAGS
        wanted = _TAGS.replace("$FILTER", f"$q{number}") if tags else _RELEASES
        parts.append(f"r{number}: repository(owner: $o{number}, name: $n{number}) {{ {wanted} }}")
    return f"query({', '.join(declared)}) {{ {' '.join(parts)} }}", variables


def _errors(value: Any) -> dict[str, str]:
    """Alias → what is wrong with it; under the empty alias what is wrong with all."""
    found: dict[str, str] = {}
    listed = value.get("errors") if isinstance(value, dict) else None
    if not isinstance(value, dict):
        raise UpdateError("GitHub did not answer an object")
    for item in listed if isinstance(listed, list) else []:
        if not isinstance(item, dict):
            continue
        message = str(item.get("message", ""))[:300]
        if item.get("type") == "RATE_LIMITED":
            raise LimitError(
                f"GitHub answers no more questions for now: {message}", hint="try in an hour"
            )
        path = item.get("path")
        alias = str(path[0]) if isinstance(path, list) and path else ""
        found.setdefault(alias, message)
    return found


def _answer(value: Any, query: Query, errors: Mapping[str, str], number: int) -> Answer:
    if not isinstance(value, dict):
        why = errors.get(f"r{number}") or errors.get("") or "no answer"
        return UpdateError(
            f"GitHub says of {query.target}: {why}", hint="check update.github.identifier"
        )
    kind = "refs" if query.service is Service.GITHUB_TAGS else "releases"
    listed = value.get(kind)
    nodes = listed.get("nodes") if isinstance(listed, dict) else None
    found = []
    for node in nodes if isinstance(nodes, list) else []:
        if not isinstance(node, dict):
            continue
        name = node.get("name" if kind == "refs" else "tagName")
        if isinstance(name, str) and not node.get("isDraft"):
            target = node.get("target") or node.get("tagCommit")
            found.append(Candidate(name, _commit(target), bool(node.get("isPrerelease"))))
    return found


def _commit(target: Any) -> str:
    if not isinstance(target, dict):
        return ""
    inner = target.get("target")
    oid = inner.get("oid") if isinstance(inner, dict) else target.get("oid")
    return oid if isinstance(oid, str) and len(oid) == 40 else ""
