"""Repository indexes (``APKINDEX.tar.gz``): verified once, read lazily.

An index is gzip member 1, a tar of signatures (``.SIGN.<algorithm>.<key>``) over every byte that
follows it, and then a tar with ``DESCRIPTION`` and ``APKINDEX``. A big repository has 100,000
records of which a build looks at some hundred, so records stay text until they are asked for.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from isal import igzip_lib

from plimsoll.apk.gz import InflateError, inflate_all, inflate_member
from plimsoll.apk.records import (
    SAFE_NAME,
    SAFE_VERSION,
    IndexEntry,
    IndexFormatError,
    parse_checksum,
    parse_record,
)
from plimsoll.apk.tarfmt import TarReader, Type
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plimsoll.apk.keys import Keyring

__all__ = [
    "SAFE_NAME",
    "SAFE_VERSION",
    "Index",
    "IndexEntry",
    "IndexFormatError",
    "IndexSignatureError",
    "UnknownSignerError",
    "parse_checksum",
    "parse_record",
    "read_index",
]

#: Largest uncompressed index by default.
MAX_INDEX_SIZE = 300 << 20
#: Longest line; Alpine has provides lines of 72 KB.
MAX_LINE = 1 << 20
_MAX_SIGNATURES = 1 << 20

# A literal beginning lets the search run at memory speed; an Index keeps a line break before its
# first line for that.
_NAME_LINE = re.compile(rb"\nP:(.*)")
_PROVIDES_LINE = re.compile(rb"\np:(.*)")
_CONDITION_LINE = re.compile(rb"\ni:(.*)")
_NAME = re.compile(rb"[^=<>~@]*")


class IndexSignatureError(Error):
    """An index that no known key signed."""

    reason = "IndexVerificationFailed"


class UnknownSignerError(IndexSignatureError):
    """An index that is signed by keys, and by none that is known."""


class Index:
    """The packages of one repository and architecture.

    Args:
        text: content of ``APKINDEX``.
        source: URL or path, for messages.
        description: content of ``DESCRIPTION``.

    Raises:
        IndexFormatError: a line is too long, or records and names do not pair up. What is wrong
            inside a record is reported when that record is read.
    """

    def __init__(self, text: bytes, *, source: str, description: str = "") -> None:
        self.source = source
        self.description = description
        self._text = text = b"\n" + text
        self._check_lines()
        self._by_name: dict[bytes, list[int]] = {}
        by_name = self._by_name
        for match in _NAME_LINE.finditer(text):
            name = match[1]
            if name in by_name:
                by_name[name].append(match.start())
            else:
                by_name[name] = [match.start()]
        self._by_provided: dict[bytes, list[int]] | None = None
        self._by_condition: dict[bytes, list[int]] | None = None
        self._cache: dict[int, IndexEntry] = {}

    @classmethod
    def from_entries(cls, entries: Iterable[IndexEntry], *, source: str = "memory") -> Index:
        """An index of these entries, in their order."""
        return cls("".join(e.to_text() for e in entries).encode(), source=source)

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def __contains__(self, name: str) -> bool:
        return name.encode() in self._by_name

    @property
    def text(self) -> bytes:
        """Content of ``APKINDEX``."""
        return self._text[1:]

    def names(self) -> list[str]:
        """Every package name once, in the order of the index."""
        return [name.decode(errors="replace") for name in self._by_name]

    def named(self, name: str) -> list[IndexEntry]:
        """All versions of a package, in the order of the index.

        Raises:
            IndexFormatError: one of their records is malformed.
        """
        return [self._entry(at) for at in self._by_name.get(name.encode(), ())]

    def providers(self, name: str) -> list[IndexEntry]:
        """Packages whose ``provides`` has ``name`` (with any version); not those named so.

        Raises:
            IndexFormatError: one of their records is malformed.
        """
        seen = dict.fromkeys(self._provided().get(name.encode(), ()))
        return [self._entry(at) for at in seen]

    def provided_names(self) -> list[str]:
        """Every name that some package provides, once, in the order of the index."""
        return [name.decode(errors="replace") for name in self._provided()]

    def _provided(self) -> dict[bytes, list[int]]:
        if self._by_provided is None:
            self._by_provided = self._scan(_PROVIDES_LINE)
        return self._by_provided

    def conditional_on(self, name: str) -> list[IndexEntry]:
        """Packages whose ``install_if`` mentions the package ``name``.

        Raises:
            IndexFormatError: one of their records is malformed.
        """
        if self._by_condition is None:
            self._by_condition = self._scan(_CONDITION_LINE)
        return [self._entry(at) for at in dict.fromkeys(self._by_condition.get(name.encode(), ()))]

    def entries(self) -> Iterator[IndexEntry]:
        """Every package, in the order of the index.

        Raises:
            IndexFormatError: at the first malformed record.
        """
        for match in _NAME_LINE.finditer(self._text):
            yield self._entry(match.start())

    def _scan(self, line: re.Pattern[bytes]) -> dict[bytes, list[int]]:
        """Name → positions of the lines that have it."""
        found: dict[bytes, list[int]] = {}
        for match in line.finditer(self._text):
            at = match.start()
            for item in match[1].split():
                name = _NAME.match(item)[0]  # type: ignore[index]  # matches everything
                if name in found:
                    found[name].append(at)
                else:
                    found[name] = [at]
        return found

    def _entry(self, at: int) -> IndexEntry:
        """The record around position ``at``."""
        text = self._text
        start = text.rfind(b"\n\n", 0, at + 1) + 1
        entry = self._cache.get(start)
        if entry is None:
            end = text.find(b"\n\n", at + 1)
            record = text[start : end if end >= 0 else len(text)]
            entry = self._cache[start] = parse_record(record, self.source)
        return entry

    def _check_lines(self) -> None:
        text, position = self._text, 0
        while position + MAX_LINE < len(text):
            end = text.rfind(b"\n", position, position + MAX_LINE + 1)
            if end < 0:
                raise IndexFormatError(
                    f"{self.source} has a line of more than {MAX_LINE} bytes",
                    hint="this is no repository index, or a broken one",
                )
            position = end + 1
        names, versions = text.count(b"\nP:"), text.count(b"\nV:")
        if names != versions or (not names and text.strip()):
            raise IndexFormatError(
                f"{self.source} has {names} package names and {versions} versions",
                hint="every record of an index needs one P: and one V: line",
            )


def read_index(
    data: bytes,
    keyring: Keyring | None,
    *,
    source: str,
    max_size: int = MAX_INDEX_SIZE,
) -> Index:
    """Verify and open an ``APKINDEX.tar.gz``.

    Args:
        data: the file.
        keyring: keys of which one must have signed it; ``None`` only where the caller was told
            to ignore signatures.
        source: URL or path, for messages.
        max_size: most bytes it may inflate to.

    Raises:
        IndexSignatureError: it is not signed, or not by a key of the keyring.
        IndexFormatError, GzipError, TarError: it is no sound index.
    """
    view = memoryview(data)
    signatures: dict[str, bytes] = {}
    body = view
    # An unsigned index is one big member; a signature member is small, so look with care.
    if _first_name(view, source).startswith(".SIGN."):
        content, used = inflate_member(view, f"the signature of {source}", _MAX_SIGNATURES)
        signatures = {
            e.header.name: bytes(e.read())
            for e in TarReader([content], f"the signature of {source}")
        }
        body = view[used:]
    if keyring is not None:
        _verify(signatures, body, keyring, source)
    text = description = None
    for entry in TarReader([inflate_all(body, source, max_size)], source):
        if entry.header.type is not Type.FILE:
            continue
        if entry.header.name == "APKINDEX":
            if text is not None:
                raise IndexFormatError(f"{source} holds two indexes", hint="do not use it")
            text = bytes(entry.read())
        elif entry.header.name == "DESCRIPTION":
            description = bytes(entry.read()).decode(errors="replace").strip()
    if text is None:
        raise IndexFormatError(
            f"{source} holds no APKINDEX", hint="check the URL of the repository"
        )
    return Index(text, source=source, description=description or "")


def _first_name(view: memoryview, source: str) -> str:
    """Name of the first tar entry, without inflating more than the beginning."""
    try:
        head: bytes = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP).decompress(
            view[: 1 << 16], 512
        )
    except InflateError:
        head = b""
    if not head:
        raise IndexFormatError(
            f"{source} is no index: it is not gzip data",
            hint="check the URL; a server may have answered with an error page",
        )
    return head[:100].partition(b"\0")[0].decode(errors="replace")


def _verify(signatures: dict[str, bytes], body: memoryview, keyring: Keyring, source: str) -> None:
    if not signatures:
        raise IndexSignatureError(
            f"{source} is not signed",
            hint="sign the repository's index, or ignore signatures explicitly for a test",
        )
    hashes = {"RSA": hashlib.sha1, "RSA256": hashlib.sha256}
    unknown, wrong = [], []
    for member, signature in signatures.items():
        algorithm, _, key = member.removeprefix(".SIGN.").partition(".")
        if algorithm not in hashes:
            continue
        if key not in keyring:
            unknown.append(key)
        elif keyring.verify(key, algorithm, signature, hashes[algorithm](body).digest()):
            return
        else:
            wrong.append(key)
    if wrong:
        raise IndexSignatureError(
            f"{source} has a wrong signature by key {', '.join(wrong)}",
            hint="the index was changed after it was signed, or the key of this name is "
            "another one; do not use it",
        )
    raise UnknownSignerError(
        f"{source} is signed by {', '.join(unknown) or 'no usable algorithm'}, "
        f"and the keyring has {', '.join(keyring) or 'no key'}",
        hint="add the repository's public key to the keyring, under that name",
    )
