"""Libraries in Java archives, also in archives within them."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARCHIVE = re.compile(r".+\.(?:jar|war|ear|jpi|hpi|aar)", re.IGNORECASE)
_PROPERTIES = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.properties")
_VERSIONED = re.compile(r"(?P<name>.+?)-(?P<version>[0-9][0-9A-Za-z._+-]*)\.[a-z]+")
_MANIFEST = "META-INF/MANIFEST.MF"
MAX_MEMBERS = 100_000
MAX_DEPTH = 3
_MAX_TEXT = 1 << 20
#: Bytes of all archives within one that are unpacked.
_MAX_NESTED = 256 << 20
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError,
    NotImplementedError, KeyError,
)  # fmt: skip


def is_archive(path: str) -> bool:
    """Whether a name is that of a Java archive."""
    return bool(_ARCHIVE.fullmatch(path))


def libraries(file: BinaryIO, path: str) -> Iterator[tuple[str, str, str]]:
    """What an archive holds: ``group:artifact`` (or a bare name), version, path.

    Broken archives hold nothing. The Maven coordinates of ``pom.properties`` are taken if there are
    any, else the manifest, else the file's name.
    """
    yield from _Reader().archive(file, path, 0)


class _Reader:
    def __init__(self) -> None:
        self._left = _MAX_NESTED

    def archive(self, file: BinaryIO, path: str, depth: int) -> Iterator[tuple[str, str, str]]:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()[:MAX_MEMBERS]
                found = [x for m in members if (x := self._member(archive, m))]
                found = found or _described(archive, path)
                nested = [m for m in members if is_archive(m.filename) and depth < MAX_DEPTH]
                yield from ((name, version, path) for name, version in found)
                for member in nested:
                    if member.file_size > self._left:
                        continue
                    content = archive.open(member).read(member.file_size + 1)
                    self._left -= len(content)
                    inner = f"{path}!/{member.filename}"
                    yield from self.archive(io.BytesIO(content), inner, depth + 1)
        except _ZIP_ERRORS:
            return

    @staticmethod
    def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, str] | None:
        if not _PROPERTIES.fullmatch(member.filename):
            return None
        values = {}
        for line in _text(archive, member).splitlines():
            key, _, value = line.partition("=")
            values[key.strip()] = value.strip()
        group, artifact = values.get("groupId", ""), values.get("artifactId", "")
        return (f"{group}:{artifact}", values.get("version", "")) if group and artifact else None


def _described(archive: zipfile.ZipFile, path: str) -> list[tuple[str, str]]:
    """Name and version by the manifest, and by the file's name where that says nothing."""
    by_name = _VERSIONED.fullmatch(re.split(r"[/!]", path)[-1])
    headers: dict[str, str] = {}
    try:
        # Long lines go on in the next one, behind a space (JAR file specification).
        text = re.sub(r"\r?\n ", "", _text(archive, archive.getinfo(_MANIFEST)))
    except KeyError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        headers.setdefault(key.strip(), value.strip())
    name = headers.get("Bundle-SymbolicName", "").partition(";")[0] or (
        by_name["name"] if by_name else headers.get("Implementation-Title", "")
    )
    version = (
        headers.get("Implementation-Version")
        or headers.get("Bundle-Version")
        or (by_name["version"] if by_name else "")
    )
    return [(name, version)] if name and version else []


def _text(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    with archive.open(member) as file:
        return file.read(_MAX_TEXT).decode(errors="replace")
