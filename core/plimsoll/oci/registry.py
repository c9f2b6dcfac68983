"""The client for registries (OCI distribution-spec v1.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from plimsoll.oci import referrers, upload
from plimsoll.oci.content import Content
from plimsoll.oci.digest import check_digest, digest_of, is_digest, matches
from plimsoll.oci.errors import DigestMismatchError, InvalidManifestError
from plimsoll.oci.model import MANIFEST_LIMIT, Descriptor
from plimsoll.oci.parallel import together
from plimsoll.oci.reader import RegistryReader, digest_like, mismatch
from plimsoll.oci.session import delete_scope, push_scope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from plimsoll.http import Response
    from plimsoll.oci.reference import Reference

_OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Artifact:
    """The content of one layer of an artifact that is to be attached."""

    media_type: str
    data: bytes | Path
    annotations: Mapping[str, str] = field(default_factory=dict)


class Registry(RegistryReader):
    """Reads from and writes to any number of registries; use as an async context manager.

    See ``RegistryReader`` for its arguments and for reading.
    """

    async def push_blob(
        self,
        ref: Reference,
        data: bytes | Path,
        media_type: str = _OCTETS,
        *,
        digest: str | None = None,
        mount_from: Sequence[str] = (),
    ) -> Descriptor:
        """Make the repository have a blob; cheap if it has it already.

        Args:
            ref: repository.
            data: bytes, or a file (never read whole into memory).
            media_type: goes into the descriptor only.
            digest: of a file, if known: then a file that is there already is not read at all.
            mount_from: other repositories of the same registry that may have it.

        Raises:
            RegistryError: one of its kinds.
        """
        content = await Content.of(data, None if digest is None else check_digest(digest))
        await upload.push(self._session, ref, content, mount_from, self._piece)
        return Descriptor(media_type=media_type, digest=content.digest, size=content.size)

    async def push_manifest(self, ref: Reference, data: bytes, media_type: str) -> Descriptor:
        """Put a manifest or index, whose parts must be there: by tag if ``ref`` has one.

        Raises:
            DigestMismatchError: ``ref`` has a digest and the bytes have another.
            RegistryError: any other failure.
        """
        return (await self._put_manifest(ref, data, media_type))[0]

    async def tag(self, ref: Reference, tag: str) -> Descriptor:
        """Make ``tag`` name what ``ref`` names now."""
        descriptor, data = await self.get_manifest(ref)
        return await self.push_manifest(ref.with_tag(tag), data, descriptor.media_type)

    async def delete_manifest(self, ref: Reference) -> None:
        """Delete a manifest (by digest) or a tag; one that is gone already is fine.

        Raises:
            RegistryError: also where the registry does not allow deletion (405).
        """
        await self._session.call(
            ref,
            "DELETE",
            await self._manifest_url(ref),
            scopes=delete_scope(ref),
            what=f"delete {ref.identifier}",
            allowed=frozenset({200, 202, 204, 404}),
        )

    async def attach(
        self,
        ref: Reference,
        subject: Descriptor,
        *,
        artifact_type: str,
        layers: Sequence[Artifact],
        annotations: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Push an artifact that refers to ``subject``, so that ``referrers`` finds it.

        Where the registry has no referrers API, the index at the fallback tag is updated; a
        concurrent writer's entry is kept.

        Args:
            ref: repository.
            subject: manifest in this repository.
            artifact_type: kind of artifact.
            layers: its content.
            annotations: of the manifest; the fallback index repeats them.

        Returns:
            The descriptor of the artifact's manifest.
        """
        parts = [*layers, Artifact(referrers.OCI_EMPTY, referrers.EMPTY_JSON)]
        blobs = await together(self.push_blob(ref, item.data, item.media_type) for item in parts)
        manifest = referrers.artifact(
            subject,
            artifact_type,
            [(blob, item.annotations) for blob, item in zip(blobs, layers, strict=False)],
            annotations or {},
        )
        data = manifest.to_bytes()
        target = ref.with_digest(digest_of(data))
        descriptor, answer = await self._put_manifest(target, data, manifest.media_type)
        if "OCI-Subject" not in answer.headers:
            await referrers.add_to_fallback(
                self._session.fallback,
                self.get_manifest,
                self.push_manifest,
                ref.with_digest(subject.digest),
                referrers.listed(descriptor, manifest),
            )
        return descriptor

    async def _put_manifest(
        self, ref: Reference, data: bytes, media_type: str
    ) -> tuple[Descriptor, Response]:
        digest = digest_like(ref.digest, data)
        if ref.digest is not None and digest != ref.digest:
            raise DigestMismatchError(
                f"the manifest to push has the digest {digest}, not {ref.digest}",
                host=ref.registry,
                repository=ref.repository,
            )
        if len(data) > MANIFEST_LIMIT:
            raise InvalidManifestError(f"a manifest of {len(data)} bytes is over the limit")
        where = ref.tag if ref.tag is not None and ref.digest is None else digest
        answer = await self._session.call(
            ref,
            "PUT",
            await self._session.url(ref, f"manifests/{where}"),
            scopes=push_scope(ref),
            what=f"push the manifest {where}",
            allowed=frozenset({200, 201, 202}),
            headers={"Content-Type": media_type},
            body=data,
            size=len(data),
        )
        stored = answer.headers.get("Docker-Content-Digest", "")
        if is_digest(stored) and not matches(stored, data):
            raise mismatch(ref, stored, digest)
        return Descriptor(media_type=media_type, digest=digest, size=len(data)), answer


__all__ = ["Artifact", "Registry", "RegistryReader"]
