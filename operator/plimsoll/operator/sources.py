"""From a spec and what it refers to, to what a build starts from. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from plimsoll import yaml12
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.meta import find_condition
from plimsoll.api.steps import RepositorySource
from plimsoll.operator.specs import InvalidSpecError, MissingError, explain, parse_archs
from plimsoll.operator.variants import check_tests, facts_of, variants_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.imagebuild import ImageBuild
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.repository import RepositoryKey, RepositoryUse
    from plimsoll.arch import Arch
    from plimsoll.operator.state import Observed
    from plimsoll.operator.variants import VariantConfiguration

#: Reasons of a PackageRepo's ``Reconciling`` while its index is about to change.
UNSETTLED = frozenset({"ReadingKeys", "Planning", "Building", "Publishing"})
DEFAULT_ARCHS = ("amd64", "arm64")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the image shall be.

    Attributes:
        hash: over everything that makes a difference to the image.
    """

    image: ImageConfiguration
    archs: tuple[Arch, ...]
    hash: str
    variants: tuple[VariantConfiguration, ...] = ()


@dataclass(frozen=True, slots=True)
class Repositories:
    """Where packages come from.

    Attributes:
        hash: over URLs, keys and the verified indexes of PackageRepos.
        unsettled: whether one of them is being built, so that its index is about to change.
    """

    sources: tuple[RepositorySource, ...]
    hash: str
    unsettled: bool = False


def configuration(desired: ImageBuild, observed: Observed) -> Configuration:
    """What the image shall be.

    Raises:
        InvalidSpecError: with the place of the fault.
        MissingError: the ConfigMap or its entry is not there.
    """
    if observed.fault:
        raise InvalidSpecError(observed.fault, hint="correct the spec")
    spec = desired.spec
    image = spec.image if spec.image is not None else _from_config_map(desired, observed)
    _check_image(image)
    archs = parse_archs(list(spec.archs) or list(image.archs) or list(DEFAULT_ARCHS))
    variants = variants_of(spec, image)
    check_tests(spec)
    facts = {
        "image": image.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "repositories": [r.model_dump(mode="json", exclude_none=True) for r in spec.repositories],
        "output": spec.output.model_dump(mode="json", exclude_none=True),
        "archs": [arch.oci for arch in archs],
        "signing": spec.signing and spec.signing.model_dump(mode="json"),
        "attest": spec.attest and spec.attest.model_dump(mode="json"),
        **facts_of(spec, variants),
    }
    return Configuration(image, archs, hash_of(facts), variants)


def repositories(uses: Sequence[RepositoryUse], known: Mapping[str, PackageRepo]) -> Repositories:
    """Where packages come from.

    Args:
        uses: what is referred to.
        known: the PackageRepos among it that exist, by name.

    Raises:
        MissingError: a PackageRepo is not there, or was not verified.
    """
    sources: list[RepositorySource] = []
    facts: list[Any] = []
    moving = False
    for use in uses:
        if use.name is None:
            source = RepositorySource(url=use.url or "", keys=_keys(use.keys or []))
            facts.append(source.model_dump(mode="json"))
        else:
            repo = known.get(use.name)
            source = _repository(use.name, repo)
            indexes = {index.arch: index.digest for index in repo.status.indexes} if repo else {}
            moving = moving or (repo is not None and unsettled(repo))
            facts.append({**source.model_dump(mode="json"), "indexes": indexes})
        sources.append(source)
    return Repositories(sources=tuple(sources), hash=hash_of(facts), unsettled=moving)


def unsettled(repo: PackageRepo) -> bool:
    """Whether a PackageRepo is being built, so that its index is about to change."""
    if repo.spec.packages is None or repo.spec.suspend:
        return False
    if repo.status.observed_generation != repo.metadata.generation:
        return True
    moving = find_condition(repo.status.conditions, "Reconciling")
    return moving is not None and moving.status == "True" and moving.reason in UNSETTLED


def _repository(name: str, repo: PackageRepo | None) -> RepositorySource:
    if repo is None:
        raise MissingError(
            "PackageRepoNotFound",
            f"there is no PackageRepo {name}",
            "create it in this namespace, or correct spec.repositories",
        )
    ready = find_condition(repo.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        state = ready.message if ready and ready.message else "it was not verified yet"
        coming = ready is None or ready.status == "Unknown"
        if coming and repo.spec.packages is not None:
            state = "its packages are being built"
        raise MissingError(
            "PackageRepoNotReady",
            f"PackageRepo {name} is not ready: {state}",
            f"see: kubectl describe packagerepo {name}",
            expected=coming,
        )
    if repo.spec.upstream is not None:
        return RepositorySource(url=repo.spec.upstream.url, keys=_keys(repo.spec.upstream.keys))
    status = repo.status
    return RepositorySource(
        url=status.url or "", keys={key.name: key.data for key in status.public_keys}
    )


def _keys(keys: Sequence[RepositoryKey]) -> dict[str, str]:
    return {key.name: key.data or key.url or "" for key in keys}


def _from_config_map(desired: ImageBuild, observed: Observed) -> ImageConfiguration:
    reference = desired.spec.image_from
    if reference is None:
        raise InvalidSpecError("neither image nor imageFrom is set", hint="set one of them")
    name, key = reference.config_map.name, reference.config_map.key
    if observed.config_map is None:
        raise MissingError(
            "ConfigMapNotFound",
            f"there is no ConfigMap {name}",
            "create it in this namespace, or correct spec.imageFrom",
        )
    if key not in observed.config_map:
        raise MissingError(
            "ConfigMapKeyNotFound",
            f"ConfigMap {name} has no entry {key}",
            f"it has {', '.join(sorted(observed.config_map)) or 'none'}; "
            "set spec.imageFrom.configMap.key",
        )
    place = f"ConfigMap {name}, {key}"
    try:
        document = yaml12.load(observed.config_map[key], place)
        return ImageConfiguration.model_validate(document.value)
    except ValidationError as error:
        raise InvalidSpecError(
            f"{place}: {explain(error)}", hint="correct the image configuration"
        ) from None
    except yaml12.YamlError as error:
        raise InvalidSpecError(error.message, hint=error.hint) from None


def _check_image(image: ImageConfiguration) -> None:
    if image.include:
        raise InvalidSpecError(
            "the image configuration has include, and there are no files beside it",
            hint="remove include, or build with the command line",
        )


def hash_of(facts: Mapping[str, Any] | list[Any]) -> str:
    """A short hash of JSON."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
