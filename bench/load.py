"""Load for an HTTPS server on this machine, as raw HTTP: the client must not be what is measured.

*Open loop*: requests are sent by the clock whether or not earlier ones were answered, each on a
connection that is free, and timed from when they were due. A pause of the server then counts for
every request that fell into it, which a client that waits for answers would leave out (coordinated
omission). *Closed loop*: each connection asks again as soon as it has its answer; what comes out
is the most the server can do. Both end by themselves.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

#: Whatever is asked for, no run is longer or sends more.
MAX_SECONDS, MAX_REQUESTS, MAX_CONNECTIONS = 60.0, 100_000, 256
_HEAD_END = b"\r\n\r\n"


@dataclass
class Result:
    """What came back."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds of each request, from when it was due, sorted."""

    faults: list[str] = field(default_factory=list)
    """Answers other than 200 and connections that broke."""

    denied: int = 0
    """Answers with ``"allowed":false``."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Latency in milliseconds that ``share`` of the requests stayed within."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)] * 1e3


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._done: Callable[[int, bytes], None] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def send(self, request: bytes, done: Callable[[int, bytes], None]) -> None:
        """Send one request; ``done`` is told status and body, or 0 if the connection broke."""
        self._done = done
        assert self._transport is not None
        self._transport.write(request)

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._buffer) < end + len(_HEAD_END) + length:
            return
        body = bytes(self._buffer[end + len(_HEAD_END) :])
        self._buffer.clear()
        self._finish(int(head[9:12]), body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(0, str(exc or "closed").encode())

    def _finish(self, status: int, body: bytes) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(status, body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Load:
    """Sends requests to one URL of this machine.

    Args:
        url: ``https://HOST:PORT/PATH``; HOST must be a loopback address or mean one.
        trust: the server's authority.
        bodies: JSON bodies, sent in turn.
    """

    def __init__(self, url: str, trust: ssl.SSLContext, bodies: Sequence[bytes]) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        address = ipaddress.ip_address(socket.gethostbyname(self._host))
        if not address.is_loopback:
            raise ValueError(f"{url} is not on this machine")
        self._trust = trust
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: "
        self._requests = [
            head.encode() + str(len(body)).encode() + _HEAD_END + body for body in bodies
        ]
        self._result = Result()
        self._free: list[_Connection] = []
        self._opened = 0
        self._sent = 0

    async def open_loop(self, rate: float, seconds: float) -> Result:
        """Send ``rate`` requests a second for some seconds, and wait for what is under way."""
        total = int(min(rate * min(seconds, MAX_SECONDS), MAX_REQUESTS))
        self._result, loop = Result(), asyncio.get_running_loop()
        await self._warm(8)
        begin = loop.time() + 0.05
        async with asyncio.timeout(MAX_SECONDS * 2), asyncio.TaskGroup() as tasks:
            for number in range(total):
                due = begin + number / rate
                if (pause := due - loop.time()) > 0:
                    await asyncio.sleep(pause)
                tasks.create_task(self._one(due))
        return self._finished(loop.time() - begin)

    async def closed_loop(self, connections: int, seconds: float) -> Result:
        """Keep some connections busy for some seconds."""
        self._result, loop = Result(), asyncio.get_running_loop()
        await self._warm(connections)
        begin, count = loop.time(), 0
        end = begin + min(seconds, MAX_SECONDS)

        async def one() -> None:
            nonlocal count
            while loop.time() < end and count < MAX_REQUESTS:
                count += 1
                await self._one(loop.time())

        async with asyncio.timeout(MAX_SECONDS * 2):
            await asyncio.gather(*(one() for _ in range(connections)))
        return self._finished(loop.time() - begin)

    async def ask(self) -> bytes:
        """Send one request; the body of its answer."""
        _, body = await self._answer(await self._connection())
        return body

    def close(self) -> None:
        """Let go of the connections."""
        for one in self._free:
            one.close()

    async def _one(self, due: float) -> None:
        try:
            connection = await self._connection()
            status, body = await self._answer(connection)
        except OSError as error:
            self._result.faults.append(f"cannot connect: {error}")
            return
        if status != 200:
            self._result.faults.append(f"{status}: {body[:100].decode(errors='replace')}")
            return
        self._result.denied += b'"allowed":false' in body
        self._result.latencies.append(asyncio.get_running_loop().time() - due)

    async def _answer(self, connection: _Connection) -> tuple[int, bytes]:
        answered: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        request = self._requests[self._sent % len(self._requests)]
        self._sent += 1
        connection.send(request, lambda status, body: answered.set_result((status, body)))
        answer = await answered
        self._free.append(connection)
        return answer

    async def _connection(self) -> _Connection:
        while self._free:
            if (one := self._free.pop()).open:
                return one
            self._opened -= 1
        if self._opened >= MAX_CONNECTIONS:
            raise OSError(f"{MAX_CONNECTIONS} connections are all waiting for answers")
        self._opened += 1
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(
            _Connection, self._host, self._port, ssl=self._trust, server_hostname=self._host
        )
        return made

    async def _warm(self, connections: int) -> None:
        held = [await self._connection() for _ in range(connections)]
        self._free += held

    def _finished(self, seconds: float) -> Result:
        self._result.seconds = seconds
        self._result.latencies.sort()
        return self._result


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, all its threads together, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
