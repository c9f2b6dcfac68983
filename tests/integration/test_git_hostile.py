"""Git servers that mean harm: endless, slow, elsewhere, and not what they say."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from git_server import commit, git, git_server, make_repository
from plimsoll.api.gitsource import GitSource
from plimsoll.builder.git import checkout as checkouts
from plimsoll.builder.git import remote as remotes
from plimsoll.builder.git.checkout import checkout
from plimsoll.builder.git.errors import GitBusyError, GitError
from plimsoll.builder.git.pktline import FLUSH, encode
from plimsoll.builder.git.remote import Remote, list_refs
from plimsoll.http import NO_RETRY, AddressRefusedError, Http, HttpError, Timeouts, TooLargeError

pytestmark = pytest.mark.integration

SMART = "application/x-git-upload-pack-advertisement"
RESULT = "application/x-git-upload-pack-result"
GREETING = encode("version 2\n") + encode("ls-refs\n") + encode("fetch=shallow filter\n") + FLUSH


async def serve(handler, info=None):
    async def greet(request):
        return web.Response(body=GREETING, content_type=SMART)

    app = web.Application()
    app.router.add_get("/r/info/refs", info or greet)
    app.router.add_post("/r/git-upload-pack", handler)
    server = TestServer(app)
    await server.start_server()
    return server


async def stream(request, pieces, kind=RESULT):
    response = web.StreamResponse(headers={"Content-Type": kind})
    await response.prepare(request)
    try:
        async for piece in pieces():
            await response.write(piece)
    except (ConnectionError, asyncio.CancelledError):
        pass
    return response


async def ask(server, timeouts=None):
    async with Http(retry=NO_RETRY, timeouts=timeouts or Timeouts()) as http:
        return await list_refs(http, str(server.make_url("/r")), ["refs/"])


async def test_an_endless_list(monkeypatch):
    monkeypatch.setattr(remotes, "MAX_ANSWER", 1 << 20)

    async def pieces():
        number = 0
        while True:
            number += 1
            yield b"".join(encode(f"{'a' * 40} refs/tags/v{number}.{n}\n") for n in range(1000))

    async def handler(request):
        return await stream(request, pieces)

    server = await serve(handler)
    try:
        with pytest.raises(TooLargeError):
            await ask(server)
    finally:
        await server.close()


async def test_a_list_that_never_goes_on():
    async def pieces():
        yield encode(f"{'a' * 40} refs/tags/v1\n")
        await asyncio.sleep(30)

    async def handler(request):
        return await stream(request, pieces)

    server = await serve(handler)
    started = time.monotonic()
    try:
        with pytest.raises(HttpError, match="in time"):
            await ask(server, Timeouts(idle=0.3, total=5))
        assert time.monotonic() - started < 5
    finally:
        await server.close()


async def test_a_server_that_is_busy_for_ever(monkeypatch, tmp_path):
    """Always a little more, so that no pause is too long: it ends all the same."""
    monkeypatch.setattr(checkouts, "TIMEOUT", 0.5)

    async def pieces():
        yield encode(f"{'a' * 40} HEAD\n")
        while True:
            await asyncio.sleep(0.05)
            yield encode(f"{'a' * 40} refs/heads/x\n")

    async def handler(request):
        return await stream(request, pieces)

    server = await serve(handler)
    try:
        async with Http(retry=NO_RETRY) as http:
            with pytest.raises(GitBusyError, match="longer than"):
                await checkout(http, GitSource(url=str(server.make_url("/r"))), tmp_path / "out")
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"<html>", "text/html", "not Git's protocol"),
        (b"", SMART, None),
        (b"garbage", SMART, "malformed"),
        (encode("version 2\n") + encode("object-format=sha256\n") + FLUSH, SMART, "SHA-256"),
    ],
)
async def test_other_greetings(body, kind, reason):
    async def info(request):
        return web.Response(body=body, content_type=kind)

    server = await serve(info, info)
    try:
        if reason is None:
            assert await ask(server) == ()
            return
        with pytest.raises(GitError, match=reason):
            await ask(server)
    finally:
        await server.close()


async def test_a_redirect_to_an_address_that_must_not_be_asked():
    """The server is trusted; where it sends us is not."""
    asked = []

    async def info(request):
        raise web.HTTPFound("http://127.0.0.2:9/r/info/refs?service=git-upload-pack")

    async def handler(request):
        asked.append(request)
        return web.Response()

    server = await serve(handler, info)
    url = f"http://localhost:{server.port}/r"
    try:
        async with Http(
            retry=NO_RETRY, allow_private=False, trusted_hosts=frozenset({"localhost"})
        ) as http:
            with pytest.raises(AddressRefusedError):
                await list_refs(http, url, ["refs/"])
    finally:
        await server.close()
    assert not asked


async def test_a_redirect_to_something_else():
    async def info(request):
        if "service" in request.query:
            raise web.HTTPFound("/r/info/refs/more")
        return web.Response()

    async def more(request):
        return web.Response(body=GREETING, content_type=SMART)

    app = web.Application()
    app.router.add_get("/r/info/refs", info)
    app.router.add_get("/r/info/refs/more", more)
    async with TestServer(app) as server:
        with pytest.raises(GitError, match="redirects to something"):
            await ask(server)


async def test_objects_that_are_not_what_they_are_called(tmp_path, monkeypatch):
    """A pack without what was wanted: nothing under a wrong number comes out."""
    async with git_server(tmp_path / "srv") as server, Http(retry=NO_RETRY) as http:
        folder = make_repository(server.root / "a.git")
        commit(folder)
        other = make_repository(server.root / "b.git")
        lie = commit(other, "evil")
        real = Remote.fetch

        async def swapped(self, wants, path, **options):
            # As a server would do that answers one number with objects of another repository.
            elsewhere = await Remote.open(http, f"{server.url}/b.git")
            return await real(elsewhere, [lie], path, **options)

        monkeypatch.setattr(Remote, "fetch", swapped)
        with pytest.raises(GitError):
            await checkout(http, GitSource(url=f"{server.url}/a.git"), tmp_path / "out")
        assert not (tmp_path / "out").exists()


async def test_a_tree_that_names_itself_many_times(tmp_path, monkeypatch):
    """A few small objects that would be 10,000 files."""
    monkeypatch.setattr(checkouts, "MAX_FILES", 1000)
    async with git_server(tmp_path / "srv") as server, Http(retry=NO_RETRY) as http:
        folder = make_repository(server.root / "bomb.git")
        blob = git(folder, "hash-object", "-w", "--stdin", data="x")
        tree = git(folder, "mktree", data="".join(f"100644 blob {blob}\tf{n}\n" for n in range(10)))
        for _ in range(3):
            entries = "".join(f"040000 tree {tree}\td{n}\n" for n in range(10))
            tree = git(folder, "mktree", data=entries)
        number = git(folder, "commit-tree", "-m", "boom", tree)
        git(folder, "update-ref", "refs/heads/main", number)
        with pytest.raises(GitError, match="more than 1000 files"):
            await checkout(http, GitSource(url=f"{server.url}/bomb.git"), tmp_path / "out")
        assert not (tmp_path / "out").exists()


async def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(checkouts, "MAX_BYTES", 1 << 20)
    async with git_server(tmp_path / "srv") as server, Http(retry=NO_RETRY) as http:
        commit(make_repository(server.root / "a.git"), "zeros", "0" * (2 << 20))
        with pytest.raises(GitError, match="1048576 bytes"):
            await checkout(http, GitSource(url=f"{server.url}/a.git"), tmp_path / "out")


async def test_a_pack_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(checkouts, "MAX_PACK", 100)
    async with git_server(tmp_path / "srv") as server, Http(retry=NO_RETRY) as http:
        commit(make_repository(server.root / "a.git"), "file", "x" * 100)
        with pytest.raises(GitError, match="more than 100 bytes"):
            await checkout(http, GitSource(url=f"{server.url}/a.git"), tmp_path / "out")


async def test_hooks_and_helpers_of_a_repository_do_not_run(tmp_path, monkeypatch):
    """Attributes name filters and drivers; configuration that defines them is ours alone."""
    marker = tmp_path / "marker"
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[filter "evil"]\n\tsmudge = touch {marker}; cat\n')
    monkeypatch.setenv("HOME", str(home))
    async with git_server(tmp_path / "srv") as server, Http(retry=NO_RETRY) as http:
        folder = make_repository(server.root / "a.git")
        commit(folder, ".gitattributes", "* filter=evil\n")
        await checkout(http, GitSource(url=f"{server.url}/a.git"), tmp_path / "out")
    assert (tmp_path / "out/.gitattributes").exists()
    assert not marker.exists()
