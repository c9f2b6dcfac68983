"""Reading from registries (OCI distribution-spec v1.1), everything checked."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from plimsoll.http import Http, RetryPolicy, Timeouts
from plimsoll.http.download import download_limit, save
from plimsoll.oci import referrers, streaming, upload
from plimsoll.oci.auth import Credentials
from plimsoll.oci.digest import check_digest, digest_of, is_digest, matches
from plimsoll.oci.errors import DigestMismatchError, RegistryError
from plimsoll.oci.failures import unwrapped
from plimsoll.oci.model import (
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    Descriptor,
    parse_manifest,
)
from plimsoll.oci.session import Session, pull_scope
from plimsoll.oci.strictjson import load_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from types import TracebackType

    import aiohttp

    from plimsoll.http import Response
    from plimsoll.oci.reference import Reference

_ACCEPT: Final = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}
_TAG_PAGES: Final = 100


class RegistryReader:
    """Reads from any number of registries; use as an async context manager.

    Everything that is read is checked against its digest. Every failure is a ``RegistryError`` of
    the kind that says what to do.

    Args:
        credentials: logins; default anonymous.
        insecure: hosts, with port, spoken to over plain HTTP. Registries on this machine may be,
            too, if they do not speak TLS.
        allow_private: ``False`` refuses to connect to loopback, link-local and metadata addresses,
            and to private ones that a public registry sends us to; for programs that take image
            names from strangers.
        trusted_hosts: hosts that are open nevertheless; those of ``insecure`` always are.
        concurrency: requests under way at once.
        piece: bytes that one upload request carries at most.
        timeouts: how long a registry may take.
        retry: how often to try again.
        http: a client to share; it is not closed here, and its own address rules hold.
    """

    def __init__(  # noqa: PLR0913  settings, all by name, all optional
        self,
        credentials: Credentials | None = None,
        *,
        insecure: frozenset[str] = frozenset(),
        allow_private: bool = True,
        trusted_hosts: frozenset[str] = frozenset(),
        concurrency: int = 8,
        piece: int = upload.PIECE,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        http: Http | None = None,
    ) -> None:
        self._owned = http is None
        self._piece = piece
        self._http = http or Http(
            timeouts=timeouts,
            retry=retry,
            allow_private=allow_private,
            trusted_hosts=trusted_hosts | insecure,
            per_host=concurrency,
        )
        self._session = Session(
            self._http, credentials or Credentials.none(), insecure, concurrency
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owned:
            await self._http.close()

    async def resolve(self, ref: Reference) -> Descriptor:
        """What a reference names now: digest, media type, size; without reading it if possible.

        Raises:
            ImageNotFoundError: there is no such image.
            RegistryError: any other failure.
        """
        answer = await self._session.call(
            ref,
            "HEAD",
            await self._manifest_url(ref),
            scopes=pull_scope(ref),
            what=f"find {ref}",
            allowed=frozenset({200, 404, 405}),
            headers=_ACCEPT,
        )
        digest = answer.headers.get("Docker-Content-Digest", "")
        length = answer.headers.get("Content-Length", "")
        media_type = _media_type(answer)
        if answer.status == 200 and is_digest(digest) and length.isdigit() and media_type:
            if ref.digest is not None and digest != ref.digest:
                raise mismatch(ref, digest)
            return Descriptor(media_type=media_type, digest=digest, size=int(length))
        # Some registries answer HEAD without what is needed, or not at all; the error for a
        # missing image has words only in the answer to GET.
        return (await self.get_manifest(ref))[0]

    async def get_manifest(
        self, ref: Reference, max_size: int = MANIFEST_LIMIT
    ) -> tuple[Descriptor, bytes]:
        """Read a manifest or index; the digest is that of the bytes, whatever the registry says.

        Raises:
            ImageNotFoundError: there is no such image.
            DigestMismatchError: the bytes are not what was asked for.
            InvalidManifestError: the registry says they are something else than they say.
            RegistryError: any other failure.
        """
        answer = await self._session.call(
            ref,
            "GET",
            await self._manifest_url(ref),
            scopes=pull_scope(ref),
            what=f"read the manifest {ref.identifier}",
            headers=_ACCEPT,
            max_size=max_size,
        )
        digest = digest_like(ref.digest, answer.body)
        declared = answer.headers.get("Docker-Content-Digest", "")
        if ref.digest is not None and digest != ref.digest:
            raise mismatch(ref, digest)
        if is_digest(declared) and not matches(declared, answer.body):
            raise mismatch(ref, declared)
        media_type = _media_type(answer)
        if media_type not in {*INDEX_TYPES, *MANIFEST_TYPES}:
            media_type = parse_manifest(answer.body, what=str(ref)).media_type
        return Descriptor(media_type=media_type, digest=digest, size=len(answer.body)), answer.body

    async def get_blob(self, ref: Reference, digest: str, max_size: int) -> bytes:
        """Read a blob into memory.

        Raises:
            ResponseTooLargeError: it has more than ``max_size`` bytes.
            DigestMismatchError: the bytes are not what was asked for.
            RegistryError: any other failure.
        """
        check_digest(digest)
        answer = await self._session.call(
            ref,
            "GET",
            await self._session.url(ref, f"blobs/{digest}"),
            scopes=pull_scope(ref),
            what=f"read the blob {digest}",
            max_size=max_size,
        )
        if not matches(digest, answer.body):
            raise mismatch(ref, digest_of(answer.body), digest)
        return answer.body

    async def download_blob(
        self,
        ref: Reference,
        digest: str,
        path: Path,
        *,
        size: int | None = None,
        max_size: int | None = None,
    ) -> int:
        """Save a blob as a file, atomically, resuming after faults; returns its size.

        Args:
            ref: repository.
            digest: of the blob.
            path: the file; it appears only when complete and right.
            size: bytes it must have (from its descriptor).
            max_size: bytes it may have, whatever ``size`` says.

        Raises:
            DigestMismatchError: the bytes are not what was asked for.
            RegistryError: any other failure of the registry.
            plimsoll.http.StorageError: the file cannot be written.
        """
        check_digest(digest)
        limit = download_limit(f"the blob {digest} of {ref}", size, max_size)
        url = await self._session.url(ref, f"blobs/{digest}")
        what = f"read the blob {digest}"

        @asynccontextmanager
        async def open_at(extra: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
            async with self._session.open(
                ref,
                "GET",
                url,
                scopes=pull_scope(ref),
                what=what,
                allowed=frozenset({200, 206, 416}),
                headers=extra,
                size=limit,
            ) as response:
                yield response

        with unwrapped(ref):
            saved = await save(
                open_at,
                path,
                what=f"the blob {digest} of {ref.name}",
                expected_size=size,
                max_size=limit,
                digest=digest,
                policy=self._http.retry,
            )
        return saved.size

    @asynccontextmanager
    async def open_blob(
        self, ref: Reference, blob: Descriptor, start: int = 0, end: int | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Read a blob piece by piece, to pass it on; nothing is tried again.

        Args:
            ref: repository.
            blob: its digest and size.
            start: first byte.
            end: byte after the last one; ``None`` for all.

        Raises:
            DigestMismatchError: a whole blob is not what was asked for; its last piece was held
                back. Parts of one are not checked.
            RegistryError: any other failure.
        """
        check_digest(blob.digest)
        async with streaming.open_blob(self._session, ref, blob, start, end) as pieces:
            yield pieces

    async def blob_size(self, ref: Reference, digest: str) -> int | None:
        """Bytes of a blob in the repository; ``None`` if it is not there."""
        return await upload.blob_size(self._session, ref, check_digest(digest))

    async def list_tags(self, ref: Reference) -> list[str]:
        """All tags of the repository, sorted by the registry.

        Raises:
            ImageNotFoundError: there is no such repository.
            RegistryError: any other failure.
        """
        found: list[str] = []
        url = await self._session.url(ref, "tags/list")
        for _ in range(_TAG_PAGES):
            answer = await self._session.call(
                ref, "GET", url, scopes=pull_scope(ref), what="list the tags", max_size=4 << 20
            )
            what = f"the list of tags of {ref.name}"
            tags = load_object(answer.body, what=what, max_size=4 << 20).get("tags")
            found.extend(str(tag) for tag in tags or [])
            following = await referrers.next_page(self._session, ref, answer)
            if following is None:
                return found
            url = following
        raise RegistryError(
            f"{ref.registry} lists the tags of {ref.repository} on more than {_TAG_PAGES} pages",
            host=ref.registry,
            repository=ref.repository,
        )

    async def referrers(self, ref: Reference, artifact_type: str | None = None) -> list[Descriptor]:
        """What refers to a manifest: by the referrers API, else by the fallback tag.

        The descriptors are claims of the registry: read and check what they name.

        Args:
            ref: must have a digest.
            artifact_type: only those.

        Raises:
            RegistryError: any failure but "there are none".
        """
        return await referrers.find(self._session, self.get_manifest, ref, artifact_type)

    async def _manifest_url(self, ref: Reference) -> str:
        return await self._session.url(ref, f"manifests/{ref.identifier}")


def digest_like(wanted: str | None, data: bytes) -> str:
    """The digest of ``data`` by the algorithm of ``wanted``, or SHA-256."""
    return digest_of(data, wanted.partition(":")[0] if wanted else "sha256")


def _media_type(answer: Response) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()


def mismatch(ref: Reference, found: str, wanted: str | None = None) -> DigestMismatchError:
    """The error for bytes that are not what was asked for."""
    return DigestMismatchError(
        f"{ref.registry} answered with {found} for {wanted or ref.identifier} of {ref.repository}",
        hint="the registry or something on the way changes content; do not use this image",
        host=ref.registry,
        repository=ref.repository,
    )
