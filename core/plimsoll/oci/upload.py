"""Pushing a blob: only if it is missing, mounted if it is near, resumed if the line breaks.

Distribution-spec v1.1, "Pushing blobs".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from plimsoll.http.retry import NO_RETRY, retrying
from plimsoll.oci.errors import DigestMismatchError, RegistryError
from plimsoll.oci.errors import RegistryUnavailableError as Unavailable
from plimsoll.oci.session import Session, pull_scope, push_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from plimsoll.http import Response, RetryPolicy
    from plimsoll.oci.content import Content
    from plimsoll.oci.reference import Reference

#: Blobs up to here go in one request; above, in pieces of this size, so that a broken line costs
#: one piece, and a proxy that limits requests does not stand in the way.
PIECE: Final = 32 << 20
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})", re.ASCII)
#: Answers of registries that know uploads only as a whole.
_NO_PIECES: Final = frozenset({400, 404, 405, 411, 413, 416, 501})


async def blob_size(
    session: Session, ref: Reference, digest: str, scopes: tuple[str, ...] | None = None
) -> int | None:
    """Bytes of a blob in the repository; ``None`` if it is not there."""
    answer = await session.call(
        ref,
        "HEAD",
        await session.url(ref, f"blobs/{digest}"),
        scopes=scopes or pull_scope(ref),
        what=f"look for the blob {digest}",
        allowed=frozenset({200, 404}),
    )
    if answer.status == 404:
        return None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


async def push(
    session: Session,
    ref: Reference,
    content: Content,
    mount_from: Sequence[str] = (),
    piece: int = PIECE,
) -> None:
    """Make the repository have the blob.

    Args:
        session: how to ask.
        ref: repository.
        content: the blob.
        mount_from: other repositories of this registry that may have it.
        piece: bytes sent in one request at most.

    Raises:
        RegistryError: one of its kinds.
    """
    scopes = push_scope(ref, *mount_from)
    if await blob_size(session, ref, content.digest, scopes) is not None:
        return
    upload = _Upload(session, ref, content, scopes, piece)
    for source in mount_from:
        if await upload.mount(source):
            return
    await retrying(upload.attempt, session.http.retry, progressed=upload.grew)


class _Upload:
    """One blob on its way, over all attempts."""

    def __init__(
        self,
        session: Session,
        ref: Reference,
        content: Content,
        scopes: tuple[str, ...],
        piece: int,
    ) -> None:
        self._session = session
        self._ref = ref
        self._content = content
        self._scopes = scopes
        self._what = f"push the blob {content.digest}"
        self._location: str | None = None
        self._offset = 0
        self._best = self._seen = 0
        self._piece = piece
        self._whole = content.size <= piece
        self._unsure = False

    def grew(self) -> bool:
        """Whether more of the blob is there than when this was last asked."""
        grown = self._best > self._seen
        self._seen = self._best
        return grown

    async def mount(self, source: str) -> bool:
        """Ask the registry to take the blob from another repository; keeps the upload if not."""
        if self._location is not None:
            return False
        query = f"mount={quote(self._content.digest)}&from={quote(source, safe='')}"
        answer = await self._begin(f"blobs/uploads/?{query}", self._session.http.retry)
        return answer.status == 201

    async def attempt(self) -> None:
        """Carry the upload to its end, from wherever it is."""
        if self._location is None:
            await self._begin()
        elif self._unsure:
            await self._recover()
        self._unsure = True  # until an answer says otherwise
        if self._whole:
            await self._finish(self._content.part(0, self._content.size), self._content.size)
            return
        while self._offset < self._content.size:
            if not await self._send_piece():
                return
        await self._finish(b"", 0)

    async def _begin(
        self, path: str = "blobs/uploads/", policy: RetryPolicy = NO_RETRY
    ) -> Response:
        url = await self._session.url(self._ref, path)
        answer = await self._call("POST", url, {201, 202}, body=b"", policy=policy)
        if answer.status == 202:
            await self._moved(url, answer)
            self._offset, self._unsure = 0, False
        return answer

    async def _send_piece(self) -> bool:
        """Send one piece; ``False`` if the registry takes only wholes and has it now."""
        end = min(self._offset + self._piece, self._content.size)
        url = self._here()
        try:
            answer = await self._call(
                "PATCH",
                url,
                {202, 204},
                body=self._content.part(self._offset, end),
                size=end - self._offset,
                headers={"Content-Range": f"{self._offset}-{end - 1}"},
            )
        except RegistryError as error:
            if error.status not in _NO_PIECES:
                raise
            self._forget()
            self._whole = True
            await self.attempt()
            return False
        await self._moved(url, answer)
        have = _have(answer)
        self._offset = end if have is None else have
        self._best = max(self._best, self._offset)
        return True

    async def _recover(self) -> None:
        """Ask how much arrived before the line broke; start over where nobody knows."""
        if self._whole:
            self._forget()
            await self._begin()
            return
        url = self._here()
        try:
            answer = await self._call("GET", url, {204, 200, 202})
        except RegistryError as error:
            if error.retryable:
                raise
            self._forget()
            await self._begin()
            return
        await self._moved(url, answer, required=False)
        self._offset = min(_have(answer) or 0, self._content.size)
        self._best = max(self._best, self._offset)

    async def _finish(self, body: bytes | Callable[[], AsyncIterator[bytes]], size: int) -> None:
        url = self._here()
        joiner = "&" if "?" in url else "?"
        digest = quote(self._content.digest)
        try:
            await self._call(
                "PUT", f"{url}{joiner}digest={digest}", {201, 204}, body=body, size=size
            )
        except RegistryError as error:
            if error.code == "DIGEST_INVALID":
                raise DigestMismatchError(
                    f"{self._ref.registry} received other bytes than {self._content.digest} names",
                    hint="the file changed while it was pushed, or something on the way changes it",
                    host=self._ref.registry,
                    repository=self._ref.repository,
                    status=error.status,
                    code=error.code,
                ) from error
            if error.status in {404, 416} and self._unsure:
                # The upload is gone: it expired, or an earlier try did arrive.
                self._forget()
                if await self._arrived():
                    return
                raise Unavailable(error.message, hint=error.hint, status=error.status) from error
            raise
        self._best = self._content.size

    async def _arrived(self) -> bool:
        size = await blob_size(self._session, self._ref, self._content.digest, self._scopes)
        return size is not None

    async def _call(  # noqa: PLR0913  one request has that many parts
        self,
        method: str,
        url: str,
        allowed: set[int],
        *,
        body: bytes | Callable[[], AsyncIterator[bytes]] | None = None,
        size: int = 0,
        headers: dict[str, str] | None = None,
        policy: RetryPolicy = NO_RETRY,
    ) -> Response:
        given = dict(headers or {})
        if body is not None:
            given |= {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        return await self._session.call(
            self._ref,
            method,
            url,
            scopes=self._scopes,
            what=self._what,
            allowed=frozenset(allowed),
            headers=given,
            body=body,
            size=size,
            policy=policy,
        )

    async def _moved(self, url: str, answer: Response, *, required: bool = True) -> None:
        location = answer.headers.get("Location")
        if location or required:
            self._location = await self._session.follow(self._ref, url, location, self._what)

    def _here(self) -> str:
        if self._location is None:
            raise Unavailable(f"the upload to {self._ref.name} was lost")
        return self._location

    def _forget(self) -> None:
        self._location, self._offset, self._unsure = None, 0, False


def _have(answer: Response) -> int | None:
    """How many bytes a ``Range`` header says are there; ``None`` if it does not say.

    ``0-0`` means both nothing and one byte; taken as nothing, which costs one byte.
    """
    found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
    if found is None:
        return None
    return int(found[1]) + 1 if int(found[1]) else 0
