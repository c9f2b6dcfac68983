"""What a repository knows of itself: an index and, in one artifact with it, its state.

The state is the configuration blob of the index's manifest, so both move by the same change of a
tag. The signed index names the state's hash in its description, so whoever can write to the
registry but not sign cannot change either.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from plimsoll.apk.gz import inflate_member
from plimsoll.apk.index import MAX_INDEX_SIZE, Index, read_index
from plimsoll.apk.keys import Keyring
from plimsoll.apk.tarfmt import TarReader
from plimsoll.builder.ocirepo import INDEX_FILE, INDEX_TYPE, file_tag
from plimsoll.builder.steps.packagecommon import MAX_RECORD
from plimsoll.errors import Error
from plimsoll.oci.errors import ImageNotFoundError
from plimsoll.oci.model import OCI_EMPTY, OCI_MANIFEST, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.arch import Arch
    from plimsoll.builder.steps.packagecommon import Storage
    from plimsoll.oci.model import Descriptor
    from plimsoll.oci.reference import Reference

STATE_TYPE = "application/vnd.plimsoll.apk.state.v1+json"
_MAX_SIGNATURES = 1 << 20
_HASH = re.compile(r"\bstate sha256:([0-9a-f]{64})\b")


class StateError(Error):
    """An index and a state that do not belong together."""

    reason = "StateInvalid"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Abi(_Model):
    """What is known of one shared library of the repository."""

    symbols: str
    """SHA-256 (hex) over its exported symbols."""

    base: str
    """That of the oldest build that this one is compatible with, without a gap."""


class Published(_Model):
    """The newest build of a configuration."""

    version: str
    """Without the epoch."""

    epoch: int
    inputs: str
    """Hash of the compiled configuration and the files beside it."""

    links: dict[str, str] = {}
    """Libraries of this repository that it links: soname → ``base`` at its build."""

    artifact: str
    """Digest of the unsigned packages."""

    packages: list[str]
    """Names."""

    abi: dict[str, Abi] = {}
    """Libraries that it offers, by soname."""

    built: str = ""
    """When, RFC 3339."""

    withdrawn: bool = False


class Retired(_Model):
    """A package that was in the index once."""

    name: str
    version: str
    """With the epoch."""

    origin: str = ""
    at: str
    """When it left the index, RFC 3339."""

    removed: bool = False
    """Its file is gone, or the registry keeps it."""


class KnownGuest(_Model):
    """A guest without workspace that is in the registry."""

    key: str
    """Hash of all that it is made from."""

    digest: str


class State(_Model):
    """All that is remembered of one architecture."""

    origins: dict[str, Published] = {}
    retired: list[Retired] = []
    guests: list[KnownGuest] = []
    """Those that builds used last, newest first."""

    previous: str = ""
    """Digest of the manifest of the index before this one."""

    def dump(self) -> bytes:
        """As it is stored."""
        return json.dumps(
            self.model_dump(mode="json", exclude_defaults=True),
            separators=(",", ":"),
            sort_keys=True,
        ).encode()

    def abi(self) -> dict[str, Abi]:
        """All libraries that the repository offers, by soname."""
        return {
            soname: abi
            for origin in self.origins.values()
            if not origin.withdrawn
            for soname, abi in origin.abi.items()
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The index of one architecture as it is now.

    Attributes:
        manifest: digest of its manifest; empty if there is no index yet.
        file: SHA-256 of the index file, ``sha256:…``; empty as well.
        index: verified.
        signers: names of the keys whose signatures it has.
        state: belongs to it.
    """

    manifest: str = ""
    file: str = ""
    index: Index = field(default_factory=lambda: Index(b"", source="no index"))
    signers: tuple[str, ...] = ()
    state: State = field(default_factory=State)


def description(name: str, state: bytes) -> str:
    """What a signed index says about itself."""
    return f"{name}, state sha256:{hashlib.sha256(state).hexdigest()}"


async def read_snapshot(storage: Storage, arch: Arch, keys: Mapping[str, str]) -> Snapshot:
    """Read index and state, and verify both.

    Args:
        storage: where.
        arch: architecture.
        keys: of which one must have signed the index: name → PEM.

    Raises:
        StateError: the state is not the one that the index names.
        IndexSignatureError, IndexFormatError: the index is not what a known key signed.
        RegistryError: the registry fails.
    """
    target = index_reference(storage, arch)
    try:
        top, data = await storage.registry.get_manifest(target)
    except ImageNotFoundError:
        return Snapshot()
    manifest = Manifest.parse(data, top.media_type, what=str(target))
    if len(manifest.layers) != 1 or manifest.layers[0].media_type != INDEX_TYPE:
        raise StateError(
            f"{target} is no index of packages", hint="check what else writes to this repository"
        )
    layer = manifest.layers[0]
    raw = await storage.blob(layer, MAX_INDEX_SIZE)
    index = read_index(raw, Keyring(dict(keys)), source=str(target))
    state = State()
    if manifest.config.media_type != OCI_EMPTY:
        blob = await storage.blob(manifest.config, MAX_RECORD)
        state = _parse(blob, index, str(target))
    return Snapshot(top.digest, layer.digest, index, signers_of(raw, str(target)), state)


def _parse(blob: bytes, index: Index, where: str) -> State:
    named = _HASH.search(index.description)
    if named is None or named[1] != hashlib.sha256(blob).hexdigest():
        raise StateError(
            f"the state of {where} is not the one that its signed index names",
            hint="something else than publishing changed the registry; restore the index, or "
            "remove its tag to build everything again",
        )
    try:
        return State.model_validate_json(blob)
    except ValidationError as error:
        raise StateError(
            f"the state of {where} cannot be read: {error.error_count()} errors",
            hint="operator and builder must be of the same version",
        ) from None


def signers_of(data: bytes, source: str) -> tuple[str, ...]:
    """Names of the keys in the signature section of an index that was verified."""
    content, _ = inflate_member(memoryview(data), source, _MAX_SIGNATURES)
    names = [entry.header.name for entry in TarReader([content], source)]
    return tuple(
        name.removeprefix(".SIGN.").partition(".")[2] for name in names if name.startswith(".SIGN.")
    )


async def stage_index(storage: Storage, index: bytes, state: bytes) -> bytes:
    """Push index and state without naming them yet; returns the manifest over both.

    Raises:
        RegistryError: the registry does not take them.
    """
    where = storage.repository
    config = await storage.registry.push_blob(where, state, STATE_TYPE)
    layer = await storage.registry.push_blob(where, index, INDEX_TYPE)
    return Manifest(config=config, layers=(layer,), artifact_type=INDEX_TYPE).to_bytes()


async def move_index(storage: Storage, arch: Arch, manifest: bytes) -> Descriptor:
    """Move the tag of an index; returns the descriptor of the manifest.

    Raises:
        RegistryError: the registry does not take it; the tag is where it was then.
    """
    target = index_reference(storage, arch)
    return await storage.registry.push_manifest(target, manifest, OCI_MANIFEST)


async def index_digest(storage: Storage, arch: Arch) -> str:
    """Digest of the manifest of the index as it is now; empty if there is none."""
    try:
        return (await storage.registry.resolve(index_reference(storage, arch))).digest
    except ImageNotFoundError:
        return ""


def index_reference(storage: Storage, arch: Arch) -> Reference:
    """Where the index of an architecture is."""
    return storage.repository.with_tag(file_tag(arch.apk, INDEX_FILE))
