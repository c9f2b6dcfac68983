"""What is in a base image, in the form in which a file tree takes packages."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from plimsoll.apk.installed import parse_installed, read_scripts, read_triggers
from plimsoll.apk.package import Section
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import Type
from plimsoll.builder.cachedpackage import CachedPackage, FileEntry
from plimsoll.builder.layerfiles import INSTALLED
from plimsoll.builder.node import Node
from plimsoll.builder.segment import Segment
from plimsoll.builder.store import CorruptEntryError
from plimsoll.builder.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from plimsoll.apk.installed import InstalledPackage
    from plimsoll.apk.records import IndexEntry
    from plimsoll.builder.layerfiles import FileView

_TYPES = {"directory": "5", "link": "2", "device": "3", "pipe": "6", "file": "0"}
_CHECKSUM_LENGTH = len("Q1") + 28


@dataclass(frozen=True, slots=True)
class BasePackage(CachedPackage):
    """A package of a base image, or (without a name) everything there that belongs to none.

    It is in the image already, so that there is no segment of it; ``start`` of an entry is only
    a number.

    Attributes:
        tars: the base image's layers, uncompressed.
        layers: ``start`` of an entry → number of the layer that holds it.
    """

    tars: Sequence[Path]
    layers: Mapping[int, int]

    def read(self, entry: FileEntry) -> bytes:
        """Content of a file, checked against its SHA-1; raises ``CorruptEntryError``."""
        path = self.tars[self.layers[entry.start]]
        try:
            with path.open("rb") as file:
                file.seek(entry.data)
                data = file.read(entry.size)
        except OSError as error:
            raise CorruptEntryError(f"{path}: {error.strerror}") from None
        if hashlib.sha1(data, usedforsecurity=False).hexdigest() != entry.sha1:
            raise CorruptEntryError(f"{entry.path} in the base image at {path.parent}")
        return data


def packages_of(
    files: Mapping[str, FileView], database: str, tars: Sequence[Path], source: str
) -> tuple[BasePackage, list[BasePackage]]:
    """What belongs to no package, and the packages, in the order of the database.

    Args:
        files: of the base image.
        database: its list of installed packages.
        tars: its layers, uncompressed.
        source: names it in errors.

    Raises:
        InstalledFormatError: the database is damaged.
        TarError: its scripts are.
    """
    records = parse_installed(database, source=f"the package database of {source}")
    listed = listed_paths(files, records)
    owners = {
        path: number
        for number, paths in enumerate(listed)
        for path in paths
        if files[path].kind != "directory"
    }
    entries: list[list[FileEntry]] = [[] for _ in records]
    layers: dict[int, int] = {}
    rest = []
    for start, (path, view) in enumerate(files.items()):
        entry = _entry(path, view, start)
        layers[start] = view.layer
        holders = (
            [n for n, paths in enumerate(listed) if path in paths] if entry.type == "5" else []
        )
        if path in owners:
            holders = [owners[path]]
        for number in holders:
            entries[number].append(entry._replace(path=listed[number][path]))
        if not holders:
            rest.append(entry)
    others = _package(PackageInfo("", ""), rest, tars, layers)
    scripts = _scripts(others, source)
    triggers = _triggers(others, source)
    return others, [
        replace(
            _package(_info(record.entry), own, tars, layers),
            checksum=record.entry.checksum,
            size=record.entry.size,
            info=replace(_info(record.entry), triggers=triggers.get(record.entry.checksum, ())),
            scripts=scripts.get(_script_prefix(record.entry), {}),
        )
        for record, own in zip(records, entries, strict=True)
    ]


def listed_paths(
    files: Mapping[str, FileView], records: Iterable[InstalledPackage]
) -> list[dict[str, str]]:
    """For each package: path in the image → path as its record has it, which may lead over links.

    A file belongs to the first package that lists it.
    """
    links = _links(files)
    owned: set[str] = set()
    listed = []
    for record in records:
        found = {}
        for file in record.files:
            path = file.path if file.path in files else links.real(file.path)
            if path not in files or path in owned:
                continue
            if not file.directory:
                owned.add(path)
            found[path] = file.path
        listed.append(found)
    return listed


def _links(files: Mapping[str, FileView]) -> Tree:
    """A tree of links alone, which resolves the paths that a database has for files behind them."""
    tree = Tree([])
    for path, view in files.items():
        if view.kind == "link":
            tree.nodes[path] = Node(path, Type.SYMLINK, 0o777, link=view.content)
    return tree


def _entry(path: str, view: FileView, start: int) -> FileEntry:
    return FileEntry(
        path,
        _TYPES[view.kind],
        view.mode,
        view.uid,
        view.gid,
        view.mtime,
        size=view.size if view.kind == "file" else 0,
        start=start,
        data=view.offset,
        sha1=view.sha1,
        link=view.content if view.kind == "link" else "",
    )


def _package(
    info: PackageInfo, entries: Sequence[FileEntry], tars: Sequence[Path], layers: dict[int, int]
) -> BasePackage:
    nothing = Section(0, 0, b"", b"")
    return BasePackage(
        checksum=b"",
        sha256="",
        size=0,
        info=info,
        control=nothing,
        signature=None,
        data_start=0,
        segment=Segment.of(b""),
        entries=tuple(entries),
        scripts={},
        tars=tars,
        layers=layers,
    )


def _info(entry: IndexEntry) -> PackageInfo:
    return PackageInfo(
        name=entry.name,
        version=entry.version,
        arch=entry.arch,
        installed_size=entry.installed_size,
        origin=entry.origin,
        description=entry.description,
        url=entry.url,
        commit=entry.commit,
        maintainer=entry.maintainer,
        build_time=entry.build_time,
        licenses=(entry.license,) if entry.license else (),
        depends=entry.depends,
        provides=entry.provides,
        replaces=entry.replaces,
        install_if=entry.install_if,
        provider_priority=entry.provider_priority,
    )


def _script_prefix(entry: IndexEntry) -> str:
    return f"{entry.name}-{entry.version}.{entry.checksum_text}"


def _scripts(others: BasePackage, source: str) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    data = _database_file(others, "scripts.tar")
    for name, content in read_scripts(data, source=f"scripts.tar of {source}").items():
        end = name.find(".Q1") + 1 + _CHECKSUM_LENGTH
        found.setdefault(name[:end], {})[name[end:]] = content
    return found


def _triggers(others: BasePackage, source: str) -> dict[bytes, tuple[str, ...]]:
    text = _database_file(others, "triggers").decode(errors="replace")
    return read_triggers(text, source=f"triggers of {source}")


def _database_file(others: BasePackage, name: str) -> bytes:
    wanted = [f"{path.rpartition('/')[0]}/{name}" for path in INSTALLED]
    found = {entry.path: entry for entry in others.entries if entry.path in wanted}
    return next((others.read(found[path]) for path in wanted if path in found), b"")
