"""Builds through an HTTP proxy: names that only the proxy knows, and its login."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl

import pytest
from aiohttp import web
from cryptography import x509

from apk_repository import Repository
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.imagecontents import Contents
from plimsoll.arch import Arch
from plimsoll.builder.engine import Engine, build_all
from plimsoll.builder.settings import Settings
from plimsoll.errors import Error
from self_signed import self_signed

pytestmark = pytest.mark.integration

LOGIN = "me:opensesame"
LOGIN_SENT = base64.b64encode(LOGIN.encode()).decode()


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
    assert "the proxy wants a login" in str(error.value)
    assert "wrongword" not in str(error.value)


def certificate(folder):
    """Of ``packages.example``, signed by itself; the file and a context that serves it."""
    made, key = self_signed(x509.DNSName("packages.example"))
    file = folder / "server.pem"
    file.write_bytes(key + made)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context


@contextlib.asynccontextmanager
async def tunnel(port, heads):
    """A proxy that only opens tunnels, all to ``port``; yields its address."""

    async def pump(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head.decode())
        if base64.b64encode(LOGIN.encode()) not in head:
            writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        there = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def test_what_tls_protects_goes_through_a_tunnel(tmp_path, monkeypatch):
    """The proxy learns the server's name alone, and the server nothing of the proxy's login."""
    repository = Repository(tmp_path / "repo")
    repository.add("app", {"usr/bin/app": "app"})
    root = repository.write()
    assert repository.key_file.exists()
    file, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    asked, heads = [], []

    async def handle(request):
        asked.append(request.headers)
        return web.FileResponse(root / request.path.removeprefix("/os/"))

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        async with tunnel(runner.addresses[0][1], heads) as address:
            for login, works in ((LOGIN, True), ("me:wrongword", False)):
                monkeypatch.setenv("HTTPS_PROXY", f"http://{login}@{address}")
                settings = Settings(cache_dir=tmp_path / f"cache-{works}")
                async with Engine(settings) as engine:
                    url = "https://packages.example/os"
                    config = ImageConfiguration.model_validate(
                        {
                            "contents": {
                                "repositories": [url],
                                "keyring": [f"{url}/test.rsa.pub"],
                                "packages": ["app"],
                            }
                        }
                    )
                    if works:
                        lock, _ = await engine.resolve(config, [Arch.AMD64])
                        (image,) = await build_all(engine, config, lock, [Arch.AMD64])
                        assert image.packages == (("app", "1.0-r0"),)
                        continue
                    with pytest.raises(Error, match=r"proxy refused.*407") as refused:
                        await engine.resolve(config, [Arch.AMD64])
                    assert "the proxy wants a login" in str(refused.value)
                    assert "wrongword" not in str(refused.value)
    finally:
        await runner.cleanup()
    assert len(asked) == 3
    assert sum("wrongword" in head or LOGIN_SENT not in head for head in heads) == 1
    assert all("Proxy-Authorization" not in headers for headers in asked)
    assert {head.splitlines()[0] for head in heads} == {"CONNECT packages.example:443 HTTP/1.1"}
