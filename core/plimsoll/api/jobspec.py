"""How the Jobs of a build run, as people say it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from plimsoll.api.base import StrictModel
from plimsoll.api.meta import Duration, LocalReference, ObjectName

Quantity = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) else value),
    Field(
        max_length=32,
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "pattern": r"^[0-9]+(\.[0-9]+)?([eE][0-9]+|m|k|Ki|M|Mi|G|Gi|T|Ti)?$",
        },
    ),
]


class Resources(StrictModel):
    """Compute resources of a container."""

    requests: dict[str, Quantity] | None = None
    """What is set aside for it: ``cpu``, ``memory``, ``ephemeral-storage``."""

    limits: dict[str, Quantity] | None = None
    """What it cannot exceed."""


class Toleration(StrictModel):
    """A taint of a node that does not matter."""

    key: Annotated[str, StringConstraints(max_length=317)] | None = None
    """Key of the taint; all keys if not given, with ``operator: Exists``."""

    operator: Literal["Equal", "Exists"] | None = None
    """How ``value`` relates to the taint's."""

    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Value of the taint."""

    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; all effects if not given."""

    toleration_seconds: int | None = None
    """How long a ``NoExecute`` taint is tolerated."""


class JobSpec(StrictModel):
    """How the Jobs of a build run."""

    resources: Resources | None = None
    """Compute resources of each Job's container."""

    node_selector: dict[str, str] | None = None
    """Labels of the nodes the Jobs may run on. No code of the image runs in them, so any node can
    build for any architecture."""

    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = None
    """Taints of nodes that the Jobs may run on all the same."""

    priority_class_name: ObjectName | None = None
    """PriorityClass of the Jobs' pods."""

    cache_claim: LocalReference | None = None
    """PersistentVolumeClaim that keeps verified packages between builds, so that only what changed
    is fetched and compressed again. What is in it is verified each time it is used."""

    timeout: Duration = "30m"
    """How long each Job may take, its retries included."""
