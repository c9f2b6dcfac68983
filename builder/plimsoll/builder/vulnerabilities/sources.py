"""Reading databases and feeds: from files, folders, zip archives and URLs, within limits."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from plimsoll.builder.store import storage_errors
from plimsoll.builder.vulnerabilities.model import VulnerabilityDataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plimsoll.http import Http

#: Most bytes of a feed as it is fetched.
MAX_FEED = 1 << 30
_MAX_RECORD = 32 << 20
_MAX_UNPACKED = 8 << 30
_MAX_RECORDS = 2_000_000


@dataclass(frozen=True, slots=True)
class Feed:
    """The bytes of a database: of a file or a URL, or a folder of records.

    Attributes:
        location: as it was given.
        data: a file's content; ``None`` for a folder.
        digest: ``sha256:…`` of the content.
    """

    location: str
    data: bytes | None
    digest: str

    def records(self) -> Iterator[Any]:
        """Its JSON documents, one after another; a list counts as its items. Blocks.

        Raises:
            VulnerabilityDataError: one is no JSON, or there is too much.
            StorageError: a file cannot be read.
        """
        count = size = 0
        for name, text in self._texts():
            count, size = count + 1, size + len(text)
            if count > _MAX_RECORDS or size > _MAX_UNPACKED:
                raise VulnerabilityDataError(f"{self.location} holds too much")
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                raise VulnerabilityDataError(
                    f"{name} is no JSON", hint="give a security.json, or OSV records"
                ) from None
            yield from value if isinstance(value, list) else (value,)

    def _texts(self) -> Iterator[tuple[str, bytes]]:
        if self.data is None:
            for path in _files(Path(self.location)):
                with storage_errors(f"reading {path}"), path.open("rb") as file:
                    yield str(path), _bounded(file, str(path))
            return
        if not self.data.startswith(b"PK\x03\x04"):
            yield self.location, self.data
            return
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                for item in archive.infolist():
                    if item.filename.endswith(".json"):
                        name = f"{self.location}: {item.filename[:80]}"
                        with archive.open(item) as file:
                            yield name, _bounded(file, name)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise VulnerabilityDataError(f"{self.location} is no sound archive: {error}") from None


async def read_feed(http: Http, location: str) -> Feed:
    """Fetch or read one database.

    Args:
        http: for URLs.
        location: a file, a folder, or an http(s) URL.

    Raises:
        HttpError: it cannot be fetched, or is too large.
        VulnerabilityDataError, StorageError: there is no such file, or it cannot be read.
    """
    if location.startswith(("https://", "http://")):
        data = await http.get_bytes(location, max_size=MAX_FEED)
        return Feed(location, data, _digest([data]))
    return await asyncio.to_thread(_local, location)


async def read_document(http: Http, location: str) -> bytes:
    """One document of a file or a URL, for example a VEX document.

    Raises:
        VulnerabilityDataError, HttpError, StorageError: it cannot be read.
    """
    data = (await read_feed(http, location)).data
    if data is None:
        raise VulnerabilityDataError(f"{location} is a folder, not a document")
    return data


def _local(location: str) -> Feed:
    path = Path(location)
    if path.is_dir():
        whole = hashlib.sha256()
        with storage_errors(f"reading {path}"):
            for file in _files(path):
                whole.update(hashlib.sha256(file.read_bytes()).digest())
        return Feed(location, None, f"sha256:{whole.hexdigest()}")
    if not path.is_file():
        raise VulnerabilityDataError(
            f"there is no {location}", hint="give a file, a folder of OSV records, or an URL"
        )
    with storage_errors(f"reading {path}"):
        if path.stat().st_size > MAX_FEED:
            raise VulnerabilityDataError(f"{location} is larger than {MAX_FEED} bytes")
        data = path.read_bytes()
    return Feed(location, data, _digest([data]))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.json") if path.is_file())


def _bounded(file: IO[bytes], name: str) -> bytes:
    data = file.read(_MAX_RECORD + 1)
    if len(data) > _MAX_RECORD:
        raise VulnerabilityDataError(f"{name} is larger than {_MAX_RECORD} bytes")
    return data


def _digest(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return f"sha256:{whole.hexdigest()}"
