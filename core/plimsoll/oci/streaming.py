"""Passing a blob on while it is read, whole or in part."""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from plimsoll.oci.errors import DigestMismatchError, RegistryError
from plimsoll.oci.failures import unwrapped
from plimsoll.oci.session import Session, pull_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from plimsoll.oci.descriptor import Descriptor
    from plimsoll.oci.reference import Reference

_PIECE: Final = 256 << 10
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:[0-9]{1,18}|\*)", re.ASCII)


@asynccontextmanager
async def open_blob(
    session: Session, ref: Reference, blob: Descriptor, start: int = 0, end: int | None = None
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Bytes ``start`` to ``end`` (exclusive) of a blob; see ``RegistryReader.open_blob``."""
    last = blob.size if end is None else end
    whole = start == 0 and last == blob.size
    async with session.open(
        ref,
        "GET",
        await session.url(ref, f"blobs/{blob.digest}"),
        scopes=pull_scope(ref),
        what=f"read the blob {blob.digest}",
        allowed=frozenset({200} if whole else {200, 206}),
        headers={} if whole else {"Range": f"bytes={start}-{last - 1}"},
        size=last - start,
    ) as response:
        begins = _begins(response, ref, start) if response.status == 206 else 0
        yield _pieces(response, ref, blob, (start - begins, last - begins), whole=whole)


def _begins(response: aiohttp.ClientResponse, ref: Reference, start: int) -> int:
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start:
        raise RegistryError(
            f"{ref.registry} answers with another part of a blob than was asked for",
            host=ref.registry,
            repository=ref.repository,
        )
    return start


async def _pieces(
    response: aiohttp.ClientResponse,
    ref: Reference,
    blob: Descriptor,
    part: tuple[int, int],
    *,
    whole: bool,
) -> AsyncIterator[bytes]:
    """The part of an answer; the last piece of a whole blob only once its digest is right."""
    skip, stop = part
    algorithm, _, wanted = blob.digest.partition(":")
    digest = hashlib.new(algorithm)
    position = 0
    held = b""
    with unwrapped(ref):
        async for piece in response.content.iter_chunked(_PIECE):
            if whole:
                digest.update(piece)
            begin, position = position, position + len(piece)
            inside = piece[max(skip - begin, 0) : max(stop - begin, 0)]
            if inside:
                if held:
                    yield held
                held = inside
            if position >= stop and not whole:
                break
    if position < stop or (whole and (position != blob.size or digest.hexdigest() != wanted)):
        raise DigestMismatchError(
            f"{ref.registry} answered with other bytes than {blob.digest} names",
            hint="the registry or something on the way changes or cuts content",
            host=ref.registry,
            repository=ref.repository,
        )
    yield held


__all__ = ["open_blob"]
