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
_TRUSTED = 2
_HEADER = struct.Struct(">III")
_DIGEST = 20


class KeyStoreError(Error):
    """A key store that cannot be extended."""

    reason = "InvalidKeyStore"


def add_certificates(store: bytes, certificates: Sequence[tuple[str, bytes]], what: str) -> bytes:
    """The store with more trusted certificates.

    Args:
        store: a JKS file.
        certificates: (alias, DER) each.
        what: names the store in errors.

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
    entries = b"".join(_entry(alias, der) for alias, der in certificates)
    head = _HEADER.pack(magic, version, count + len(certificates))
    result = head + content[_HEADER.size :] + entries
    return result + _seal(result)


def _entry(alias: str, der: bytes) -> bytes:
    return (
        struct.pack(">I", _TRUSTED)
        + _text(alias.lower())
        + struct.pack(">Q", 0)
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
