"""Servers that answer for ever: each is given up on, in time and within its memory."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc

import pytest

from plimsoll.http import NO_RETRY, Http, HttpError, Timeouts, TooLargeError

#: A second altogether, and half of one between two pieces.
HASTY = Timeouts(total=1.0, idle=0.5)
LIMIT = 1 << 20
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_SLOW = "did not answer in time, or too slowly"
NO_HTTP = "the answer is no valid HTTP"
TOO_MUCH = f"(sends|has) [0-9]+ bytes, over {LIMIT}|sends more than {LIMIT} bytes"


@contextlib.asynccontextmanager
async def server(start: bytes, again: bytes, pause: float):
    """Answer with ``start`` and then with ``again`` and again; yields the URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(start)
            while True:
                writer.write(again)
                await writer.drain()
                await asyncio.sleep(pause)
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/file"
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


HEADERS = [
    pytest.param(OK, b"X: a\r\n", 0.1, TOO_SLOW, id="dripping-headers"),
    pytest.param(OK, b"X: aaaa\r\n" * 1000, 0, NO_HTTP, id="headers"),
    pytest.param(OK + b"X: ", b"a" * 65536, 0, NO_HTTP, id="header"),
    pytest.param(b"HTTP/1.1 200 ", b"a" * 65536, 0, NO_HTTP, id="status"),
    pytest.param(b"", b"HTTP/1.1 103 Early\r\n\r\n", 0.01, TOO_SLOW, id="early-hints"),
    pytest.param(b"", b"", 0.1, TOO_SLOW, id="nothing"),
]
BODIES = [
    pytest.param(OK + b"Content-Length: 999999\r\n\r\n", b"a", 0.1, TOO_SLOW, id="drip"),
    pytest.param(OK + b"\r\n", b"a" * 65536, 0, TOO_MUCH, id="body"),
    pytest.param(OK + b"Content-Length: 99999999\r\n\r\n", b"a" * 9, 0, TOO_MUCH, id="length"),
    pytest.param(CHUNKED, b"1000\r\n" + b"a" * 4096 + b"\r\n", 0, TOO_MUCH, id="chunks"),
    pytest.param(CHUNKED, b"1\r\na\r\n", 0.1, TOO_SLOW, id="dripping-chunks"),
    pytest.param(CHUNKED + b"1;x=", b"a" * 65536, 0.01, TOO_SLOW, id="chunk-extension"),
    pytest.param(CHUNKED + b"F" * 15 + b"\r\n", b"a" * 65536, 0, TOO_MUCH, id="huge-chunk"),
    pytest.param(CHUNKED + b"0\r\n", b"X: aaaa\r\n" * 1000, 0, NO_HTTP, id="trailers"),
    pytest.param(CHUNKED + b"0\r\n", b"X: a\r\n", 0.1, TOO_SLOW, id="dripping-trailers"),
]


@contextlib.asynccontextmanager
async def hasty():
    """A client that must end, with little memory."""
    tracemalloc.start()
    try:
        async with Http(timeouts=HASTY, retry=NO_RETRY) as http, asyncio.timeout(10):
            yield http
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("start", "again", "pause", "message"), [*HEADERS, *BODIES[:3]])
async def test_an_answer_without_end(start, again, pause, message):
    async with server(start, again, pause) as url, hasty() as http:
        with pytest.raises(HttpError, match=message) as info:
            await http.get_bytes(url, max_size=LIMIT)
        assert url in info.value.message


@pytest.mark.parametrize(("start", "again", "pause", "message"), BODIES)
async def test_a_file_without_end(start, again, pause, message, tmp_path):
    async with server(start, again, pause) as url, hasty() as http:
        with pytest.raises(HttpError, match=message) as info:
            await http.download(url, tmp_path / "file", max_size=LIMIT)
        assert url in info.value.message
    assert not list(tmp_path.iterdir())


async def test_a_redirect_without_end():
    found = OK.replace(b"200 OK", b"302 Found") + b"Location: /file\r\n"
    async with server(found + b"Connection: close\r\n\r\n", b"", 9) as url, hasty() as http:
        with pytest.raises(HttpError, match="redirects more than 10 times"):
            await http.get_bytes(url, max_size=LIMIT)


async def test_a_steady_answer_may_take_its_time():
    """What comes faster than the least speed is waited for, however long it takes."""
    steady = Timeouts(total=0.3, idle=0.5, min_rate=1000)
    start = OK + b"Content-Length: 3000\r\n\r\n"
    async with (
        server(start, b"a" * 200, 0.08) as url,
        Http(timeouts=steady, retry=NO_RETRY) as http,
    ):
        assert await http.get_bytes(url, max_size=3000) == b"a" * 3000


async def test_more_is_expected_than_allowed(tmp_path):
    """An index that lies about the size of a package does not raise the limit."""
    async with Http() as http:
        with pytest.raises(TooLargeError, match="is said to have 999999999999 bytes, over 1048576"):
            await http.download(
                "http://127.0.0.1:9/x", tmp_path / "x", expected_size=999999999999, max_size=LIMIT
            )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["....", "a..b", "a" * 64, "x" * 5000])
async def test_host_names_that_cannot_be(host):
    """Of a configuration, or of a server that sends us there."""
    found = OK.replace(b"200 OK", b"302 Found") + f"Location: http://{host}/x\r\n".encode()
    async with server(found + b"Connection: close\r\n\r\n", b"", 9) as url, hasty() as http:
        for asked in (f"http://{host}/x", url):
            with pytest.raises(HttpError, match="host name") as error:
                await http.get_bytes(asked, max_size=LIMIT)
            assert len(error.value.message) < 400
