"""Packages and indexes on disk: sign, index."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.apk.gz import CHUNK, inflate_member
from plimsoll.apk.index import MAX_INDEX_SIZE, IndexEntry, read_index
from plimsoll.apk.package import verify_package
from plimsoll.apk.tarfmt import TarReader
from plimsoll.apk.writer import sign_section, write_index
from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plimsoll.apk.keys import SigningKey
    from plimsoll.arch import Arch

_MAX_SIGNATURE = 1 << 20


class IndexUpdateError(Error):
    """An index that cannot be made of these packages."""

    reason = "InvalidIndex"


def sign_package(path: Path, key: SigningKey) -> None:
    """Put a signature before a package's control section; one that is there is replaced.

    Raises:
        Error: it is no sound package.
    """
    package = verify_package(path, checksum=None)
    with path.open("rb") as file:
        file.seek(package.control.start)
        control = file.read(package.control.end - package.control.start)
        section = sign_section(control, key, package.info.build_time)

        def write(fd: int) -> None:
            file.seek(package.control.start)
            _write_all(fd, section)
            while block := file.read(CHUNK):
                _write_all(fd, block)

        _replace(path, write)


def sign_index_file(path: Path, key: SigningKey, *, replace: bool = False) -> None:
    """Put a signature before an index.

    Args:
        path: the index.
        key: what signs.
        replace: take the place of a signature that is there.

    Raises:
        IndexUpdateError: it has a signature.
        Error: it is no sound index.
    """
    data = path.read_bytes()
    read_index(data, None, source=str(path))
    start = _signature_end(data, str(path))
    if start and not replace:
        raise IndexUpdateError(
            f"{path} is signed already", hint="--force replaces the signature that is there"
        )
    body = data[start:]
    _replace(path, lambda fd: _write_all(fd, sign_section(body, key) + body))


def update_index(  # noqa: PLR0913  (each is one choice of a person)
    output: Path,
    packages: Iterable[Path],
    *,
    source: Path | None = None,
    arch: Arch | None = None,
    description: str = "",
    key: SigningKey | None = None,
) -> int:
    """Write an index of packages, and of those that another index lists.

    A package takes the place of one with its name and version.

    Args:
        output: where to.
        packages: ``.apk`` files; each is verified.
        source: index to begin with.
        arch: leave out packages of other architectures.
        description: what the index says about itself.
        key: signs it.

    Returns:
        How many packages it has.

    Raises:
        Error: a package or the index to begin with is not sound.
    """
    entries: dict[tuple[str, str], IndexEntry] = {}
    if source is not None:
        old = read_index(source.read_bytes(), None, source=str(source))
        entries = {(entry.name, entry.version): entry for entry in old.entries()}
        description = description or old.description
    for path in packages:
        entry = entry_of(path)
        if arch is None or entry.arch in {arch.apk, "noarch"}:
            entries[entry.name, entry.version] = entry
    data = write_index(entries.values(), description, key)
    _replace(output, lambda fd: _write_all(fd, data))
    return len(entries)


def entry_of(path: Path) -> IndexEntry:
    """What an index says of a package file, all of whose hashes are verified.

    Raises:
        Error: it is no sound package.
    """
    package = verify_package(path, checksum=None)
    return package.info.index_entry(package.control.sha1, path.stat().st_size)


def _signature_end(data: bytes, source: str) -> int:
    """Where the signature of an index ends, 0 if it has none."""
    content, end = inflate_member(memoryview(data), source, MAX_INDEX_SIZE)
    if len(content) > _MAX_SIGNATURE:
        return 0
    first = next(iter(TarReader([content], source)), None)
    return end if first is not None and first.header.name.startswith(".SIGN.") else 0


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _replace(path: Path, write: Callable[[int], None]) -> None:
    """Write a file in full or not at all."""
    with storage_errors(f"writing {path}"):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            try:
                write(descriptor)
            finally:
                os.close(descriptor)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
