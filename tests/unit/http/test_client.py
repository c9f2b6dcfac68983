"""The client before a real server in the same process."""

from __future__ import annotations

import ipaddress
import ssl

import pytest
from aiohttp import web
from cryptography import x509

from plimsoll.http import (
    AddressRefusedError,
    DigestError,
    Http,
    HttpConnectionError,
    HttpError,
    NotModified,
    Response,
    RetryPolicy,
    TooLargeError,
)
from self_signed import self_signed

QUICK = RetryPolicy(attempts=3, base=0.001, longest=0.01)


class Server:
    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        name = request.path.rpartition("/")[2]
        return await getattr(self, name)(request)

    async def text(self, request):
        if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304, headers={"ETag": '"v1"'})
        if "If-Modified-Since" in request.headers:
            return web.Response(status=304)
        return web.Response(text="hello", headers={"ETag": '"v1"'})

    async def packed(self, request):
        del request
        return web.Response(body=b"\x1f\x8b raw", headers={"Content-Encoding": "gzip"})

    async def busy(self, request):
        del request
        return web.Response(status=503)

    async def gone(self, request):
        del request
        return web.Response(status=404)

    async def to(self, request):
        return web.Response(status=302, headers={"Location": request.query["url"]})

    async def loop(self, request):
        return web.Response(status=302, headers={"Location": request.path})

    async def not_modified(self, request):
        del request
        return web.Response(status=304)

    async def changing(self, request):
        """Another file after the first part: the entity tag tells."""
        first = len([r for r in self.requests if r.path == request.path]) == 1
        if first:
            response = web.StreamResponse(headers={"ETag": '"old"'})
            response.content_length = 100
            await response.prepare(request)
            await response.write(b"o" * 50)
            request.transport.abort()
            return response
        assert request.headers["If-Range"] == '"old"'
        return web.Response(body=b"n" * 100, headers={"ETag": '"new"'})

    async def short(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x" * 10)
        return response

    async def wrong_part(self, request):
        if "Range" in request.headers:
            headers = {"Content-Range": "bytes 0-9/100"}
            return web.Response(status=206, body=b"x" * 10, headers=headers)
        return await self.cut(request)

    async def gone_part(self, request):
        if "Range" in request.headers:
            return web.Response(status=416)
        return await self.cut(request)

    async def cut(self, request):
        response = web.StreamResponse()
        response.content_length = 100
        await response.prepare(request)
        await response.write(b"x" * 50)
        request.transport.abort()
        return response


@pytest.fixture
async def server():
    served = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture
async def http():
    async with Http(retry=QUICK) as client:
        yield client


async def test_a_conditional_request_says_when_nothing_changed(server, http):
    answer = await http.get(f"{server.url}/text", max_size=5)
    assert isinstance(answer, Response)
    assert (answer.body, answer.etag) == (b"hello", '"v1"')
    again = await http.get(f"{server.url}/text", max_size=5, etag=answer.etag)
    assert again == NotModified('"v1"')
    dated = await http.get(
        f"{server.url}/text", max_size=5, last_modified="Sat, 21 Nov 2026 12:00:30 GMT"
    )
    assert isinstance(dated, NotModified)
    with pytest.raises(HttpError):
        await http.get(f"{server.url}/not_modified", max_size=5)


async def test_bytes_come_as_they_are_stored(server, http):
    assert await http.get_bytes(f"{server.url}/packed", max_size=100) == b"\x1f\x8b raw"
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


async def test_limits_hold(server, http):
    with pytest.raises(TooLargeError):
        await http.get_bytes(f"{server.url}/text", max_size=4)
    with pytest.raises(TooLargeError):
        await http.get_bytes(f"{server.url}/short", max_size=9)


async def test_statuses_become_errors(server, http):
    with pytest.raises(HttpError, match="404") as caught:
        await http.get_bytes(f"{server.url}/gone", max_size=9)
    assert (caught.value.status, caught.value.retryable) == (404, False)
    assert len(server.requests) == 1
    with pytest.raises(HttpError, match="503") as caught:
        await http.get_bytes(f"{server.url}/busy", max_size=9)
    assert caught.value.retryable is True
    assert len(server.requests) == 1 + QUICK.attempts


async def test_credentials_in_the_url_are_sent_and_never_shown(server, http):
    url = server.url.replace("//", "//user:s3cret@")
    await http.get_bytes(f"{url}/text", max_size=9)
    assert server.requests[0].headers["Authorization"].startswith("Basic ")
    with pytest.raises(HttpError) as caught:
        await http.get_bytes(f"{url}/gone?token=s3cret", max_size=9)
    assert "s3cret" not in f"{caught.value!r} {caught.value}"


async def test_redirects_keep_credentials_at_home(server, http):
    other = server.url.replace("127.0.0.1", "localhost")
    headers = {"Authorization": "Bearer s3cret", "X-Plain": "kept"}
    for target in (f"{server.url}/text", f"{other}/text"):
        url = f"{server.url}/to?url={target}"
        assert await http.get_bytes(url, max_size=9, headers=headers) == b"hello"
    home, away = server.requests[1], server.requests[3]
    assert home.headers["Authorization"] == "Bearer s3cret"
    assert "Authorization" not in away.headers
    assert away.headers["X-Plain"] == "kept"


async def test_redirects_end(server, http):
    with pytest.raises(HttpError, match="redirects more than"):
        await http.get_bytes(f"{server.url}/loop", max_size=9)
    with pytest.raises(HttpError, match="redirect"):
        await http.fetch("PUT", f"{server.url}/to?url=/text", max_size=9, body=b"x")


async def test_nonsense_is_refused(http):
    for url in ("", "a", "file:///etc/passwd", "http://", "http://[::1", "http://a b/"):
        with pytest.raises(HttpError):
            await http.get_bytes(url, max_size=9)


async def test_no_connection_is_told_without_a_trace_of_aiohttp(http, unused_tcp_port_factory):
    with pytest.raises(HttpConnectionError, match="no connection") as caught:
        await http.get_bytes(f"http://127.0.0.1:{unused_tcp_port_factory()}/x?t=1", max_size=9)
    assert caught.value.retryable is True
    assert "t=1" not in str(caught.value)


async def test_a_file_that_changes_half_way_is_taken_anew(server, http, tmp_path):
    saved = await http.download(f"{server.url}/changing", tmp_path / "x", expected_size=100)
    assert (tmp_path / "x").read_bytes() == b"n" * 100
    assert saved.etag == '"new"'


@pytest.mark.parametrize("name", ["short", "wrong_part", "gone_part", "cut"])
async def test_a_download_that_is_not_whole_is_none(server, http, tmp_path, name):
    (tmp_path / "x").write_text("old")
    with pytest.raises(HttpError) as caught:
        await http.download(f"{server.url}/{name}", tmp_path / "x", expected_size=100)
    assert caught.value.retryable is True
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"


async def test_a_download_is_checked(server, http, tmp_path):
    with pytest.raises(HttpError, match="5 bytes, not 6"):
        await http.download(f"{server.url}/text", tmp_path / "x", expected_size=6)
    with pytest.raises(TooLargeError):
        await http.download(f"{server.url}/text", tmp_path / "x", max_size=4)
    with pytest.raises(TooLargeError):
        await http.download(f"{server.url}/short", tmp_path / "x", max_size=4)
    with pytest.raises(DigestError):
        await http.download(
            f"{server.url}/text", tmp_path / "x", max_size=9, digest="sha256:" + "0" * 64
        )
    assert list(tmp_path.iterdir()) == []
    saved = await http.download(f"{server.url}/short", tmp_path / "x", max_size=10)
    assert saved.size == 10


async def test_inner_addresses_are_refused_unless_configured(server):
    named = server.url.replace("127.0.0.1", "localhost")
    async with Http(retry=QUICK, allow_private=False) as http:
        for url in (server.url, named, "http://[::ffff:127.0.0.1]:1", "http://0.0.0.0:1"):
            with pytest.raises(AddressRefusedError) as caught:
                await http.get_bytes(f"{url}/text", max_size=9)
            assert caught.value.retryable is False
        for url in ("http://2130706433/", "http://127.1/", "http://0x7f.1/"):
            with pytest.raises(HttpError):
                await http.get_bytes(url, max_size=9)
    assert server.requests == []
    trusted = frozenset({"localhost"})
    async with Http(retry=QUICK, allow_private=False, trusted_hosts=trusted) as http:
        assert await http.get_bytes(f"{named}/text", max_size=9) == b"hello"
        with pytest.raises(AddressRefusedError):
            await http.get_bytes(f"{named}/to?url={server.url}/text", max_size=9)


async def test_a_proxy_from_the_environment_is_used(server):
    environ = {"http_proxy": server.url.replace("//", "//me:pw@")}
    async with Http(retry=QUICK, environ=environ) as http:
        assert await http.get_bytes("http://far.example/text", max_size=9) == b"hello"
    (request,) = server.requests
    assert request.headers["Host"] == "far.example"
    assert request.headers["Proxy-Authorization"] == "Basic bWU6cHc="
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("socks5://127.0.0.1:9", "names a socks5 proxy, which is not supported"),
        ("http://me:se/cret@127.0.0.1:9", "names a proxy whose URL cannot be read"),
        ("http://", "names a proxy whose URL cannot be read"),
        ("http://me:secret@127.0.0.1:{port}", "no connection to the proxy 127.0.0.1:"),
        ("http://me:secret@proxy.invalid:9", "the host name of the proxy proxy.invalid is"),
    ],
)
async def test_a_proxy_that_does_not_work_is_named(proxy, told, unused_tcp_port):
    environ = {"ALL_PROXY": proxy.format(port=unused_tcp_port)}
    async with Http(retry=QUICK, environ=environ) as http:
        with pytest.raises(HttpError) as caught:
            await http.get_bytes("https://far.example/text", max_size=9)
    assert told in caught.value.message
    assert "cret" not in str(caught.value)


def certificate(directory):
    made, key = self_signed(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    (directory / "cert.pem").write_bytes(made)
    (directory / "key.pem").write_bytes(key)
    return directory / "cert.pem", directory / "key.pem"


async def test_certificates_are_checked(tmp_path):
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    served = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", served.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/text"
        async with Http(retry=QUICK) as http:
            with pytest.raises(HttpConnectionError, match="certificate") as caught:
                await http.get_bytes(url, max_size=9)
            assert caught.value.retryable is False
            assert "SSL_CERT_FILE" in str(caught.value)
        async with Http(retry=QUICK, ca_file=cert) as http:
            assert await http.get_bytes(url, max_size=9) == b"hello"
            with pytest.raises(HttpError, match="unprotected"):
                await http.get_bytes(
                    url.replace("/text", "/to?url=http://127.0.0.1:1/"), max_size=9
                )
    finally:
        await runner.cleanup()
