"""Handing an image to the Docker daemon of this machine, by its HTTP interface (images/load)."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

DEFAULT_HOST = "unix:///var/run/docker.sock"
_READ = 1 << 20
_MAX_ANSWER = 1 << 20
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600)


class DockerError(Error):
    """The Docker daemon cannot be reached, or does not take the image."""

    reason = "Docker"


async def load(archive: Path, environ: Mapping[str, str] | None = None) -> list[str]:
    """Load an image from a tar file.

    Args:
        archive: as ``docker save`` writes it.
        environ: says in ``DOCKER_HOST`` where the daemon is: ``unix://PATH`` or ``tcp://HOST:PORT``.

    Returns:
        What the daemon says.

    Raises:
        DockerError: there is no daemon, or it does not take the image.
    """
    host = (os.environ if environ is None else environ).get("DOCKER_HOST") or DEFAULT_HOST
    connector, base = _connection(host)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session,
            session.post(
                f"{base}/images/load",
                params={"quiet": "1"},
                data=_pieces(archive),
                headers={"Content-Type": "application/x-tar"},
            ) as answer,
        ):
            body = (await answer.content.read(_MAX_ANSWER)).decode(errors="replace")
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        why = getattr(error, "strerror", None) or str(error) or "no answer"
        raise DockerError(
            f"the Docker daemon at {host} cannot be reached: {why}",
            hint="start it, or set DOCKER_HOST; without --local the image is pushed",
        ) from None
    messages = [_message(line) for line in body.splitlines() if line.strip()]
    problems = [text for text, is_error in messages if is_error]
    if status != 200 or problems:
        raise DockerError(
            f"the Docker daemon does not take the image: {'; '.join(problems) or body[:500]}",
            hint="layers with 'compression: zstd' need Docker 23 or later",
        )
    return [text for text, _ in messages]


def _connection(host: str) -> tuple[aiohttp.BaseConnector, str]:
    parts = urlsplit(host)
    if parts.scheme == "unix" and parts.path:
        return aiohttp.UnixConnector(parts.path), "http://docker"
    if parts.scheme in {"tcp", "http"} and parts.netloc:
        return aiohttp.TCPConnector(), f"http://{parts.netloc}"
    raise DockerError(
        f"DOCKER_HOST is {host!r}", hint="write unix:///var/run/docker.sock or tcp://host:port"
    )


async def _pieces(archive: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(archive.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, _READ):
            yield piece
    finally:
        file.close()


def _message(line: str) -> tuple[str, bool]:
    """What one line of the answer says, and whether it tells of an error."""
    try:
        value = json.loads(line)
    except ValueError:
        return line.strip(), True
    if not isinstance(value, dict):
        return line.strip(), True
    problem = value.get("error") or value.get("message")
    return str(problem or value.get("stream") or "").strip(), bool(problem)
