"""Hand-made packages and indexes, sound and hostile, for tests."""

from __future__ import annotations

import gzip
import hashlib
import io
from typing import TYPE_CHECKING

from plimsoll.apk.package import Limits, open_package
from plimsoll.apk.tarfmt import Header, Type
from plimsoll.apk.tarwrite import END, encode_header, padding

if TYPE_CHECKING:
    from plimsoll.apk.data import DataEntry
    from plimsoll.apk.keys import Keyring

Member = tuple[Header, bytes]


def file(name: str, content: bytes = b"", **fields: int | str | dict[str, bytes]) -> Member:
    """A regular file."""
    return Header(name=name, type=Type.FILE, size=len(content), **fields), content  # type: ignore[arg-type]


def node(name: str, kind: Type, **fields: int | str) -> Member:
    """Any other entry."""
    return Header(name=name, type=kind, **fields), b""  # type: ignore[arg-type]


def tar(*members: Member, end: bytes = END) -> bytes:
    """An archive of members, just as they are given."""
    parts = [encode_header(h) + c + padding(len(c)) for h, c in members]
    return b"".join(parts) + end


def member(data: bytes) -> bytes:
    """One gzip member."""
    return gzip.compress(data, mtime=0)


def apk(data_tar: bytes, *, info: str = "", control: bytes | None = None) -> bytes:
    """An unsigned package around a data tar; ``info`` is added to its ``.PKGINFO``."""
    data = member(data_tar)
    if control is None:
        text = f"pkgname = p\npkgver = 1-r0\n{info}datahash = {hashlib.sha256(data).hexdigest()}\n"
        control = tar(file(".PKGINFO", text.encode()), end=b"")
    return member(control) + data


def read(
    data: bytes, *, keyring: Keyring | None = None, limits: Limits | None = None
) -> list[DataEntry]:
    """Read a package to its end."""
    source = io.BytesIO(data)
    package = open_package(source, source="p.apk", checksum=None, keyring=keyring, limits=limits)
    return list(package.data(source))
