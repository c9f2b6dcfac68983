"""Artifacts that refer to an image (distribution-spec v1.1, "Listing Referrers")."""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from plimsoll.http.transport import origin
from plimsoll.oci.errors import (
    ImageNotFoundError,
    InvalidManifestError,
    RegistryError,
    RegistryUnavailableError,
)
from plimsoll.oci.model import (
    EMPTY_DESCRIPTOR,
    EMPTY_JSON,
    MANIFEST_LIMIT,
    OCI_EMPTY,
    OCI_INDEX,
    Descriptor,
    Index,
    Manifest,
)
from plimsoll.oci.session import Session, pull_scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from plimsoll.http import Response
    from plimsoll.oci.reference import Reference

    Read = Callable[[Reference], Awaitable[tuple[Descriptor, bytes]]]
    Write = Callable[[Reference, bytes, str], Awaitable[Descriptor]]

#: Pages and entries beyond which a list is an attack, not a list.
MAX_PAGES: Final = 50
MAX_ENTRIES: Final = 2000
_FALLBACK_TRIES: Final = 20
_PAUSE: Final = 0.05
_NEXT = re.compile(r"<([^<>]*)>\s*((?:;[^,]*)?)", re.ASCII)
#: Answers that mean "I do not know this API"; the specification's is 404.
_NO_API: Final = frozenset({404, 400, 405, 406, 501})


def fallback_tag(digest: str) -> str:
    """The tag of the index that lists referrers where the API is missing."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


async def find(
    session: Session, read: Read, ref: Reference, artifact_type: str | None
) -> list[Descriptor]:
    """See ``Registry.referrers``."""
    digest = _subject(ref)
    found = await _by_api(session, ref, digest, artifact_type)
    if not found:
        # Also where the API knows nothing: whoever pushed before the registry had it left a tag.
        _, found = await _by_tag(read, ref)
    return [item for item in found if artifact_type in {None, item.artifact_type}]


async def next_page(session: Session, ref: Reference, answer: Response) -> str | None:
    """Where a ``Link`` with ``rel="next"`` leads (RFC 8288); ``None`` on the last page.

    Raises:
        RegistryError: it leads to another server.
    """
    for target, parameters in _NEXT.findall(answer.headers.get("Link", "")):
        if re.search(r";\s*rel\s*=\s*\"?next\"?", parameters, re.IGNORECASE):
            url = await session.follow(ref, answer.url, target, "read the next page")
            if origin(url) != origin(await session.base(ref)):
                raise _broken(ref, "continues a list on another server")
            return url
    return None


def artifact(
    subject: Descriptor,
    artifact_type: str,
    layers: Sequence[tuple[Descriptor, Mapping[str, str]]],
    annotations: Mapping[str, str],
) -> Manifest:
    """The manifest of an artifact without a config of its own."""
    return Manifest(
        config=replace(EMPTY_DESCRIPTOR, data=None),
        layers=tuple(replace(layer, annotations=notes) for layer, notes in layers),
        artifact_type=artifact_type,
        subject=subject,
        annotations=annotations,
    )


def listed(descriptor: Descriptor, manifest: Manifest) -> Descriptor:
    """How a list of referrers shows a manifest."""
    return replace(descriptor, artifact_type=manifest.kind, annotations=manifest.annotations)


async def add_to_fallback(
    lock: asyncio.Lock, read: Read, write: Write, subject: Reference, entry: Descriptor
) -> None:
    """Add ``entry`` to the index at the fallback tag of ``subject``.

    The specification has no compare-and-swap. So the index is read again after it was written and
    after a pause in which another writer, who had read it before, would have written; where
    another one won, the entry is added to what that one wrote.

    Raises:
        RegistryUnavailableError: others write all the time.
        RegistryError: the registry refuses.
    """
    target = subject.with_tag(fallback_tag(_subject(subject)))
    for _ in range(_FALLBACK_TRIES):
        async with lock:
            start = time.monotonic()
            index, entries = await _by_tag(read, subject)
            if any(item.digest == entry.digest for item in entries):
                return
            data = replace(index, manifests=(*entries, entry)).to_bytes()
            await write(target, data, OCI_INDEX)
        # Others are about as fast as we are.
        pause = _PAUSE + 2 * (time.monotonic() - start)
        await asyncio.sleep(pause * random.uniform(1, 2))  # noqa: S311  no secret
    raise RegistryUnavailableError(
        f"other programs keep changing the list of referrers {target}",
        hint="try again",
        host=subject.registry,
        repository=subject.repository,
    )


async def _by_api(
    session: Session, ref: Reference, digest: str, artifact_type: str | None
) -> list[Descriptor] | None:
    query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
    url = await session.url(ref, f"referrers/{digest}{query}")
    seen: set[str] = set()
    found: dict[str, Descriptor] = {}
    while True:
        seen.add(url)
        answer = await session.call(
            ref,
            "GET",
            url,
            scopes=pull_scope(ref),
            what=f"list what refers to {digest}",
            allowed=frozenset({200} | (_NO_API if len(seen) == 1 else set())),
            headers={"Accept": OCI_INDEX},
            max_size=MANIFEST_LIMIT,
        )
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if answer.status != 200 or kind != OCI_INDEX:
            if len(seen) > 1:
                raise _broken(ref, "breaks off a list of referrers")
            return None  # some answer 200 with a page for people
        page = Index.parse(answer.body, what=f"the referrers of {ref.name}@{digest}")
        found.update((item.digest, item) for item in page.manifests)
        if len(found) > MAX_ENTRIES:
            raise _broken(ref, f"lists more than {MAX_ENTRIES} referrers of one image")
        following = await next_page(session, ref, answer)
        if following is None:
            return list(found.values())
        if following in seen or len(seen) >= MAX_PAGES:
            raise _broken(ref, "lists referrers without an end")
        url = following


async def _by_tag(read: Read, ref: Reference) -> tuple[Index, list[Descriptor]]:
    target = ref.with_tag(fallback_tag(_subject(ref)))
    try:
        descriptor, data = await read(target)
    except ImageNotFoundError:
        return Index(manifests=()), []
    try:
        index = Index.parse(data, descriptor.media_type, what=str(target))
    except InvalidManifestError as error:
        raise RegistryError(
            f"the list of referrers {target} cannot be read: {error.message}",
            hint="somebody may have used this tag for something else; delete it",
            host=ref.registry,
            repository=ref.repository,
        ) from error
    return index, list(index.manifests)


def _subject(ref: Reference) -> str:
    if ref.digest is None:
        raise ValueError(f"{ref} has no digest")
    return ref.digest


def _broken(ref: Reference, what: str) -> RegistryError:
    return RegistryError(
        f"{ref.registry} {what} ({ref.repository})", host=ref.registry, repository=ref.repository
    )


__all__ = ["EMPTY_JSON", "OCI_EMPTY", "add_to_fallback", "artifact", "find", "listed"]
