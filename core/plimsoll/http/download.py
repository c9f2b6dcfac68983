"""Saving an answer as a file, resuming after a fault."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from plimsoll.errors import write_advice
from plimsoll.http.errors import (
    DigestError,
    HttpConnectionError,
    HttpError,
    StorageError,
    TooLargeError,
)
from plimsoll.http.retry import RetryPolicy, retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import aiohttp

    OpenAt = Callable[[Mapping[str, str]], AbstractAsyncContextManager[aiohttp.ClientResponse]]

_PIECE = 1 << 20
#: A try that brought this much counts as progress, so that a long download over a bad line ends.
_PROGRESS = 1 << 20
_ANOTHER_SIZE = "the file is another one than what names its size knows, or was changed since"
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/(?:([0-9]{1,18})|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Download:
    """A file that was saved."""

    size: int
    digest: str
    """``sha256:…``, or with the algorithm of the digest that was asked for."""
    etag: str | None
    last_modified: str | None


async def save(  # noqa: PLR0913  all by name
    open_at: OpenAt,
    path: Path,
    *,
    what: str,
    expected_size: int | None,
    max_size: int,
    digest: str | None,
    policy: RetryPolicy,
) -> Download:
    """Save what ``open_at`` brings as ``path``; see ``Http.download``.

    Args:
        open_at: opens the answer, with further headers (``Range``); statuses 200, 206, 416.
        path: the file to make.
        what: names the source in errors.
        expected_size: bytes it must have.
        max_size: bytes it may have.
        digest: digest it must have.
        policy: how often to try.
    """
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    with _storage(path):
        file = await asyncio.to_thread(part.open, "xb")
    transfer = _Transfer(file, what, expected_size, max_size, digest)
    try:
        try:
            await retrying(lambda: transfer.attempt(open_at), policy, progressed=transfer.grew)
        finally:
            with _storage(path):
                await asyncio.to_thread(file.close)
        transfer.check()
        with _storage(path):
            await asyncio.to_thread(os.replace, part, path)
    finally:
        part.unlink(missing_ok=True)
    return Download(transfer.received, transfer.found(), transfer.etag, transfer.last_modified)


def download_limit(what: str, expected_size: int | None, max_size: int | None) -> int:
    """Most bytes that a download may have.

    Raises:
        TooLargeError: more are expected than allowed; nothing need be asked for.
    """
    if expected_size is not None and max_size is not None and expected_size > max_size:
        raise TooLargeError(f"{what} is said to have {expected_size} bytes, over {max_size}")
    limit = expected_size if expected_size is not None else max_size
    if limit is None:
        raise ValueError("a download needs its size or the most bytes that it may have")
    return limit


class _Transfer:
    """One download over all its attempts."""

    def __init__(
        self,
        file: BinaryIO,
        what: str,
        expected_size: int | None,
        max_size: int,
        digest: str | None,
    ) -> None:
        self._file = file
        self._what = what
        self._expected = expected_size
        self._max = max_size
        self._digest = digest
        self._algorithm = digest.partition(":")[0] if digest else "sha256"
        self._hash = hashlib.new(self._algorithm)
        self._validator: str | None = None
        self._seen = 0
        self.received = 0
        self.etag: str | None = None
        self.last_modified: str | None = None

    def grew(self) -> bool:
        """Whether something worth counting came since this was last asked."""
        grown = self.received - self._seen
        self._seen = self.received
        return grown >= _PROGRESS

    def found(self) -> str:
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def check(self) -> None:
        found = self.found()
        if self._digest is not None and found != self._digest:
            raise DigestError(
                f"{self._what} has the digest {found}, not {self._digest}",
                hint="the file was changed, or something on the way changes it",
            )

    async def attempt(self, open_at: OpenAt) -> None:
        if self._complete():
            return
        async with open_at(self._range()) as response:
            await self._place(response)
            buffer = bytearray()
            try:
                async for piece in response.content.iter_any():
                    buffer += piece
                    self._check_room(len(buffer))
                    if len(buffer) >= _PIECE:
                        await self._keep(buffer)
                        buffer = bytearray()
            finally:
                # What came before a fault is worth keeping: the next attempt goes on from there.
                await self._keep(buffer)
        if self._expected is not None and self.received != self._expected:
            raise HttpConnectionError(
                f"{self._what} has {self.received} bytes, not {self._expected}", retryable=True
            )

    def _complete(self) -> bool:
        return self._expected is not None and self.received == self._expected > 0

    def _range(self) -> dict[str, str]:
        if not self.received:
            return {}
        headers = {"Range": f"bytes={self.received}-"}
        if self._validator is not None:
            headers["If-Range"] = self._validator
        return headers

    async def _place(self, response: aiohttp.ClientResponse) -> None:
        """Find where this answer belongs: after what is there, or at the start."""
        if response.status == 206:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != self.received:
                await self._restart()
                raise HttpConnectionError(
                    f"{self._what} answers with another part than was asked for", retryable=True
                )
            return
        if response.status == 416:
            await self._restart()
            raise HttpConnectionError(f"{self._what} changed during the download", retryable=True)
        await self._restart()
        self.etag = response.headers.get("ETag")
        self.last_modified = response.headers.get("Last-Modified")
        strong = self.etag is not None and not self.etag.startswith("W/")
        self._validator = self.etag if strong else self.last_modified
        length = response.content_length
        if length is None:
            return
        if self._expected is not None and length != self._expected:
            raise HttpError(
                f"{self._what} has {length} bytes, not {self._expected}", hint=_ANOTHER_SIZE
            )
        if length > self._max:
            raise TooLargeError(f"{self._what} has {length} bytes, over {self._max}")

    def _check_room(self, more: int) -> None:
        if self._expected is not None and self.received + more > self._expected:
            raise TooLargeError(
                f"{self._what} sends more than the {self._expected} bytes that it must have",
                hint=_ANOTHER_SIZE,
            )
        if self.received + more > self._max:
            raise TooLargeError(f"{self._what} sends more than {self._max} bytes")

    async def _restart(self) -> None:
        if self.received:
            with _storage(None):
                await asyncio.to_thread(self._truncate)
        self._hash = hashlib.new(self._algorithm)
        self.received = self._seen = 0

    def _truncate(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    async def _keep(self, data: bytearray) -> None:
        if not data or (self.received + len(data)) > self._max:
            return
        with _storage(None):
            await asyncio.to_thread(self._write, data)
        self.received += len(data)

    def _write(self, data: bytearray) -> None:
        self._file.write(data)
        self._hash.update(data)


@contextlib.contextmanager
def _storage(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" {path}" if path is not None else ""
        raise StorageError(
            f"the download could not be stored{where}: {error.strerror or error}",
            hint=write_advice(error),
        ) from error
