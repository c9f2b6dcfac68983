"""What one step leaves in the registry for the next: the plan, the guest, unsigned packages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from plimsoll.builder.steps.common import RequestError
from plimsoll.builder.steps.packagecommon import MAX_RECORD, Layer
from plimsoll.builder.steps.packagefiles import MAX_TREE, from_tar, to_tar
from plimsoll.builder.steps.packageset import Configuration, compiled_for
from plimsoll.builder.steps.packagestate import KnownGuest
from plimsoll.oci.model import Manifest
from plimsoll.oci.strictjson import load_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.arch import Arch
    from plimsoll.builder.package.compile import Compiled
    from plimsoll.builder.steps.packagecommon import Storage
    from plimsoll.builder.steps.packagedecide import Decision
    from plimsoll.builder.steps.packagefiles import Files
    from plimsoll.builder.steps.packageset import Wanted

PLAN_TYPE = "application/vnd.plimsoll.package-plan.v1+json"
GUEST_TYPE = "application/vnd.plimsoll.package-guest.v1+json"
UNSIGNED_TYPE = "application/vnd.plimsoll.packages-unsigned.v1+json"
TREE_TYPE = "application/vnd.plimsoll.source-tree.v1.tar"
_MAX_TAR = MAX_TREE + (64 << 20)
T = TypeVar("T", bound=BaseModel)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedConfiguration(_Model):
    """A configuration; its trees are layers of the plan, named by their numbers."""

    path: str
    text: str
    written_epoch: int
    files: int = -1
    pipelines: int = -1
    repository: str = ""
    commit: str = ""
    signer: dict[str, str] | None = None


class PlannedPackage(_Model):
    """One package and architecture of a plan."""

    configuration: int
    status: str
    version: str
    """Without the epoch."""

    epoch: int
    inputs: str
    inputs_hash: str
    reason: str = ""
    on: str = ""


class PlanRecord(_Model):
    """All that a plan found out."""

    configurations: list[PlannedConfiguration]
    packages: dict[str, PlannedPackage]
    """By ``NAME/ARCH`` (OCI name)."""

    indexes: dict[str, str] = {}
    """Digest of the index's manifest that it was made for, by architecture."""


class GuestPackage(_Model):
    """A package of a guest."""

    name: str
    version: str
    url: str
    sha1: str
    """Of its control section (hex): what indexes know it by."""


class GuestRecord(_Model):
    """What a guest image was made of."""

    name: str
    arch: str
    base: KnownGuest
    libraries: dict[str, str]
    """Soname → version of the package that offers it in the guest."""

    bases: dict[str, str]
    """Libraries of the repository itself at that moment: soname → ``base``."""

    packages: list[GuestPackage]

    signers: dict[str, dict[str, str]] = {}
    """Who signed what was taken from Git, by URL."""


class BuiltPackage(_Model):
    """One package of a build."""

    name: str
    file: str
    sha256: str
    exports: dict[str, list[str]] = {}
    """Symbols of each library that it offers, by soname."""


class BuildRecord(_Model):
    """What was built and how."""

    name: str
    path: str = ""
    """Of the configuration's file."""

    arch: str
    version: str
    epoch: int
    inputs: str
    links: dict[str, str] = {}
    packages: list[BuiltPackage]
    guest: str
    base: KnownGuest | None = None
    guest_packages: list[GuestPackage] = []
    sources: list[dict[str, str]] = []
    findings: list[str] = []
    abi: list[str] = []
    """What programs built against the published libraries would miss."""

    compatible: list[str] = []
    """Sonames whose published symbols are all still there."""

    repository: str = ""
    commit: str = ""
    signer: dict[str, str] | None = None
    """Who signed the configuration."""

    signers: dict[str, dict[str, str]] = {}
    """Who signed what was taken from Git, by URL."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One package of a plan, ready to be compiled.

    Attributes:
        configuration: with the epoch that the plan decided on.
    """

    package: PlannedPackage
    configuration: Configuration
    arch: Arch

    def compile(self, request: PackageRequest) -> Compiled:
        """Compile it; raises ``PackageConfigError``."""
        return compiled_for(self.configuration, request, self.arch)


async def push_plan(
    storage: Storage,
    found: Mapping[Arch, Wanted],
    decisions: Mapping[Arch, list[Decision]],
    indexes: Mapping[Arch, str],
) -> str:
    """Push a plan; returns its digest.

    Args:
        storage: where.
        found: configurations.
        decisions: about them.
        indexes: digest of the index's manifest by architecture.
    """
    layers: list[Layer] = []
    numbers: dict[int, int] = {}
    configurations: list[PlannedConfiguration] = []
    packages: dict[str, PlannedPackage] = {}
    trees: dict[bytes, int] = {}

    def number(files: Files) -> int:
        if not files:
            return -1
        data = to_tar(files)
        if data not in trees:
            trees[data] = len(layers)
            layers.append(Layer(TREE_TYPE, data))
        return trees[data]

    for arch, decided in decisions.items():
        for one in decided:
            configuration = found[arch].configurations[one.name]
            if id(configuration) not in numbers:
                numbers[id(configuration)] = len(configurations)
                configurations.append(
                    PlannedConfiguration(
                        path=configuration.path,
                        text=configuration.text,
                        written_epoch=found[arch].items[one.name].epoch,
                        files=number(configuration.files),
                        pipelines=number(configuration.pipelines),
                        repository=configuration.repository,
                        commit=configuration.commit,
                        signer=configuration.signer,
                    )
                )
            packages[f"{one.name}/{arch.oci}"] = PlannedPackage(
                configuration=numbers[id(configuration)],
                status=one.status,
                version=one.version,
                epoch=one.epoch,
                inputs=found[arch].items[one.name].inputs,
                inputs_hash=one.inputs_hash,
                reason=one.reason,
                on=one.on,
            )
    record = PlanRecord(
        configurations=configurations,
        packages=packages,
        indexes={arch.oci: digest for arch, digest in indexes.items()},
    )
    return (await storage.push(PLAN_TYPE, record.model_dump(mode="json"), layers)).digest


async def pull_planned(storage: Storage, plan: str, name: str, arch: Arch) -> Planned:
    """One package of a plan.

    Raises:
        RequestError: the plan does not have it.
        RegistryError: the registry fails.
    """
    pulled = await storage.pull(PLAN_TYPE, plan)
    record = parse_record(PlanRecord, pulled.record, plan)
    package = record.packages.get(f"{name}/{arch.oci}")
    if package is None:
        raise RequestError(
            f"the plan {plan} has no package {name} for {arch.oci}", hint="plan again"
        )
    one = record.configurations[package.configuration]

    async def files(number: int) -> Files:
        if number < 0:
            return {}
        data = await storage.blob(pulled.layers[number], _MAX_TAR)
        return await asyncio.to_thread(from_tar, data, f"a tree of the plan {plan}")

    configuration = Configuration(
        one.path,
        one.text,
        await files(one.files),
        await files(one.pipelines),
        one.repository,
        one.commit,
        one.signer,
    )
    return Planned(package, configuration.with_epoch(package.epoch, one.written_epoch), arch)


def parse_record(model: type[T], record: Mapping[str, Any], where: str) -> T:
    """Read a record; raises ``RequestError`` for one of another version."""
    try:
        return model.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise RequestError(
            f"the record {where} is not valid: {path}: {first['msg']}",
            hint="operator and builder must be of the same version; plan again",
        ) from None


async def pull_guest(storage: Storage, digest: str) -> GuestRecord:
    """What prepare recorded about a guest.

    Raises:
        RequestError: nothing.
        RegistryError: the registry fails.
    """
    target = storage.repository.with_digest(digest)
    for found in await storage.registry.referrers(target, GUEST_TYPE):
        reference = storage.repository.with_digest(found.digest)
        descriptor, data = await storage.registry.get_manifest(reference)
        manifest = Manifest.parse(data, descriptor.media_type, what=str(reference))
        if manifest.artifact_type == GUEST_TYPE and len(manifest.layers) == 1:
            blob = await storage.blob(manifest.layers[0])
            return parse_record(
                GuestRecord, load_object(blob, what=str(reference), max_size=MAX_RECORD), digest
            )
    raise RequestError(f"nothing is recorded about {target}", hint="prepare the package again")
