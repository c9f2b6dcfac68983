"""What the steps about packages share: the repository of artifacts that holds everything."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.builder.steps.common import RequestError
from plimsoll.oci.descriptor import Descriptor
from plimsoll.oci.digest import digest_of
from plimsoll.oci.model import OCI_MANIFEST, Manifest
from plimsoll.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.oci.registry import Registry

MAX_RECORD = 64 << 20
TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an artifact that is pushed."""

    media_type: str
    data: bytes | Path
    title: str = ""


@dataclass(frozen=True, slots=True)
class Pulled:
    """An artifact as the registry has it.

    Attributes:
        reference: by digest.
        record: its configuration blob, parsed.
        layers: descriptors, in order.
    """

    reference: Reference
    record: dict[str, Any]
    layers: tuple[Descriptor, ...]


class Storage:
    """The OCI repository that holds everything of a package repository."""

    def __init__(self, registry: Registry, request: PackageRequest) -> None:
        self.registry = registry
        self.repository = Reference.repository_of(request.storage)

    async def push(
        self,
        kind: str,
        record: Mapping[str, Any],
        layers: Sequence[Layer] = (),
        *,
        tag: str = "",
    ) -> Descriptor:
        """Push an artifact whose configuration blob is ``record``; by digest unless tagged.

        Raises:
            RegistryError: the registry does not take it.
        """
        data = await self.manifest(kind, record, layers)
        target = self.repository.with_tag(tag) if tag else self.repository
        if not tag:
            target = target.with_digest(digest_of(data))
        return await self.registry.push_manifest(target, data, OCI_MANIFEST)

    async def manifest(
        self, kind: str, record: Mapping[str, Any], layers: Sequence[Layer] = ()
    ) -> bytes:
        """Push the blobs of an artifact, and return the manifest over them.

        Raises:
            RegistryError: the registry does not take one.
        """
        text = json.dumps(record, separators=(",", ":"), sort_keys=True).encode()
        config = await self.registry.push_blob(self.repository, text, kind)
        pushed = []
        for layer in layers:
            blob = await self.registry.push_blob(self.repository, layer.data, layer.media_type)
            notes = {TITLE: layer.title} if layer.title else {}
            pushed.append(
                Descriptor(
                    media_type=blob.media_type,
                    digest=blob.digest,
                    size=blob.size,
                    annotations=notes,
                )
            )
        return Manifest(config=config, layers=tuple(pushed), artifact_type=kind).to_bytes()

    async def pull(self, kind: str, digest: str) -> Pulled:
        """Read an artifact of this kind.

        Raises:
            RequestError: the digest names something else.
            RegistryError: it cannot be read.
        """
        return await self.read(kind, self.repository.with_digest(digest))

    async def read(self, kind: str, target: Reference) -> Pulled:
        """Read the artifact that a reference names now; raises as ``pull`` does."""
        descriptor, data = await self.registry.get_manifest(target)
        manifest = Manifest.parse(data, descriptor.media_type, what=str(target))
        if manifest.artifact_type != kind:
            raise RequestError(
                f"{target} is no {kind}", hint="check what else writes to this repository"
            )
        blob = await self.registry.get_blob(target, manifest.config.digest, MAX_RECORD)
        try:
            record = await asyncio.to_thread(json.loads, blob)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise RequestError(f"the record of {target} is no JSON object")
        return Pulled(target.with_digest(descriptor.digest), record, manifest.layers)

    async def blob(self, layer: Descriptor, max_size: int = MAX_RECORD) -> bytes:
        """Read a layer into memory."""
        return await self.registry.get_blob(self.repository, layer.digest, max_size)
