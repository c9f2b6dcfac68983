"""Small files that builds read: from paths, or from servers and then kept in the cache.

What the cache has is asked for by its entity tag (or its date) and not sent again where it is
unchanged; an offline build takes it as it is. Whoever reads a file verifies it each time: the
cache vouches for nothing but that its bytes are those that were put there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plimsoll.builder.repository import RepositoryError, hinted, is_url, local_path
from plimsoll.builder.store import Store, storage_errors
from plimsoll.http import Http, HttpError, NotModified, public_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from plimsoll.builder.logins import Logins


@dataclass(frozen=True, slots=True)
class Document:
    """A file as it was read.

    Attributes:
        data: its bytes.
        source: where they came from, for messages.
        place: kind and key under which the cache is to keep it; ``None`` if it has it already.
        validators: what to ask with the next time.
    """

    data: bytes = field(repr=False)
    source: str
    place: tuple[str, str] | None = None
    validators: Mapping[str, str | None] = field(default_factory=dict)


class Documents:
    """Reads files, each from one place.

    Args:
        http: connections.
        store: the cache directory.
        logins: for servers that ask for one.
        offline: use only what is cached or local.
    """

    def __init__(self, http: Http, store: Store, logins: Logins, *, offline: bool) -> None:
        self._http = http
        self._store = store
        self._logins = logins
        self._offline = offline
        self._locks: dict[str, asyncio.Lock] = {}
        self._known: dict[str, bytes] = {}
        #: Local files that were read: path → SHA-256 (hex) of what was in them.
        self.read: dict[str, str] = {}
        #: Whether anything was asked of a server, or of what the cache has of it.
        self.asked = False

    async def small(self, location: str, what: str, max_size: int) -> bytes:
        """A file that needs no check before it is kept, read once however often it is asked for.

        Args:
            location: path or URL.
            what: what it is, for messages.
            max_size: most bytes it may have.

        Raises:
            RepositoryError, HttpError: it cannot be had.
        """
        async with self._locks.setdefault(location, asyncio.Lock()):
            if (known := self._known.get(location)) is None:
                if is_url(location):
                    document = await self.remote(location, what, max_size)
                    await self.keep(document)
                    known = document.data
                else:
                    known = self._local(location, what, max_size)
                self._known[location] = known
        return known

    @asynccontextmanager
    async def alone(self, location: str) -> AsyncIterator[None]:
        """Hold a server's file against other processes: they find it in the cache afterwards."""
        if self._offline or not is_url(location):
            yield
            return
        async with self._store.lock_async(f"document {location}"):
            yield

    def local(self, location: str, what: str, max_size: int) -> bytes:
        """A file of this machine, noted in ``read``.

        Raises:
            RepositoryError: it has more bytes than it may have.
            OSError: it cannot be read.
        """
        path = local_path(location)
        with path.open("rb") as file:
            # Not every file says how large it is.
            data = file.read(max_size + 1)
        if len(data) > max_size:
            raise RepositoryError(
                f"the {what} {path} is larger than {max_size} bytes",
                hint="check the path; this is something else",
            )
        self.read[str(path)] = hashlib.sha256(data).hexdigest()
        return data

    def _local(self, location: str, what: str, max_size: int) -> bytes:
        path = local_path(location)
        try:
            return self.local(location, what, max_size)
        except OSError as error:
            raise RepositoryError(
                f"the {what} {path} cannot be read: {error.strerror}",
                hint="paths count from the working directory",
            ) from error

    async def remote(
        self, url: str, what: str, max_size: int, *, kind: str = "documents", trust: str = ""
    ) -> Document:
        """What a server has at a URL now, or the cache where that is the same or this is offline.

        Args:
            url: where.
            what: what it is, for messages.
            max_size: most bytes it may have.
            kind: of entries of the cache.
            trust: entries for other values are other entries.

        Raises:
            RepositoryError, HttpError: it cannot be had.
        """
        self.asked = True
        text = f"{url}\0{trust}" if trust else url
        key = hashlib.sha256(text.encode()).hexdigest()
        meta, cached = await asyncio.to_thread(self._cached, kind, key)
        if self._offline:
            if cached is None:
                raise RepositoryError(
                    f"the {what} {public_url(url)} is not in the cache, and this build is offline",
                    hint="build once without --offline, use a lock file, or name a local file",
                )
            return Document(cached, public_url(url))
        try:
            answer = await self._http.get(
                url,
                max_size=max_size,
                headers=self._logins.headers(url),
                etag=meta.get("etag"),
                last_modified=meta.get("last_modified"),
            )
        except HttpError as error:
            raise hinted(error) from error.__cause__
        if not isinstance(answer, NotModified):
            fresh = {
                "etag": answer.headers.get("ETag"),
                "last_modified": answer.headers.get("Last-Modified"),
            }
            return Document(answer.body, public_url(answer.url), (kind, key), fresh)
        if cached is None:
            raise RepositoryError(f"{public_url(url)} answered 304 to a plain request")
        return Document(cached, public_url(url))

    async def keep(self, document: Document) -> None:
        """Put what was read into the cache, where it is not there already."""
        if document.place is not None:
            await asyncio.to_thread(self._keep, document)

    def _cached(self, kind: str, key: str) -> tuple[dict[str, str], bytes | None]:
        try:
            data = self._store.path(kind, key).read_bytes()
            head, _, body = data.partition(b"\n")
            meta = json.loads(head)
            intact = hashlib.sha256(body).hexdigest() == meta.pop("sha256")
        except FileNotFoundError:
            return {}, None
        except (OSError, ValueError, KeyError):
            intact = False
        if not intact:
            self._store.remove(self._store.path(kind, key))
            return {}, None
        return {k: v for k, v in meta.items() if v}, body

    def _keep(self, document: Document) -> None:
        assert document.place is not None  # noqa: S101  (``keep`` looked)
        body = document.data
        meta = {**document.validators, "sha256": hashlib.sha256(body).hexdigest()}
        target = self._store.path(*document.place)
        file = self._store.scratch() / "file"
        with storage_errors(f"writing to the cache {self._store.root}"):
            file.write_bytes(json.dumps(meta).encode() + b"\n" + body)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
