"""Java key stores (JKS): adding trusted certificates to one that an image has.

The format is that of ``sun.security.provider.JavaKeyStore``: a header with the number of entries,
the entries, and at the end SHA-1 over the password, a fixed phrase and everything before.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The password that every Java runtime ships its store with.
PASSWORD = "changeit"  # noqa: S105  (public, and part of the format's custom)
_MAGIC = 0xFEEDFEED
_PRIVATE = 1
_TRUSTED = 2
_HEADER = struct.Struct(">III")
_DIGEST = 20


class KeyStoreError(Error):
    """A key store that cannot be extended."""

    reason = "InvalidKeyStore"


def add_certificates(
    store: bytes,
    certificates: Sequence[tuple[str, bytes]],
    what: str,
    *,
    created: int = 0,
    in_order: bool = False,
) -> bytes:
    """The store with more trusted certificates.

    Args:
        store: a JKS file.
        certificates: (alias, DER) each.
        what: names the store in errors.
        created: time of the new entries, seconds since the epoch.
        in_order: sort all entries by alias; a new one takes the place of one with its alias.

    Raises:
        KeyStoreError: it is no JKS file, or not sealed with the usual password.
    """
    if len(store) < _HEADER.size + _DIGEST or _HEADER.unpack_from(store)[0] != _MAGIC:
        raise KeyStoreError(
            f"{what} is no JKS key store, so no certificate can be added to it",
            hint="use a package whose store is in JKS format, or set javax.net.ssl.trustStore",
        )
    magic, version, count = _HEADER.unpack_from(store)
    content, digest = store[:-_DIGEST], store[-_DIGEST:]
    if _seal(content) != digest:
        raise KeyStoreError(
            f"{what} is damaged, or sealed with another password than {PASSWORD!r}",
            hint="use a package whose store has the usual password",
        )
    new = {alias.lower(): _entry(alias, der, created) for alias, der in certificates}
    if in_order:
        entries = _entries(content[_HEADER.size :], version, count, what) | new
        body = b"".join(entries[alias] for alias in sorted(entries))
        count = len(entries)
    else:
        body = content[_HEADER.size :] + b"".join(new.values())
        count += len(new)
    result = _HEADER.pack(magic, version, count) + body
    return result + _seal(result)


def _entries(body: bytes, version: int, count: int, what: str) -> dict[str, bytes]:
    """Alias → entry, as it stands there."""
    found = {}
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        if at + size > len(body):
            raise KeyStoreError(f"{what} ends in the middle of an entry", hint="it is damaged")
        at += size
        return body[at - size : at]

    def skip(width: int) -> bytes:
        return take(int.from_bytes(take(width), "big"))

    def certificate() -> None:
        if version > 1:
            skip(2)
        skip(4)

    for _ in range(count):
        start = at
        kind = int.from_bytes(take(4), "big")
        alias = skip(2).decode(errors="surrogateescape")
        take(8)
        if kind == _TRUSTED:
            certificate()
        elif kind == _PRIVATE:
            skip(4)
            for _ in range(int.from_bytes(take(4), "big")):
                certificate()
        else:
            raise KeyStoreError(f"{what} has an entry of unknown kind", hint="it is damaged")
        found[alias] = body[start:at]
    return found


def _entry(alias: str, der: bytes, created: int) -> bytes:
    return (
        struct.pack(">I", _TRUSTED)
        + _text(alias.lower())
        + struct.pack(">Q", created * 1000)
        + _text("X.509")
        + struct.pack(">I", len(der))
        + der
    )


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def _seal(content: bytes) -> bytes:
    salt = PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite"
    return hashlib.sha1(salt + content, usedforsecurity=False).digest()
