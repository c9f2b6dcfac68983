"""Reading APK repositories: which there are, their keys, their verified indexes.

An index is verified each time it is opened, from the network or from the cache, and the cache is
keyed by the keys that verify it: what one keyring let in is never shown to another.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plimsoll.apk.index import MAX_INDEX_SIZE, Index, read_index
from plimsoll.apk.keys import Keyring
from plimsoll.apk.solver import RepositoryIndex
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.repository import (
    Key,
    NoRepositoryError,
    Repository,
    RepositoryError,
    hinted,
    is_url,
    local_path,
    no_index,
    no_key,
    parse_repository,
)
from plimsoll.builder.store import Store, storage_errors
from plimsoll.http import Http, HttpError, NotModified, public_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from plimsoll.api.image import Contents
    from plimsoll.api.steps import RepositorySource
    from plimsoll.arch import Arch
    from plimsoll.builder.logins import Logins

MAX_KEY = 64 << 10


class Repositories:
    """Fetches keys and indexes.

    Args:
        http: connections.
        store: the cache directory.
        logins: for hosts that ask for one.
        offline: use only what is cached or local.
        max_index_size: most bytes an index may inflate to.
        max_download: most bytes an index may have as it is sent.
    """

    def __init__(  # noqa: PLR0913  (settings, by name)
        self,
        http: Http,
        store: Store,
        logins: Logins,
        *,
        offline: bool = False,
        max_index_size: int = MAX_INDEX_SIZE,
        max_download: int = MAX_INDEX_SIZE,
    ) -> None:
        self._http = http
        self._store = store
        self._logins = logins
        self._offline = offline
        self._max_index_size = max_index_size
        self._max_download = max_download
        #: Keys that publishers announced for repositories without a key, by name.
        self.discovered: dict[str, Key] = {}
        #: Local files that were read: path → SHA-256 (hex) of what was in them.
        self.read: dict[str, str] = {}
        #: Whether anything was asked of a server, or of what the cache has of it.
        self.asked = False

    async def keys(self, locations: Iterable[str]) -> list[Key]:
        """Read the configuration's keyring.

        Raises:
            RepositoryError, HttpError: a key cannot be had.
        """
        found = []
        for location in dict.fromkeys(locations):
            name = (urlsplit(location).path if is_url(location) else location).rpartition("/")[2]
            pem = await self._document(location, "key", MAX_KEY)
            found.append(Key(name, location, pem.decode(errors="replace")))
        return found

    async def open(
        self,
        contents: Contents,
        keys: Sequence[Key],
        sources: Sequence[RepositorySource] = (),
        *,
        ignore_signatures: bool = False,
    ) -> list[Repository]:
        """The repositories of a build: those of the configuration, then ``sources``.

        A source's own keys count for that source only.

        Raises:
            NoRepositoryError: there is none.
            RepositoryError, HttpError, KeyFormatError: a key cannot be had or is none.
        """
        shared = Keyring({key.name: key.pem for key in keys})
        result = []
        for text in [*contents.build_repositories, *contents.repositories]:
            url, tag = parse_repository(text)
            result.append(Repository(url, None if ignore_signatures else shared, tag))
        for source in sources:
            url, tag = parse_repository(source.url)
            own = Keyring(await self._source_keys(source.keys))
            keyring = None if ignore_signatures else shared.merged(own)
            result.append(Repository(url, keyring, tag))
        if not result and contents.packages:
            raise NoRepositoryError(
                "there are packages to install and no repository to take them from",
                hint="add contents.repositories, or use --repository-append",
            )
        for repository in result:
            if repository.lacks_key and not repository.url.startswith(("http:", "https:")):
                raise no_key(repository.url)
        return result

    async def indexes(
        self, repositories: Sequence[Repository], archs: Iterable[Arch]
    ) -> dict[Arch, list[RepositoryIndex]]:
        """The verified indexes of all repositories for each architecture, fetched together.

        Raises:
            RepositoryError, HttpError: an index cannot be had.
            IndexSignatureError, IndexFormatError: it is not what a known key signed.
        """
        archs = list(archs)
        wanted = [(repository, arch) for arch in archs for repository in repositories]
        found = await run_all(self._index(repository, arch) for repository, arch in wanted)
        result: dict[Arch, list[RepositoryIndex]] = {arch: [] for arch in archs}
        for (_, arch), index in zip(wanted, found, strict=True):
            result[arch].append(index)
        return result

    async def _index(self, repository: Repository, arch: Arch) -> RepositoryIndex:
        location = repository.index_location(arch)
        if repository.lacks_key:
            self.asked = True
            repository = replace(repository, keyring=await self._discover(repository.url, arch))
        if is_url(location):
            index = await self._remote_index(repository, arch, location)
        else:
            path = local_path(location)
            index = await asyncio.to_thread(self._local_index, path, repository, arch)
        return RepositoryIndex(repository.url, index, repository.tag)

    def _local_index(self, path: Path, repository: Repository, arch: Arch) -> Index:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise no_index(repository.url, arch, f"{path} does not exist") from None
        except OSError as error:
            raise RepositoryError(f"{path} cannot be read: {error.strerror}") from error
        self.read[str(path)] = hashlib.sha256(data).hexdigest()
        return self._read(data, repository, str(path))

    async def _remote_index(self, repository: Repository, arch: Arch, url: str) -> Index:
        self.asked = True
        trust = repository.keyring.fingerprint if repository.keyring is not None else "unsigned"
        key = hashlib.sha256(f"{url}\0{trust}".encode()).hexdigest()
        meta, cached = await asyncio.to_thread(self._cached, "indexes", key)
        if self._offline:
            if cached is None:
                raise RepositoryError(
                    f"{public_url(url)} is not in the cache, and this build is offline",
                    hint="build once without --offline, or use a lock file",
                )
            return await asyncio.to_thread(self._read, cached, repository, public_url(url))
        try:
            answer = await self._http.get(
                url,
                max_size=self._max_download,
                headers=self._logins.headers(url),
                etag=meta.get("etag"),
                last_modified=meta.get("last_modified"),
            )
        except HttpError as error:
            if error.status == 404:
                raise no_index(repository.url, arch, f"{public_url(url)} answered 404") from None
            raise hinted(error) from error
        if isinstance(answer, NotModified) and cached is not None:
            return await asyncio.to_thread(self._read, cached, repository, public_url(url))
        if isinstance(answer, NotModified):
            raise RepositoryError(f"{public_url(url)} answered 304 to a plain request")
        index = await asyncio.to_thread(self._read, answer.body, repository, public_url(url))
        fresh = {
            "etag": answer.headers.get("ETag"),
            "last_modified": answer.headers.get("Last-Modified"),
        }
        await asyncio.to_thread(self._keep, "indexes", key, fresh, answer.body)
        return index

    def _read(self, data: bytes, repository: Repository, source: str) -> Index:
        return read_index(data, repository.keyring, source=source, max_size=self._max_index_size)

    async def _discover(self, url: str, arch: Arch) -> Keyring:
        """The keys that the repository's publisher announces, kept for offline builds.

        Raises:
            RepositoryError: there are none.
            DiscoveryError, HttpError: they cannot be had.
        """
        from plimsoll.builder.discovery import discover_keys  # noqa: PLC0415  (most name keys)

        name = hashlib.sha256(f"keys of {url} for {arch}".encode()).hexdigest()
        if self._offline:
            cached = (await asyncio.to_thread(self._cached, "documents", name))[1]
            found: dict[str, str] = json.loads(cached or b"{}")
        else:
            found = await discover_keys(self._http, self._logins, url, arch)
            data = json.dumps(found).encode()
            await asyncio.to_thread(self._keep, "documents", name, {}, data)
        if not found:
            raise no_key(url)
        for key, pem in found.items():
            known = self.discovered.setdefault(key, Key(key, key, pem))
            if known.pem != pem:
                raise RepositoryError(
                    f"two repositories announce different keys named {key}",
                    hint="name the keys in contents.keyring",
                )
        return Keyring(found)

    async def _source_keys(self, keys: Mapping[str, str]) -> dict[str, str]:
        found = {}
        for name, value in keys.items():
            if "-----BEGIN" not in value:
                value = (await self._document(value, "key", MAX_KEY)).decode(errors="replace")  # noqa: PLW2901  (a URL becomes what it names)
            found[name] = value
        return found

    async def _document(self, location: str, what: str, max_size: int) -> bytes:
        """A small file from a path, or from a URL and then kept for offline builds."""
        if not is_url(location):
            path = local_path(location)
            try:
                if path.stat().st_size > max_size:
                    raise RepositoryError(f"the {what} {path} is larger than {max_size} bytes")
                data = path.read_bytes()
            except OSError as error:
                raise RepositoryError(
                    f"the {what} {path} cannot be read: {error.strerror}",
                    hint="paths count from the working directory",
                ) from error
            self.read[str(path)] = hashlib.sha256(data).hexdigest()
            return data
        self.asked = True
        key = hashlib.sha256(location.encode()).hexdigest()
        if self._offline:
            cached = self._cached("documents", key)[1]
            if cached is None:
                raise RepositoryError(
                    f"the {what} {public_url(location)} is not in the cache, and this build is "
                    "offline",
                    hint="build once without --offline, or name a local file",
                )
            return cached
        data = await self._http.get_bytes(
            location, max_size=max_size, headers=self._logins.headers(location)
        )
        await asyncio.to_thread(self._keep, "documents", key, {}, data)
        return data

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

    def _keep(self, kind: str, key: str, meta: Mapping[str, str | None], body: bytes) -> None:
        head = json.dumps({**meta, "sha256": hashlib.sha256(body).hexdigest()}).encode()
        target = self._store.path(kind, key)
        file = self._store.scratch() / "file"
        with storage_errors(f"writing to the cache {self._store.root}"):
            file.write_bytes(head + b"\n" + body)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
