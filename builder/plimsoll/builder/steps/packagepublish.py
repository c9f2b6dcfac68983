"""The package-publish step: sign, push, and move the index.

It holds the signing key, so it runs nothing that comes from a package or a user.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.api.packagesteps import PackagePublishResult, PublishedIndex
from plimsoll.apk.keys import SigningKey
from plimsoll.builder.ocirepo import file_tag
from plimsoll.builder.steps.common import RequestError, registry_of
from plimsoll.builder.steps.packagecommon import Storage
from plimsoll.builder.steps.packageindex import expired, merge, signed_index, with_build
from plimsoll.builder.steps.packagesign import PackageSigner, SignedBuild
from plimsoll.builder.steps.packagestate import (
    description,
    index_digest,
    move_index,
    read_snapshot,
    stage_index,
)
from plimsoll.errors import Error
from plimsoll.oci.digest import digest_of
from plimsoll.oci.errors import RegistryError
from plimsoll.oci.model import EMPTY_JSON

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.apk.index import IndexEntry
    from plimsoll.arch import Arch
    from plimsoll.builder.steps.packagestate import Retired, Snapshot, State

_TRIES = 5


class PublishConflictError(Error):
    """An index that somebody else moves again and again."""

    reason = "PublishConflict"
    retryable = True


def read_signing_key(folder: Path) -> SigningKey:
    """The private key of a mounted Secret: its one entry ``NAME.rsa``.

    Raises:
        RequestError: there is none, or more than one.
        KeyFormatError: it is no RSA key.
    """
    found = sorted(folder.glob("*.rsa")) if folder.is_dir() else []
    if len(found) != 1:
        raise RequestError(
            f"the signing key in {folder} is not one file NAME.rsa but {len(found)}",
            hint="a key Secret has one private key NAME.rsa, and may have its NAME.rsa.pub",
        )
    return SigningKey.from_file(found[0])


async def publish_packages(
    request: PackageRequest,
    arch: Arch,
    artifacts: Sequence[str],
    keys: Sequence[SigningKey],
) -> PackagePublishResult:
    """Sign packages and put them into the index.

    Args:
        request: where, and what to withdraw and keep.
        arch: architecture.
        artifacts: digests of unsigned packages.
        keys: the current signing key, then those before it in the overlap.

    Raises:
        RequestError: an artifact is not what it should be.
        PackageExistsError: a package was published before with other bytes.
        PublishConflictError: another publisher was faster, every time.
        RegistryError: the registry fails; the old index stays.
    """
    for key in keys:
        pem = request.keys.get(key.name)
        if pem is None or pem.strip() != key.public_pem().decode().strip():
            raise RequestError(
                f"the signing key {key.name} is not among the keys that verify the repository",
                hint="its public half must be in the request under the same name",
            )
    async with registry_of(request) as registry:
        publisher = _Publisher(Storage(registry, request), request, arch, keys)
        await registry.push_blob(publisher.storage.repository, EMPTY_JSON)
        snapshot = await publisher.snapshot()
        signer = PackageSigner(publisher.storage, request, arch, keys[0])
        builds = []
        with tempfile.TemporaryDirectory(prefix="plimsoll-publish-") as folder:
            for number, digest in enumerate(dict.fromkeys(artifacts)):
                place = Path(folder) / str(number)
                place.mkdir()
                builds.append(await signer.build(digest, place, snapshot))
        return await publisher.move(snapshot, builds)


class _Publisher:
    def __init__(
        self, storage: Storage, request: PackageRequest, arch: Arch, keys: Sequence[SigningKey]
    ) -> None:
        self.storage = storage
        self._request = request
        self._arch = arch
        self._keys = keys

    async def snapshot(self) -> Snapshot:
        return await read_snapshot(self.storage, self._arch, self._request.keys)

    async def move(self, snapshot: Snapshot, builds: Sequence[SignedBuild]) -> PackagePublishResult:
        """Move the index, on top of whatever it is by now."""
        for _ in range(_TRIES):
            state = snapshot.state
            for build in builds:
                state = with_build(state, build.record, build.artifact, self._request.started)
            added = [entry for build in builds for entry in build.packages]
            entries, gone, state = merge(
                self._request, snapshot.index.entries(), added, state, self._request.started
            )
            old = {(e.name, e.version, e.checksum) for e in snapshot.index.entries()}
            fresh = {(e.name, e.version, e.checksum) for e in entries} != old
            resigned = snapshot.signers != tuple(key.name for key in self._keys)
            if not fresh and not resigned and state.origins == snapshot.state.origins:
                return self._result(snapshot.file, len(entries), builds, 0, changed=False)
            retired = await self._expire(state, entries)
            update = {"previous": snapshot.manifest, "retired": retired}
            data = state.model_copy(update=update).dump()
            text = description(self._request.distribution or self._request.name, data)
            index = await asyncio.to_thread(signed_index, entries, text, self._keys)
            manifest = await stage_index(self.storage, index, data)
            # Nothing stands between this look and the change of the tag.
            if await index_digest(self.storage, self._arch) == snapshot.manifest:
                pushed = await move_index(self.storage, self._arch, manifest)
                if await index_digest(self.storage, self._arch) == pushed.digest:
                    file = digest_of(index)
                    return self._result(file, len(entries), builds, len(gone), changed=True)
            snapshot = await self.snapshot()
        raise PublishConflictError(
            f"the index of {self._arch.oci} in {self.storage.repository.name} was moved by "
            f"somebody else {_TRIES} times",
            hint="one publisher at a time: check what else writes to this repository",
        )

    async def _expire(self, state: State, entries: Sequence[IndexEntry]) -> list[Retired]:
        """Remove files that left the index long ago; registries that do not allow it keep them."""
        there = {entry.file_name for entry in entries}
        late = expired(self._request, state, self._request.started)
        for one in late:
            name = f"{one.name}-{one.version}.apk"
            if name in there:
                continue
            target = self.storage.repository.with_tag(file_tag(self._arch.apk, name))
            try:
                await self.storage.registry.delete_manifest(target)
            except RegistryError as error:
                if error.retryable or error.status not in {400, 403, 404, 405}:
                    raise
        return [
            one.model_copy(update={"removed": True}) if one in late else one
            for one in state.retired
        ]

    def _result(
        self,
        file: str,
        packages: int,
        builds: Sequence[SignedBuild],
        removed: int,
        *,
        changed: bool,
    ) -> PackagePublishResult:
        return PackagePublishResult(
            index=PublishedIndex(arch=self._arch.oci, digest=file, packages=packages),
            published=sum(len(build.packages) for build in builds),
            removed=removed,
            changed=changed,
            abi=[text for build in builds for text in build.record.abi][:20],
        )
