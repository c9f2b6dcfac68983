"""Builds through an HTTP proxy: names that only the proxy knows, and its login."""

from __future__ import annotations

import base64

import pytest
from aiohttp import web

from apk_repository import Repository
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.imagecontents import Contents
from plimsoll.arch import Arch
from plimsoll.builder.engine import Engine, build_all
from plimsoll.builder.settings import Settings
from plimsoll.errors import Error

pytestmark = pytest.mark.integration

LOGIN = "me:opensesame"


@pytest.fixture
async def proxy(tmp_path):
    """A forward proxy that answers for ``packages.example``; yields its address and requests."""
    repository = Repository(tmp_path / "repo")
    repository.add("app", {"usr/bin/app": "app"})
    root = repository.write()
    assert repository.key_file.exists()
    seen = []

    async def handle(request):
        seen.append(request.raw_path)
        expected = f"Basic {base64.b64encode(LOGIN.encode()).decode()}"
        if request.headers.get("Proxy-Authorization") != expected:
            return web.Response(status=407, headers={"Proxy-Authenticate": "Basic"})
        if request.headers["Host"] != "packages.example":
            return web.Response(status=502)
        return web.FileResponse(root / request.path.removeprefix("/os/"))

    server = web.Server(handle)
    runner = web.ServerRunner(server)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"127.0.0.1:{runner.addresses[0][1]}", seen
    finally:
        await runner.cleanup()


def wanted():
    url = "http://packages.example/os"
    return ImageConfiguration(
        contents=Contents(repositories=[url], keyring=[f"{url}/test.rsa.pub"], packages=["app"])
    )


async def test_everything_goes_through_the_proxy(proxy, tmp_path, monkeypatch, capfd):
    address, seen = proxy
    monkeypatch.setenv("http_proxy", f"http://{LOGIN}@{address}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with Engine(Settings(cache_dir=tmp_path / "cache")) as engine:
        lock, _ = await engine.resolve(wanted(), [Arch.AMD64])
        (image,) = await build_all(engine, wanted(), lock, [Arch.AMD64])
    assert image.packages == (("app", "1.0-r0"),)
    assert {path.rpartition("/")[2] for path in seen} == {
        "test.rsa.pub",
        "APKINDEX.tar.gz",
        "app-1.0-r0.apk",
    }
    assert all(path.startswith("http://packages.example/os/") for path in seen)
    words = [image.config, image.manifest, image.sbom, lock.dump(), *capfd.readouterr()]
    assert not any("opensesame" in str(word) for word in words)


async def test_a_proxy_that_refuses_is_named_without_its_login(proxy, tmp_path, monkeypatch):
    address, _ = proxy
    monkeypatch.setenv("http_proxy", f"http://me:wrongword@{address}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with Engine(Settings(cache_dir=tmp_path / "cache")) as engine:
        with pytest.raises(Error) as error:
            await engine.resolve(wanted(), [Arch.AMD64])
    assert "407" in str(error.value)
    assert "wrongword" not in str(error.value)
