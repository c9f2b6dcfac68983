"""Signing the packages of a build, and pushing them with their provenance."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.apk.keys import Keyring
from plimsoll.apk.package import verify_package
from plimsoll.apk.records import SAFE_NAME
from plimsoll.builder.concurrently import run_all
from plimsoll.builder.ocirepo import PACKAGE_TYPE, build_tag, file_tag
from plimsoll.builder.package.repository import sign_package
from plimsoll.builder.steps.common import RequestError
from plimsoll.builder.steps.packageprovenance import package_statement
from plimsoll.builder.steps.packagerecord import UNSIGNED_TYPE, BuildRecord, parse_record
from plimsoll.errors import Error
from plimsoll.oci.digest import digest_of, sha256_of_file
from plimsoll.oci.errors import ImageNotFoundError
from plimsoll.oci.model import EMPTY_DESCRIPTOR, OCI_MANIFEST, Manifest
from plimsoll.signing.attach import attach_bundle
from plimsoll.signing.privatekey import load_private_key
from plimsoll.signing.sign import sign_statement

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.apk.index import IndexEntry
    from plimsoll.apk.keys import SigningKey
    from plimsoll.arch import Arch
    from plimsoll.builder.steps.packagecommon import Pulled, Storage
    from plimsoll.builder.steps.packagestate import Snapshot
    from plimsoll.oci.model import Descriptor
    from plimsoll.oci.reference import Reference

_MAX_APK = 8 << 30


class PackageExistsError(Error):
    """A package that was published with other bytes."""

    reason = "PackageExists"


@dataclass(frozen=True, slots=True)
class SignedBuild:
    """A build whose packages are signed and in the registry.

    Attributes:
        artifact: digest of the unsigned packages.
        packages: what an index says of each.
    """

    artifact: str
    record: BuildRecord
    packages: list[IndexEntry]


class PackageSigner:
    """Signs packages, pushes them, and says how they were built.

    Args:
        storage: where they are.
        request: whose they are.
        arch: architecture.
        key: signs.
    """

    def __init__(
        self, storage: Storage, request: PackageRequest, arch: Arch, key: SigningKey
    ) -> None:
        self._storage = storage
        self._request = request
        self._arch = arch
        self._key = key
        self._keyring = Keyring({key.name: key.public_pem()})
        self._statements = load_private_key(key.private_pem())

    async def build(self, digest: str, folder: Path, snapshot: Snapshot) -> SignedBuild:
        """Sign and push the packages of one artifact.

        Args:
            digest: of the artifact.
            folder: for files.
            snapshot: of the index, whose packages stay as they are.

        Raises:
            RequestError: the artifact is not what it should be.
            PackageExistsError: a package was published before with other bytes.
            RegistryError: the registry fails.
        """
        pulled = await self._storage.pull(UNSIGNED_TYPE, digest)
        record = parse_record(BuildRecord, pulled.record, digest)
        if record.arch != self._arch.oci:
            raise RequestError(f"{digest} is for {record.arch}, not for {self._arch.oci}")
        packages = await run_all(
            self._package(pulled, record, number, folder, snapshot)
            for number in range(len(record.packages))
        )
        # The next build's ABI is compared with this record, so it must outlive a clean-up.
        tag = build_tag(self._arch.apk, record.name)
        await self._storage.registry.tag(pulled.reference, tag)
        return SignedBuild(digest, record, packages)

    async def _package(
        self,
        pulled: Pulled,
        record: BuildRecord,
        number: int,
        folder: Path,
        snapshot: Snapshot,
    ) -> IndexEntry:
        about, layer = record.packages[number], pulled.layers[number]
        version = f"{record.version}-r{record.epoch}"
        named = SAFE_NAME.fullmatch(about.name) and about.file == f"{about.name}-{version}.apk"
        if layer.digest != f"sha256:{about.sha256}" or not named or "/" in version:
            raise RequestError(f"{pulled.reference} does not hold what its record says")
        path = folder / about.file
        await self._storage.registry.download_blob(
            self._storage.repository, layer.digest, path, size=layer.size, max_size=_MAX_APK
        )
        entry = await asyncio.to_thread(self._sign, path, about.name, version, record.name)
        known = {e.version: e for e in snapshot.index.named(entry.name)}.get(entry.version)
        if known is not None:
            # With another key it has other bytes, and is the same package all the same.
            if known.checksum != entry.checksum:
                raise _exists(entry)
            return known
        manifest = await self._push(path, entry, snapshot)
        await self._attest(pulled, record, path, manifest)
        return entry

    async def _attest(
        self, pulled: Pulled, record: BuildRecord, path: Path, manifest: Descriptor
    ) -> None:
        """Attach provenance to a package; again and again, it is the same."""
        digest = await asyncio.to_thread(sha256_of_file, path)
        artifact = pulled.reference.digest or ""
        statement = package_statement(
            self._request, record, artifact, path.name, (digest, manifest)
        )
        bundle = sign_statement(self._statements, statement)
        await attach_bundle(
            self._storage.registry,
            self._storage.repository,
            manifest,
            bundle,
            created=self._request.started,
        )

    def _sign(self, path: Path, name: str, version: str, origin: str) -> IndexEntry:
        sign_package(path, self._key)
        package = verify_package(path, checksum=None, keyring=self._keyring)
        info = package.info
        found = (info.name, info.version, info.origin, info.arch)
        if found != (name, version, origin, self._arch.apk):
            raise RequestError(
                f"the package {name}-{version} calls itself {info.name}-{info.version} of "
                f"{info.origin} for {info.arch}"
            )
        return info.index_entry(package.control.sha1, path.stat().st_size)

    async def _push(self, path: Path, entry: IndexEntry, snapshot: Snapshot) -> Descriptor:
        """Push a package under its tag.

        One that was in the index once keeps the bytes that it had. One that never was is left of
        a publication that did not end, and is replaced.
        """
        registry, where = self._storage.registry, self._storage.repository
        target = where.with_tag(file_tag(self._arch.apk, entry.file_name))
        retired = {(e.name, e.version) for e in snapshot.state.retired if not e.removed}
        layer = await registry.push_blob(where, path, PACKAGE_TYPE)
        data = Manifest(
            config=EMPTY_DESCRIPTOR, layers=(layer,), artifact_type=PACKAGE_TYPE
        ).to_bytes()
        if (entry.name, entry.version) in retired:
            there = await self._resolve(target)
            if there is not None and there.digest != digest_of(data):
                raise _exists(entry)
        return await registry.push_manifest(target, data, OCI_MANIFEST)

    async def _resolve(self, target: Reference) -> Descriptor | None:
        try:
            return await self._storage.registry.resolve(target)
        except ImageNotFoundError:
            return None


def _exists(entry: IndexEntry) -> PackageExistsError:
    return PackageExistsError(
        f"{entry.file_name} was published before, with other content",
        hint="raise the epoch of the package",
    )
