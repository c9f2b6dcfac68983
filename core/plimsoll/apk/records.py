"""One record of an index: a package as a repository offers it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Names and versions become parts of paths and URLs, so nothing else is let in.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", re.ASCII)
SAFE_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+~:-]*", re.ASCII)
_NAME_LINE = re.compile(rb"^P:(.*)$", re.MULTILINE)


class IndexFormatError(Error):
    """An index that breaks the format."""

    reason = "InvalidIndex"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One package as a repository offers it.

    Attributes:
        checksum: SHA-1 (20 bytes) of the package's compressed control section: ``C:Q1…``.
        size: bytes of the .apk file.
        installed_size: bytes of its files.
        build_time: seconds since the epoch, 0 if unknown.
        depends, provides, install_if, replaces: constraints as written; read them with
            ``Constraint.read``.
    """

    name: str
    version: str
    arch: str = ""
    checksum: bytes = b""
    size: int = 0
    installed_size: int = 0
    description: str = ""
    url: str = ""
    license: str = ""
    origin: str = ""
    maintainer: str = ""
    build_time: int = 0
    commit: str = ""
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    install_if: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    provider_priority: int = 0
    replaces_priority: int = 0

    @property
    def file_name(self) -> str:
        """``name-version.apk``: where it lies beside its index."""
        return f"{self.name}-{self.version}.apk"

    @property
    def checksum_text(self) -> str:
        """The checksum as indexes and locks write it: ``Q1`` and base64."""
        return f"Q1{base64.b64encode(self.checksum).decode()}"

    def to_text(self) -> str:
        """The record in the canonical order of fields, with the blank line that ends it.

        Raises:
            IndexFormatError: a field holds a line break.
        """
        lines = [
            *([f"C:{self.checksum_text}"] if self.checksum else []),
            f"P:{self.name}",
            f"V:{self.version}",
            f"A:{self.arch}",
            f"S:{self.size}",
            f"I:{self.installed_size}",
            f"T:{self.description}",
        ]
        optional = (
            ("U", self.url),
            ("L", self.license),
            ("o", self.origin),
            ("m", self.maintainer),
            ("t", str(self.build_time)),
            ("c", self.commit),
            ("D", " ".join(self.depends)),
            ("i", " ".join(self.install_if)),
            ("p", " ".join(self.provides)),
            ("r", " ".join(self.replaces)),
            ("k", str(self.provider_priority or "")),
            ("q", str(self.replaces_priority or "")),
        )
        lines += [f"{letter}:{value}" for letter, value in optional if value]
        if any("\n" in line for line in lines):
            raise IndexFormatError(
                f"package {self.name} has a line break in a field",
                hint="write its description and maintainer in one line",
            )
        return "\n".join((*lines, "", ""))


def parse_record(record: bytes, source: str) -> IndexEntry:
    """Parse one record: lines ``letter:value``. Unknown letters are passed over.

    Raises:
        IndexFormatError: with the source and what is wrong.
    """
    try:
        lines = record.decode().split("\n")
    except UnicodeDecodeError:
        raise _bad(source, record, "text that is not UTF-8") from None
    fields: dict[str, str] = {}
    for line in lines:
        letter, colon, value = line.partition(":")
        if not line:
            continue
        if not colon or len(letter) != 1:
            raise _bad(source, record, f"the line {line[:80]!r}")
        if letter in fields:
            raise _bad(source, record, f"two {letter}: lines")
        fields[letter] = value
    return parse_fields(fields, source, record)


def parse_fields(fields: Mapping[str, str], source: str, record: bytes = b"") -> IndexEntry:
    """The entry of a record that was split into letter → value.

    Raises:
        IndexFormatError: with the source and what is wrong.
    """
    name, version = fields.get("P", ""), fields.get("V", "")
    if not SAFE_NAME.fullmatch(name) or len(name) > 200:
        raise _bad(source, record, f"the package name {name[:80]!r}")
    if not SAFE_VERSION.fullmatch(version) or len(version) > 200:
        raise _bad(source, record, f"the version {version[:80]!r}")

    def number(letter: str) -> int:
        value = fields.get(letter) or "0"
        if not (value.isascii() and value.isdigit() and len(value) < 20):
            raise _bad(source, record, f"{letter}:{value[:40]}, which is no number,")
        return int(value)

    get = fields.get
    return IndexEntry(
        name=name,
        version=version,
        arch=get("A", ""),
        checksum=parse_checksum(fields["C"], source, record) if get("C") else b"",
        size=number("S"),
        installed_size=number("I"),
        description=get("T", ""),
        url=get("U", ""),
        license=get("L", ""),
        origin=get("o", ""),
        maintainer=get("m", ""),
        build_time=number("t"),
        commit=get("c", ""),
        depends=tuple(get("D", "").split()),
        provides=tuple(get("p", "").split()),
        install_if=tuple(get("i", "").split()),
        replaces=tuple(get("r", "").split()),
        provider_priority=number("k"),
        replaces_priority=number("q"),
    )


def parse_checksum(text: str, source: str, record: bytes = b"") -> bytes:
    """The 20 bytes of ``Q1<base64>``.

    Raises:
        IndexFormatError: it has another form.
    """
    try:
        value = base64.b64decode(text[2:], validate=True) if text[:2] == "Q1" else b""
    except ValueError:  # also of characters that are not ASCII
        value = b""
    if len(value) != 20:
        raise _bad(source, record, f"the checksum {text[:60]!r}")
    return value


def _bad(source: str, record: bytes, what: str) -> IndexFormatError:
    match = _NAME_LINE.search(record)
    where = f" (package {match[1][:80].decode(errors='replace')})" if match else ""
    return IndexFormatError(
        f"{source}{where} has {what} in a record", hint="the repository's index is broken"
    )
