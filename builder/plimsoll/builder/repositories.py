"""Reading APK repositories: which there are, their keys, their verified indexes.

An index is verified each time it is opened, from the network or from the cache, and the cache is
keyed by the keys that verify it: what one keyring let in is never shown to another.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from plimsoll.apk.index import MAX_INDEX_SIZE, Index, UnknownSignerError, read_index
from plimsoll.apk.keys import Keyring
from plimsoll.apk.solver import RepositoryIndex
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.documents import Document, Documents
from plimsoll.builder.repository import (
    Key,
    NoRepositoryError,
    Repository,
    RepositoryError,
    is_url,
    key_name,
    local_path,
    no_index,
    no_key,
    parse_repository,
)
from plimsoll.errors import Error
from plimsoll.http import Http, HttpError, public_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from plimsoll.api.imagecontents import Contents
    from plimsoll.api.steps import RepositorySource
    from plimsoll.arch import Arch
    from plimsoll.builder.logins import Logins
    from plimsoll.builder.store import Store

MAX_KEY = 64 << 10
#: Bytes of signatures before an index, and of what gzip adds to what cannot be compressed.
_SIGNATURE = 1 << 20
#: ``off``: publishers are never asked for their keys.
DISCOVERY = "PLIMSOLL_KEY_DISCOVERY"


class Repositories:
    """Fetches keys and indexes.

    Args:
        http: connections.
        store: the cache directory.
        logins: for servers that ask for one.
        offline: use only what is cached or local.
        max_index_size: most bytes an index may inflate to.
        max_download: most bytes an index may have as it is sent.
        discover: whether publishers are asked for the keys of repositories that no known key
            signed; ``PLIMSOLL_KEY_DISCOVERY=off`` says no in any case.
        say: told of each repository that is trusted by its publisher's word.
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
        discover: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._documents = Documents(http, store, logins, offline=offline)
        self._max_index_size = max_index_size
        # What is inflated stands in memory, and nothing is larger as it is sent.
        self._max_download = min(max_download, max_index_size + _SIGNATURE)
        self._discover = discover and os.environ.get(DISCOVERY, "") != "off"
        self._say = say
        #: Keys that publishers announced for repositories that no other key signed, by name.
        self.discovered: dict[str, Key] = {}

    @property
    def read(self) -> dict[str, str]:
        """Local files that were read: path → SHA-256 (hex) of what was in them."""
        return self._documents.read

    @property
    def asked(self) -> bool:
        """Whether anything was asked of a server, or of what the cache has of it."""
        return self._documents.asked

    @asked.setter
    def asked(self, value: bool) -> None:
        self._documents.asked = value

    async def keys(self, locations: Iterable[str]) -> list[Key]:
        """Read the configuration's keyring.

        Raises:
            RepositoryError, HttpError: a key cannot be had, or two have one name.
        """
        found: dict[str, Key] = {}
        for location in dict.fromkeys(locations):
            name = key_name(location)
            pem = (await self._key(location)).decode(errors="replace")
            known = found.setdefault(name, Key(name, location, pem))
            if known.pem.split() != pem.split():
                raise RepositoryError(
                    f"{public_url(known.location)} and {public_url(location)} are different keys "
                    f"named {name}",
                    hint="an image has one key of each name, and indexes name the key that signed "
                    "them: leave one out, or let its repository be signed under another name",
                )
        return list(found.values())

    async def _key(self, location: str) -> bytes:
        return await self._documents.small(location, "key", MAX_KEY)

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
        tags = {repository.tag for repository in result}
        for text in contents.packages:
            _, at, tag = text.partition("@")
            if at and tag not in tags:
                self._say(f"{text}: no repository has the tag {tag}, so any may serve it")
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
        async with self._documents.alone(repository.index_location(arch)):
            document = await self._document(repository, arch)
            try:
                index = await asyncio.to_thread(self._read, document, repository.keyring)
            except UnknownSignerError as error:
                keyring = await self._announced(repository, arch, error)
                index = await asyncio.to_thread(self._read, document, keyring)
            await self._documents.keep(document)
        return RepositoryIndex(repository.url, index, repository.tag)

    async def _document(self, repository: Repository, arch: Arch) -> Document:
        location = repository.index_location(arch)
        if not is_url(location):
            path = local_path(location)
            try:
                data = await asyncio.to_thread(
                    self._documents.local, location, "index", self._max_download
                )
                return Document(data, str(path))
            except FileNotFoundError:
                raise no_index(repository.url, arch, f"{path} does not exist") from None
            except OSError as error:
                raise RepositoryError(f"{path} cannot be read: {error.strerror}") from error
        trust = repository.keyring.fingerprint if repository.keyring is not None else "unsigned"
        try:
            return await self._documents.remote(
                location, "index", self._max_download, kind="indexes", trust=trust
            )
        except HttpError as error:
            if error.status != 404:
                raise
            raise no_index(repository.url, arch, f"{public_url(location)} answered 404") from None

    def _read(self, document: Document, keyring: Keyring | None) -> Index:
        return read_index(
            document.data, keyring, source=document.source, max_size=self._max_index_size
        )

    async def _announced(
        self, repository: Repository, arch: Arch, unknown: UnknownSignerError
    ) -> Keyring:
        """The keys that the publisher of a repository announces, where no known key signed it.

        Raises:
            RepositoryError, DiscoveryError, HttpError: there are none.
            UnknownSignerError: there are none, and the configuration names other keys.
        """
        if not self._discover or not repository.url.startswith(("http:", "https:")):
            raise no_key(repository.url) if repository.lacks_key else unknown
        from plimsoll.builder.discovery import discover_keys  # noqa: PLC0415  (most name keys)

        async def fetch(url: str, max_size: int) -> bytes:
            return await self._documents.small(url, "announced key", max_size)

        try:
            found = await discover_keys(fetch, repository.url, arch)
        except Error as error:
            if repository.lacks_key:
                raise
            unknown.hint = (
                f"{unknown.hint}; the publisher announces none that could be used: {error.message}"
            )
            raise unknown from error
        if not found:
            raise no_key(repository.url) if repository.lacks_key else unknown
        self._say(
            f"{public_url(repository.url)} is verified with the keys that its publisher announces: "
            f"{', '.join(found)}"
        )
        for name, pem in found.items():
            if repository.keyring is not None and name in repository.keyring:
                continue
            known = self.discovered.setdefault(name, Key(name, name, pem))
            if known.pem != pem:
                raise RepositoryError(
                    f"two repositories announce different keys named {name}",
                    hint="name the keys in contents.keyring",
                )
        return Keyring(found)

    async def _source_keys(self, keys: Mapping[str, str]) -> dict[str, str]:
        return {
            name: value
            if "-----BEGIN" in value
            else (await self._key(value)).decode(errors="replace")
            for name, value in keys.items()
        }
