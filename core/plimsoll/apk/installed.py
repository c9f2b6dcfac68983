"""The database of installed packages that ``apk`` keeps in an image: ``usr/lib/apk/db``.

``installed`` holds one record for each package: its fields, then its directories (``F:``) and
their files (``R:``) with what differs from the defaults (``M:``, ``a:``) and hashes (``Z:``).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.apk.records import IndexEntry, parse_checksum, parse_fields
from plimsoll.apk.tarfmt import Header, TarReader, Type
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PERMISSIONS = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-7]{1,5})")
_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644


class InstalledFormatError(Error):
    """An installed database that breaks the format."""

    reason = "InvalidInstalledDatabase"


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """A file, link or directory that a package owns.

    Attributes:
        path: relative to the root.
        directory: whether it is one; links count as files.
        sha1: hash of its content, of a symbolic link's target; empty if unknown.
    """

    path: str
    directory: bool = False
    mode: int = _FILE_MODE
    uid: int = 0
    gid: int = 0
    sha1: bytes = b""

    @property
    def order(self) -> tuple[tuple[bool, str], ...]:
        """Sort key: a directory, its files by name, then its subdirectories by name."""
        *above, name = self.path.split("/")
        return (*((True, part) for part in above), (self.directory, name))


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """One record: a package and what it owns."""

    entry: IndexEntry
    files: tuple[InstalledFile, ...] = ()

    def to_text(self, *, exact: bool = False) -> str:
        """The record with the blank line that ends it; files are put in order.

        Empty fields are written, an empty ``install_if`` as ``[]``, as the tools do that images
        with such a database come from.

        Args:
            exact: put brackets around every ``install_if``, as those tools do; ``apk`` does not
                read that.

        Raises:
            InstalledFormatError: a field or a path holds a line break.
        """
        entry = self.entry
        lines = [
            f"P:{entry.name}",
            f"V:{entry.version}",
            f"A:{entry.arch}",
            f"L:{entry.license}",
            f"T:{entry.description}",
            f"o:{entry.origin}",
            f"m:{entry.maintainer}",
            f"U:{entry.url}",
            f"D:{' '.join(entry.depends)}",
            f"p:{' '.join(entry.provides)}",
            *([f"r:{' '.join(entry.replaces)}"] if entry.replaces else []),
            f"c:{entry.commit}",
            f"i:[{' '.join(entry.install_if)}]"
            if exact or not entry.install_if
            else f"i:{' '.join(entry.install_if)}",
            f"t:{entry.build_time}",
            f"S:{entry.size}",
            f"I:{entry.installed_size}",
            f"k:{entry.provider_priority}",
            *([f"C:{entry.checksum_text}"] if entry.checksum else []),
            *_file_lines(self.files),
        ]
        if any("\n" in line for line in lines):
            raise InstalledFormatError(
                f"package {entry.name} has a line break in a field or a file name",
                hint="such a package cannot be recorded; leave it out",
            )
        return "\n".join((*lines, "", ""))


def parse_installed(text: str, *, source: str = "installed") -> list[InstalledPackage]:
    """Read an ``installed`` file.

    Raises:
        InstalledFormatError, IndexFormatError: with the line that is wrong.
    """
    return [_record(record, source) for record in re.split(r"\n\n+", text.strip("\n")) if record]


def parse_permissions(text: str) -> tuple[int, int, int]:
    """Uid, gid and mode of ``uid:gid:octal``.

    Raises:
        InstalledFormatError: it has another form.
    """
    match = _PERMISSIONS.fullmatch(text)
    if match is None:
        raise InstalledFormatError(
            f"{text[:80]!r} is not uid:gid:mode", hint="write it as 0:0:0755"
        )
    return int(match[1]), int(match[2]), int(match[3], 8)


def write_scripts(
    packages: Iterable[tuple[IndexEntry, Mapping[str, bytes]]], mtime: int | None = None
) -> bytes:
    """``scripts.tar``: every package's scripts (``.post-install`` → content), in their order.

    Args:
        packages: with their scripts.
        mtime: of all; the build time of their package where it is not given.
    """
    out = bytearray()
    for entry, scripts in packages:
        for script, content in scripts.items():
            header = Header(
                name=f"{entry.name}-{entry.version}.{entry.checksum_text}{script}",
                type=Type.FILE,
                mode=0o755,
                size=len(content),
                mtime=entry.build_time if mtime is None else mtime,
                uname="root",
                gname="root",
            )
            out += encode_header(header) + content + padding(len(content))
    return bytes(out + END)


def read_scripts(data: bytes, *, source: str = "scripts.tar") -> dict[str, bytes]:
    """Member name → script.

    Raises:
        TarError: it is no sound tar.
    """
    return {e.header.name: bytes(e.read()) for e in TarReader([data], source)}


def write_triggers(packages: Iterable[tuple[IndexEntry, Iterable[str]]]) -> str:
    """``triggers``: one line for each package that watches directories."""
    return "".join(
        f"{entry.checksum_text} {' '.join(paths)}\n" for entry, paths in packages if paths
    )


def read_triggers(text: str, *, source: str = "triggers") -> dict[bytes, tuple[str, ...]]:
    """Package checksum → directories (globs) it watches.

    Raises:
        IndexFormatError: a checksum is none.
    """
    found = {}
    for line in text.splitlines():
        checksum, _, paths = line.partition(" ")
        if line:
            found[parse_checksum(checksum, source)] = tuple(paths.split())
    return found


def _file_lines(files: Iterable[InstalledFile]) -> list[str]:
    lines: list[str] = []
    folder: str | None = None
    for file in sorted(files, key=lambda f: f.order):
        owner = f"{file.uid}:{file.gid}"
        if file.directory:
            folder = file.path
            lines.append(f"F:{folder}")
            if (file.mode, owner) != (_DIRECTORY_MODE, "0:0"):
                lines.append(f"M:{owner}:{file.mode:04o}")
            continue
        parent, _, name = file.path.rpartition("/")
        if parent != folder:
            folder = parent
            lines.append(f"F:{folder}")
        lines.append(f"R:{name}")
        if (file.mode, owner) != (_FILE_MODE, "0:0"):
            lines.append(f"a:{owner}:{file.mode:04o}")
        if file.sha1:
            lines.append(f"Z:Q1{base64.b64encode(file.sha1).decode()}")
    return lines


def _record(record: str, source: str) -> InstalledPackage:
    fields: dict[str, str] = {}
    files: list[InstalledFile] = []
    folder = ""
    for line in record.split("\n"):
        letter, colon, value = line.partition(":")
        if not colon or len(letter) != 1:
            raise _bad(source, record, f"the line {line[:80]!r}")
        if letter == "F":
            folder = value
            if folder:
                files.append(InstalledFile(folder, directory=True, mode=_DIRECTORY_MODE))
        elif letter == "R":
            files.append(InstalledFile(f"{folder}/{value}" if folder else value))
        elif letter in "MaZ":
            _amend(files, letter, value, source, record, top=not folder)
        elif letter in fields:
            raise _bad(source, record, f"two {letter}: lines")
        else:
            bracketed = letter == "i" and value.startswith("[") and value.endswith("]")
            fields[letter] = value[1:-1] if bracketed else value
    return InstalledPackage(parse_fields(fields, source, record.encode()), tuple(files))


def _amend(  # noqa: PLR0913  (where it belongs, and what an error says)
    files: list[InstalledFile], letter: str, value: str, source: str, record: str, *, top: bool
) -> None:
    """Apply an ``M:``, ``a:`` or ``Z:`` line to the directory or file before it."""
    if letter == "M" and top:
        raise _bad(source, record, "an M entry, which cannot be associated with top level dir,")
    if not files or files[-1].directory is not (letter == "M"):
        raise _bad(source, record, f"an {letter}: line with nothing before it to belong to")
    last = files[-1]
    uid, gid, mode, sha1 = last.uid, last.gid, last.mode, last.sha1
    if letter == "Z":
        sha1 = parse_checksum(value, source, record.encode())
    else:
        uid, gid, mode = parse_permissions(value)
    files[-1] = InstalledFile(last.path, last.directory, mode, uid, gid, sha1)


def _bad(source: str, record: str, what: str) -> InstalledFormatError:
    match = re.search(r"^P:(.*)$", record, re.MULTILINE)
    where = f" (package {match[1][:80]})" if match else ""
    return InstalledFormatError(
        f"{source}{where} has {what} in a record", hint="the database is damaged"
    )
