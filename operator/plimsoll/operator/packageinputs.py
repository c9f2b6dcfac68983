"""From the spec of a PackageRepo and what it refers to, to what packages are built from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.api.meta import parse_duration
from plimsoll.operator import sources
from plimsoll.operator.sources import hash_of
from plimsoll.operator.specs import InvalidSpecError, MissingError, parse_archs

if TYPE_CHECKING:
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagespec import PackagesSpec
    from plimsoll.arch import Arch
    from plimsoll.operator.sources import Repositories
    from plimsoll.operator.state import PackagesObserved

#: Of the spec, what makes no difference to what is built.
_HOW = {"parallelism", "job", "refresh_interval", "signing"}


@dataclass(frozen=True, slots=True)
class Inputs:
    """What packages are built from.

    Attributes:
        hash: over everything that a plan reads of the spec, of ConfigMaps and of the keys.
        signing: hash of who signs.
        secret: name of the Secret with the signing key.
    """

    spec: PackagesSpec
    archs: tuple[Arch, ...]
    hash: str
    signing: str
    secret: str

    @property
    def previous(self) -> list[str]:
        """Names of the Secrets with earlier keys."""
        return [each.name for each in self.spec.signing.previous_key_secrets]


def secret_name(desired: PackageRepo) -> str:
    """Name of the Secret with the signing key."""
    packages = desired.spec.packages
    if packages is not None and packages.signing.key_secret is not None:
        return packages.signing.key_secret.name
    return f"{desired.metadata.name[:240].rstrip('-.')}-signing"


def inputs(desired: PackageRepo, observed: PackagesObserved) -> Inputs:
    """What packages are built from.

    Raises:
        InvalidSpecError: with the place of the fault.
        MissingError: a ConfigMap is not there.
    """
    if observed.fault:
        raise InvalidSpecError(observed.fault, hint="correct the spec")
    spec = desired.spec.packages
    if spec is None:
        raise InvalidSpecError("spec.packages is not set", hint="set it, or spec.upstream")
    if any(use.name == desired.metadata.name for use in spec.repositories):
        raise InvalidSpecError(
            "spec.packages.repositories names the repository itself",
            hint="remove it: the repository is always one of its own",
        )
    archs = parse_archs(spec.archs)
    if spec.emulate_on is not None:
        parse_archs([spec.emulate_on])
    secret = secret_name(desired)
    signing = hash_of({"secret": secret, **spec.signing.model_dump(mode="json")})
    contents: dict[str, str] = {}
    for source in spec.sources:
        if source.config_map is None:
            continue
        name = source.config_map.name
        if name not in observed.config_maps:
            raise MissingError(
                "ConfigMapNotFound",
                f"there is no ConfigMap {name}",
                "create it in this namespace, or correct spec.packages.sources",
            )
        contents[name] = observed.config_maps[name]
    facts: dict[str, Any] = {
        "spec": spec.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={*_HOW, "retention"}
        ),
        "retention": [spec.retention.versions, spec.retention.days],
        "archs": [arch.oci for arch in archs],
        "configMaps": contents,
        "keys": {key.name: key.data for key in desired.status.public_keys},
        "current": desired.status.keys.current if desired.status.keys else "",
    }
    return Inputs(spec=spec, archs=archs, hash=hash_of(facts), signing=signing, secret=secret)


def repositories(desired: PackageRepo, observed: PackagesObserved) -> Repositories:
    """Where build dependencies come from.

    Raises:
        MissingError: a PackageRepo is not there, or was not verified.
    """
    spec = desired.spec.packages
    uses = spec.repositories if spec is not None else []
    return sources.repositories(uses, observed.repositories)


def polled(spec: PackagesSpec) -> float | None:
    """Seconds after which sources are looked at again that nobody tells about."""
    if all(source.git is None and source.oci is None for source in spec.sources):
        return None
    return max(parse_duration(spec.refresh_interval).total_seconds(), 60.0)
