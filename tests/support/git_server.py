"""Real Git over HTTP: ``git http-backend`` behind a small server, and repositories for it."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.test_utils import TestServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


def git(folder: Path, *arguments: str, env: dict[str, str] | None = None, data: str = "") -> str:
    """Run git in a folder; its output without the last newline."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, **_IDENTITY, **(env or {})},
        input=data.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise AssertionError(f"git {arguments}: {done.stderr.decode()}")
    return done.stdout.decode().rstrip("\n")


def make_repository(folder: Path, *config: tuple[str, str]) -> Path:
    """An empty repository with a work tree, whose branch is ``main``."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, value in (*config, ("uploadpack.allowFilter", "true")):
        git(folder, "config", name, value)
    git(folder, "config", "http.receivepack", "true")
    return folder


def commit(folder: Path, name: str = "file", text: str = "text", *options: str) -> str:
    """Commit a file; the commit's number."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    git(folder, "add", "--", name)
    git(folder, "commit", "-q", "-m", f"{name}: {text[:40]}", *options)
    return git(folder, "rev-parse", "HEAD")


@dataclass
class GitServer:
    """Serves all repositories below a folder; what was asked stands in ``requests``."""

    url: str
    root: Path
    logins: dict[str, str] = field(default_factory=dict)
    """First part of a path → ``USER:PASSWORD`` that it wants."""

    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path with query, value of ``Authorization``."""

    protocol: bool = True
    """Whether version 2 of the protocol is spoken."""

    redirects: dict[str, str] = field(default_factory=dict)
    """First part of a path → what it is replaced by in a redirect."""


@asynccontextmanager
async def git_server(root: Path) -> AsyncIterator[GitServer]:
    """Serve the repositories below ``root``."""
    found = GitServer("", root)

    async def answer(request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        found.requests.append((request.method, request.path_qs, given))
        first = request.path.split("/")[1]
        if first in found.redirects:
            target = request.path_qs.replace(f"/{first}", found.redirects[first], 1)
            raise web.HTTPFound(target)
        wanted = found.logins.get(first)
        if wanted and given != "Basic " + base64.b64encode(wanted.encode()).decode():
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        return await _backend(request, found)

    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        found.url = str(server.make_url("")).rstrip("/")
        yield found


async def _backend(request: web.Request, server: GitServer) -> web.Response:
    body = await request.read()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        "GIT_PROJECT_ROOT": str(server.root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_USER": "test",
        "REMOTE_ADDR": "127.0.0.1",
    }
    if request.headers.get("Content-Encoding"):
        environment["HTTP_CONTENT_ENCODING"] = request.headers["Content-Encoding"]
    if server.protocol and request.headers.get("Git-Protocol"):
        environment["GIT_PROTOCOL"] = request.headers["Git-Protocol"]
    process = await asyncio.create_subprocess_exec(
        *("git", "http-backend"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    out, _ = await process.communicate(body)
    head, _, content = out.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
    status = int(headers.pop("Status", "200").split()[0])
    return web.Response(status=status, body=content, headers=headers)
