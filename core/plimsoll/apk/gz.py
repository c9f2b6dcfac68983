"""Gzip members, the building blocks of packages and indexes (RFC 1952)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isal import igzip_lib

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What the inflating library raises. Its stub says it is an instance.
InflateError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]

#: Uncompressed bytes handed on at a time.
CHUNK = 1 << 18


class GzipError(Error):
    """Bytes that are no whole, sound gzip member, or one that inflates beyond its limit."""

    reason = "CorruptArchive"


class Inflater:
    """Inflates exactly one gzip member, fed piecewise; checks its CRC and length.

    Args:
        what: names the bytes in errors.
        limit: most bytes that may come out.
    """

    def __init__(self, what: str, limit: int) -> None:
        self._what = what
        self._left = limit
        self._limit = limit
        self._inflate: Any = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)

    @property
    def eof(self) -> bool:
        """Whether the member ended."""
        return bool(self._inflate.eof)

    @property
    def unused(self) -> bytes:
        """Bytes fed that lie behind the member."""
        data: bytes = self._inflate.unused_data
        return data

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield what ``data`` inflates to, in chunks of at most ``CHUNK`` bytes.

        Raises:
            GzipError: not gzip, corrupt, or more than the limit comes out.
        """
        while not self._inflate.eof:
            try:
                chunk = self._inflate.decompress(data, CHUNK)
            except InflateError as error:
                raise GzipError(
                    f"{self._what} is not sound gzip data: {error}",
                    hint="the file is damaged or not what it should be; fetch it again",
                ) from error
            data = b""
            self._left -= len(chunk)
            if self._left < 0:
                raise GzipError(
                    f"{self._what} inflates to more than {self._limit} bytes",
                    hint="if so much is expected, raise the limit: --max-apk-data-size, "
                    "--max-apk-control-size or --max-apkindex-decompressed-size",
                )
            if not chunk:
                return
            yield chunk


def inflate_member(data: memoryview, what: str, limit: int) -> tuple[bytes, int]:
    """Inflate the first gzip member of ``data``: its bytes, and how many it took of ``data``.

    Raises:
        GzipError: as ``Inflater.feed``, or the member is cut short.
    """
    inflater = Inflater(what, limit)
    out: list[bytes] = []
    position = 0
    while not inflater.eof and position < len(data):
        piece = data[position : position + CHUNK]
        out.extend(inflater.feed(piece))
        position += len(piece)
    if not inflater.eof:
        raise GzipError(f"{what} is cut short", hint="fetch it again")
    return b"".join(out), position - len(inflater.unused)


def inflate_all(data: memoryview, what: str, limit: int) -> bytes:
    """Inflate every gzip member of ``data``, one after the other, into one text.

    Raises:
        GzipError: as ``inflate_member``; trailing bytes that are no member included.
    """
    out: list[bytes] = []
    while data:
        content, used = inflate_member(data, what, limit)
        limit -= len(content)
        out.append(content)
        data = data[used:]
    return out[0] if len(out) == 1 else b"".join(out)
