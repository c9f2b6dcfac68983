"""Servers that speak the APIs of GitHub, GitLab and release-monitoring, as they are documented.

GitHub's GraphQL questions are answered by an engine of GraphQL over the part of GitHub's schema
that they may use: a question that is not valid there fails here, too.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from graphql import build_schema, graphql_sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SCHEMA = build_schema(
    """
    type Query { repository(owner: String!, name: String!, followRenames: Boolean): Repository }
    type Repository {
      releases(first: Int, orderBy: ReleaseOrder): ReleaseConnection!
      refs(refPrefix: String!, first: Int, query: String, orderBy: RefOrder): RefConnection
    }
    enum OrderDirection { ASC DESC }
    enum ReleaseOrderField { CREATED_AT NAME }
    enum RefOrderField { TAG_COMMIT_DATE ALPHABETICAL }
    input ReleaseOrder { field: ReleaseOrderField! direction: OrderDirection! }
    input RefOrder { field: RefOrderField! direction: OrderDirection! }
    type ReleaseConnection { nodes: [Release] }
    type RefConnection { nodes: [Ref] }
    type Release { tagName: String! isDraft: Boolean! isPrerelease: Boolean! tagCommit: Commit }
    type Ref { name: String! target: GitObject }
    interface GitObject { oid: String! }
    type Commit implements GitObject { oid: String! }
    type Tag implements GitObject { oid: String! target: GitObject! }
    """
)


@dataclass
class Project:
    """A repository on a forge: releases as ``(tag, prerelease, draft)``, and tags by name."""

    releases: list[tuple[str, bool, bool]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    annotated: frozenset[str] = frozenset()


@dataclass
class Upstream:
    """What the servers show, and what they were asked."""

    url: str = ""
    projects: dict[str, Project] = field(default_factory=dict)
    monitored: dict[str, dict[str, Any]] = field(default_factory=dict)
    token: str = "t0ken"
    limit: int = 1000
    """Questions that are answered; then the limit is reached."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path."""

    batches: list[int] = field(default_factory=list)
    """Repositories in each GraphQL question."""

    pulls: list[dict[str, Any]] = field(default_factory=list)
    """Pull requests or merge requests; kept as the API shows them."""

    comments: list[tuple[int, str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead the command line here."""
        return {
            "GITHUB_API_URL": f"{self.url}/api",
            "GITHUB_SERVER_URL": f"{self.url}/git",
            "PLIMSOLL_RELEASE_MONITORING_URL": self.url,
        }


@asynccontextmanager
async def upstream_server() -> AsyncIterator[Upstream]:
    """All of them under one address."""
    found = Upstream()
    app = web.Application(middlewares=[_noting(found)])
    app.router.add_post("/api/graphql", _Handler(found).graphql)
    app.router.add_get("/api/repos/{owner}/{name}/releases", _Handler(found).releases)
    app.router.add_get("/api/v2/versions/", _Handler(found).versions)
    forge = _Forge(found)
    app.router.add_get("/api/repos/{owner}/{name}/pulls", forge.pulls)
    app.router.add_post("/api/repos/{owner}/{name}/pulls", forge.open_pull)
    app.router.add_patch("/api/repos/{owner}/{name}/pulls/{number}", forge.edit_pull)
    app.router.add_post("/api/repos/{owner}/{name}/issues/{number}/comments", forge.comment)
    base = "/api/v4/projects/{project}/merge_requests"
    app.router.add_get(base, forge.merges)
    app.router.add_post(base, forge.open_merge)
    app.router.add_put(base + "/{number}", forge.edit_merge)
    app.router.add_post(base + "/{number}/notes", forge.comment)
    async with TestServer(app) as server:
        found.url = str(server.make_url("")).rstrip("/")
        yield found


def _noting(upstream: Upstream) -> Any:
    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        upstream.asked.append((request.method, request.path))
        if "/api/" not in request.path or request.path.startswith("/api/v2/"):
            return await handler(request)  # type: ignore[no-any-return]
        if len(upstream.asked) > upstream.limit:
            headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4102444800"}
            return web.json_response(
                {"message": "API rate limit exceeded"}, status=403, headers=headers
            )
        given = request.headers.get("Authorization") or request.headers.get("PRIVATE-TOKEN")
        if given and given.removeprefix("Bearer ") != upstream.token:
            return web.json_response({"message": "Bad credentials"}, status=401)
        return await handler(request)  # type: ignore[no-any-return]

    return note


class _Handler:
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def graphql(self, request: web.Request) -> web.Response:
        if not request.headers.get("Authorization"):
            return web.json_response({"message": "Requires authentication"}, status=401)
        body = await request.json()
        names = [value for key, value in body["variables"].items() if key.startswith("n")]
        self._upstream.batches.append(len(names))
        root = {"repository": self._repository}
        found = graphql_sync(_SCHEMA, body["query"], root, variable_values=body["variables"])
        errors = [
            {"message": error.message, "type": "NOT_FOUND", "path": error.path}
            for error in found.errors or []
        ]
        return web.json_response({"data": found.data} | ({"errors": errors} if errors else {}))

    def _repository(self, info: Any, owner: str, name: str) -> Any:
        del info
        project = self._upstream.projects.get(f"{owner}/{name}")
        if project is None:
            raise ValueError(f"Could not resolve to a Repository with the name '{owner}/{name}'.")

        def releases(info: Any, first: int, **order: Any) -> Any:
            del info, order
            nodes = [
                {"tagName": tag, "isPrerelease": pre, "isDraft": draft, "tagCommit": None}
                for tag, pre, draft in project.releases[:first]
            ]
            return {"nodes": nodes}

        def refs(info: Any, first: int, query: str = "", **rest: Any) -> Any:
            del info, rest
            nodes = []
            for tag, oid in project.tags.items():
                target: dict[str, Any] = {"oid": oid, "__typename": "Commit"}
                if tag in project.annotated:
                    target = {"oid": "f" * 40, "__typename": "Tag", "target": target}
                if query in tag:
                    nodes.append({"name": tag, "target": target})
            return {"nodes": nodes[:first]}

        return {"releases": releases, "refs": refs}

    async def releases(self, request: web.Request) -> web.Response:
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        project = self._upstream.projects.get(name)
        if project is None:
            return web.json_response({"message": "Not Found"}, status=404)
        value = [
            {"tag_name": tag, "prerelease": pre, "draft": draft}
            for tag, pre, draft in project.releases
        ]
        etag = f'"{hashlib.sha256(json.dumps(value).encode()).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.json_response(value, headers={"ETag": etag})

    async def versions(self, request: web.Request) -> web.Response:
        found = self._upstream.monitored.get(request.query.get("project_id", ""))
        if found is None:
            return web.json_response({"output": "notok", "error": "no such project"}, status=404)
        return web.json_response(found)


class _Forge:
    """Pull requests as GitHub has them, merge requests as GitLab does."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def pulls(self, request: web.Request) -> web.Response:
        state = request.query.get("state", "open")
        page = int(request.query.get("page", "1"))
        size = int(request.query.get("per_page", "30"))
        found = [one for one in self._upstream.pulls if one["state"] == state]
        return web.json_response(found[(page - 1) * size : page * size])

    async def open_pull(self, request: web.Request) -> web.Response:
        body = await request.json()
        heads = {one["head"]["ref"] for one in self._upstream.pulls if one["state"] == "open"}
        if body["head"] in heads:
            return web.json_response({"message": "Validation Failed"}, status=422)
        number = len(self._upstream.pulls) + 1
        repository = f"{request.match_info['owner']}/{request.match_info['name']}"
        one = {
            "number": number,
            "state": "open",
            "title": body["title"],
            "body": body["body"],
            "head": {"ref": body["head"], "repo": {"full_name": repository}},
            "base": {"ref": body["base"]},
            "html_url": f"{self._upstream.url}/git/{repository}/pull/{number}",
        }
        self._upstream.pulls.append(one)
        return web.json_response(one, status=201)

    async def edit_pull(self, request: web.Request) -> web.Response:
        one = self._upstream.pulls[int(request.match_info["number"]) - 1]
        one.update(await request.json())
        return web.json_response(one)

    async def comment(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._upstream.comments.append((int(request.match_info["number"]), body["body"]))
        return web.json_response({"id": 1}, status=201)

    async def merges(self, request: web.Request) -> web.Response:
        state = request.query.get("state", "opened")
        page = int(request.query.get("page", "1"))
        size = int(request.query.get("per_page", "20"))
        found = [one for one in self._upstream.pulls if one["state"] == state]
        return web.json_response(found[(page - 1) * size : page * size])

    async def open_merge(self, request: web.Request) -> web.Response:
        body = await request.json()
        number = len(self._upstream.pulls) + 1
        one = {
            "iid": number,
            "state": "opened",
            "title": body["title"],
            "description": body["description"],
            "source_branch": body["source_branch"],
            "source_project_id": 1,
            "target_project_id": 1,
            "target_branch": body["target_branch"],
            "web_url": f"{self._upstream.url}/git/-/merge_requests/{number}",
        }
        self._upstream.pulls.append(one)
        return web.json_response(one, status=201)

    async def edit_merge(self, request: web.Request) -> web.Response:
        one = self._upstream.pulls[int(request.match_info["number"]) - 1]
        body = await request.json()
        if body.get("state_event") == "close":
            one["state"] = "closed"
        return web.json_response(one)
