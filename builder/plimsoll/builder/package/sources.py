"""Sources of a package in a folder that builds find as ``/var/cache/melange``."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from plimsoll.builder.concurrently import run_all
from plimsoll.builder.store import storage_errors
from plimsoll.oci.digest import digest_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from plimsoll.builder.package.compile import Source
    from plimsoll.http import Http

MAX_SOURCE = 8 << 30
_ALGORITHMS = ("sha256", "sha512")
_PARALLEL = 4


async def cache_sources(
    http: Http,
    sources: Iterable[Source],
    folder: Path,
    say: Callable[[str], None],
    headers: Callable[[str], Mapping[str, str]] | None = None,
) -> list[Path]:
    """Fetch what ``fetch`` steps would fetch, each under its checksum.

    What is there already is checked and kept.

    Args:
        http: the client.
        sources: what steps fetch.
        folder: of files by checksum.
        say: gets what happens.
        headers: those to send to a URL, such as a login for its host.

    Returns:
        The files, one for each distinct source.

    Raises:
        HttpError: a source cannot be had, or has another checksum.
        StorageError: the folder cannot be written.
    """
    wanted = _wanted(sources)
    await asyncio.to_thread(_make, folder)
    slots = asyncio.Semaphore(_PARALLEL)

    async def one(digest: str, uri: str) -> Path:
        path = folder / digest
        async with slots:
            if await asyncio.to_thread(_is_sound, path, digest):
                say(f"{uri}: there already")
                return path
            say(f"{uri}: fetching")
            more = headers(uri) if headers else None
            await http.download(uri, path, max_size=MAX_SOURCE, digest=digest, headers=more)
            return path

    return await run_all(one(digest, uri) for digest, uri in wanted.items())


def preload(sources: Iterable[Source], store: Path, folder: Path) -> list[Path]:
    """Copy sources from a folder of checksums; what is not there, or not sound, is left out.

    Raises:
        StorageError: a file cannot be copied.
    """
    _make(folder)
    done = []
    for digest in _wanted(sources):
        if _is_sound(store / digest, digest) and not _is_sound(folder / digest, digest):
            with storage_errors(f"copying {store / digest}"):
                temporary = folder / f".{digest}"
                shutil.copyfile(store / digest, temporary)
                temporary.replace(folder / digest)
            done.append(folder / digest)
    return done


def _wanted(sources: Iterable[Source]) -> dict[str, str]:
    """Checksum → address."""
    wanted: dict[str, str] = {}
    for source in sources:
        for algorithm in _ALGORITHMS:
            value = source.inputs.get(f"expected-{algorithm}")
            if source.uses == "fetch" and value:
                wanted.setdefault(f"{algorithm}:{value}", source.inputs["uri"])
                break
    return wanted


def _make(folder: Path) -> None:
    with storage_errors(f"making the folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)


def _is_sound(path: Path, digest: str) -> bool:
    return path.is_file() and digest_file(path, digest.partition(":")[0]) == digest
