"""The package-publish step: sign, push, and move the index.

It holds the signing key, so it runs nothing that comes from a package or a user.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.api.packagesteps import PackagePublishResult, PublishedIndex
from plimsoll.apk.keys import Keyring, SigningKey
from plimsoll.apk.package import verify_package
from plimsoll.apk.records import SAFE_NAME
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.ocirepo import PACKAGE_TYPE, build_tag, file_tag
from plimsoll.builder.package.repository import sign_package
from plimsoll.builder.steps.common import RequestError
from plimsoll.builder.steps.packagecommon import Storage, storage_registry
from plimsoll.builder.steps.packageindex import expired, merge, signed_index, with_build
from plimsoll.builder.steps.packageprovenance import package_statement
from plimsoll.builder.steps.packagerecord import UNSIGNED_TYPE, BuildRecord, parse_record
from plimsoll.builder.steps.packagestate import (
    description,
    index_digest,
    move_index,
    read_snapshot,
    stage_index,
)
from plimsoll.errors import Error
from plimsoll.oci.digest import digest_of
from plimsoll.oci.errors import ImageNotFoundError, RegistryError
from plimsoll.oci.model import EMPTY_DESCRIPTOR, EMPTY_JSON, OCI_MANIFEST, Manifest
from plimsoll.signing.attach import attach_bundle
from plimsoll.signing.privatekey import load_private_key
from plimsoll.signing.sign import sign_statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.packagesteps import PackageRequest
    from plimsoll.apk.index import IndexEntry
    from plimsoll.arch import Arch
    from plimsoll.builder.steps.packagecommon import Pulled
    from plimsoll.builder.steps.packagestate import Retired, Snapshot, State
    from plimsoll.oci.model import Descriptor

_TRIES = 5
_MAX_APK = 8 << 30


class PublishConflictError(Error):
    """An index that somebody else moves again and again."""

    reason = "PublishConflict"
    retryable = True


class PackageExistsError(Error):
    """A package that was published with other bytes."""

    reason = "PackageExists"


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed package in the registry."""

    entry: IndexEntry
    manifest: Descriptor


@dataclass(frozen=True, slots=True)
class _Build:
    artifact: str
    record: BuildRecord
    packages: list[Signed]


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
    async with storage_registry(request) as registry:
        publisher = _Publisher(Storage(registry, request), request, arch, keys)
        await registry.push_blob(publisher.storage.repository, EMPTY_JSON)
        snapshot = await publisher.snapshot()
        builds = []
        with tempfile.TemporaryDirectory(prefix="plimsoll-publish-") as folder:
            for number, digest in enumerate(dict.fromkeys(artifacts)):
                place = Path(folder) / str(number)
                place.mkdir()
                builds.append(await publisher.build(digest, place, snapshot))
        return await publisher.move(snapshot, builds)


class _Publisher:
    def __init__(
        self, storage: Storage, request: PackageRequest, arch: Arch, keys: Sequence[SigningKey]
    ) -> None:
        self.storage = storage
        self._request = request
        self._arch = arch
        self._keys = keys
        self._keyring = Keyring({key.name: key.public_pem() for key in keys})
        self._statements = load_private_key(keys[0].private_pem())

    async def snapshot(self) -> Snapshot:
        return await read_snapshot(self.storage, self._arch, self._request.keys)

    async def build(self, digest: str, folder: Path, snapshot: Snapshot) -> _Build:
        """Sign and push the packages of one artifact."""
        pulled = await self.storage.pull(UNSIGNED_TYPE, digest)
        record = parse_record(BuildRecord, pulled.record, digest)
        if record.arch != self._arch.oci:
            raise RequestError(f"{digest} is for {record.arch}, not for {self._arch.oci}")
        published = {(e.name, e.version): e for e in snapshot.index.entries()}
        packages = await run_all(
            self._package(pulled, record, number, folder, published)
            for number in range(len(record.packages))
        )
        # The next build's ABI is compared with this record, so it must outlive a clean-up.
        tag = build_tag(self._arch.apk, record.name)
        await self.storage.registry.tag(pulled.reference, tag)
        return _Build(digest, record, packages)

    async def _package(
        self,
        pulled: Pulled,
        record: BuildRecord,
        number: int,
        folder: Path,
        published: dict[tuple[str, str], IndexEntry],
    ) -> Signed:
        about, layer = record.packages[number], pulled.layers[number]
        version = f"{record.version}-r{record.epoch}"
        named = SAFE_NAME.fullmatch(about.name) and about.file == f"{about.name}-{version}.apk"
        if layer.digest != f"sha256:{about.sha256}" or not named or "/" in version:
            raise RequestError(f"{pulled.reference} does not hold what its record says")
        path = folder / about.file
        await self.storage.registry.download_blob(
            self.storage.repository, layer.digest, path, size=layer.size, max_size=_MAX_APK
        )
        entry = await asyncio.to_thread(self._sign, path, about.name, version, record.name)
        known = published.get((entry.name, entry.version))
        if known is not None and known.checksum != entry.checksum:
            raise PackageExistsError(
                f"{entry.file_name} is published already, with other content",
                hint="raise the epoch of the package",
            )
        manifest = await self._push(path, entry, replace=known is None)
        if known is None:
            await self._attest(pulled, record, path, manifest)
        return Signed(entry, manifest)

    async def _attest(
        self, pulled: Pulled, record: BuildRecord, path: Path, manifest: Descriptor
    ) -> None:
        """Attach provenance to a package; again and again, it is the same."""
        digest = await asyncio.to_thread(_sha256, path)
        artifact = pulled.reference.digest or ""
        statement = package_statement(
            self._request, record, artifact, path.name, (digest, manifest)
        )
        bundle = sign_statement(self._statements, statement)
        await attach_bundle(
            self.storage.registry,
            self.storage.repository,
            manifest,
            bundle,
            created=self._request.started,
        )

    def _sign(self, path: Path, name: str, version: str, origin: str) -> IndexEntry:
        sign_package(path, self._keys[0])
        package = verify_package(path, checksum=None, keyring=self._keyring)
        info = package.info
        found = (info.name, info.version, info.origin, info.arch)
        if found != (name, version, origin, self._arch.apk):
            raise RequestError(
                f"the package {name}-{version} calls itself {info.name}-{info.version} of "
                f"{info.origin} for {info.arch}"
            )
        return info.index_entry(package.control.sha1, path.stat().st_size)

    async def _push(self, path: Path, entry: IndexEntry, *, replace: bool) -> Descriptor:
        """Push a package under its tag, unless it is there.

        A package that is in no index was left by a publication that did not end, and may be
        replaced; one that is in the index keeps the bytes it was published with.
        """
        registry, where = self.storage.registry, self.storage.repository
        target = where.with_tag(file_tag(self._arch.apk, entry.file_name))
        if not replace:
            try:
                return await registry.resolve(target)
            except ImageNotFoundError:
                pass
        layer = await registry.push_blob(where, path, PACKAGE_TYPE)
        manifest = Manifest(config=EMPTY_DESCRIPTOR, layers=(layer,), artifact_type=PACKAGE_TYPE)
        return await registry.push_manifest(target, manifest.to_bytes(), OCI_MANIFEST)

    async def move(self, snapshot: Snapshot, builds: Sequence[_Build]) -> PackagePublishResult:
        """Move the index, on top of whatever it is by now."""
        for _ in range(_TRIES):
            state = snapshot.state
            for build in builds:
                state = with_build(state, build.record, build.artifact, self._request.started)
            added = [signed.entry for build in builds for signed in build.packages]
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
        self, file: str, packages: int, builds: Sequence[_Build], removed: int, *, changed: bool
    ) -> PackagePublishResult:
        return PackagePublishResult(
            index=PublishedIndex(arch=self._arch.oci, digest=file, packages=packages),
            published=sum(len(build.packages) for build in builds),
            removed=removed,
            changed=changed,
            abi=[text for build in builds for text in build.record.abi][:20],
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
