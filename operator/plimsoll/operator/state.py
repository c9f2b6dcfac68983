"""What the pure part of the operator sees, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from plimsoll.api.packagerepo import PackageRepo

S = TypeVar("S")
JobPhase = Literal["waiting", "running", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class JobView:
    """One Job of a build, with what its pods tell.

    Attributes:
        build: id of the build.
        step: name of the step.
        arch: OCI name of the architecture, for ``assemble``.
        phase: ``waiting`` as long as no container runs.
        message: termination message of the pod that ended last.
        exit_code: of that pod's container.
        reason: why the Job failed, as Kubernetes says it, or ``OOMKilled``.
        trouble: what keeps a pod from starting, or why the last try failed, as a sentence.
        trouble_reason: the same as one CamelCase word.
        container: the container that ``message`` and ``exit_code`` are of.
        request: name of the ConfigMap that its pods read.
        address: address of a pod whose containers are all ready.
    """

    name: str
    build: str
    step: str
    arch: str = ""
    phase: JobPhase = "waiting"
    message: str = ""
    exit_code: int | None = None
    reason: str = ""
    trouble: str = ""
    trouble_reason: str = ""
    container: str = ""
    request: str = ""
    address: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.phase in {"succeeded", "failed"}


@dataclass(frozen=True, slots=True)
class Observed:
    """The world around one ImageBuild.

    Attributes:
        jobs: the Jobs it owns.
        repositories: the PackageRepos it refers to, by name; those that exist.
        config_map: data of the ConfigMap that ``imageFrom`` names; ``None`` if it is missing.
        fault: what is wrong with the spec, if it could not even be read.
        refused: what the API server refused to create, as a sentence.
        room: how many builds of it may run; ``None``: any number.
    """

    jobs: tuple[JobView, ...] = ()
    repositories: Mapping[str, PackageRepo] = field(default_factory=dict)
    config_map: Mapping[str, str] | None = None
    fault: str = ""
    refused: str = ""
    room: int | None = None


@dataclass(frozen=True, slots=True)
class PackagesObserved:
    """The world around one PackageRepo that is built here.

    Attributes:
        jobs: the Jobs it owns.
        repositories: the PackageRepos it refers to, by name; those that exist.
        config_maps: hash of the contents of the ConfigMaps it refers to; of those that exist.
        fault: what is wrong with the spec, if it could not even be read.
        refused: what the API server refused to create, as a sentence.
        room: how many packages of it may be built at the same time; ``None``: any number.
    """

    jobs: tuple[JobView, ...] = ()
    repositories: Mapping[str, PackageRepo] = field(default_factory=dict)
    config_maps: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    refused: str = ""
    room: int | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object; that it exists already is as good."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Apply:
    """Create an object, or make the one that exists like it."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MakeKey:
    """Make a Secret with a new signing key, unless there is one of this name.

    Attributes:
        key: what the name of the key begins with; no two keys have the same.
    """

    namespace: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object; that it is gone already is as good."""

    kind: Literal["ConfigMap", "Job"]
    namespace: str
    name: str


Action = Create | Apply | MakeKey | Delete


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell people who look at the object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan(Generic[S]):
    """What to do about one object.

    The status is written before the actions are carried out: a build that has begun is known by
    its id, whatever happens next.

    Attributes:
        requeue_after: look again at the latest after this time.
    """

    status: S
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: timedelta | None = None
