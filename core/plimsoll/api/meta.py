"""What all custom resources share: metadata, conditions, references, and a kind's definition."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from plimsoll.api.base import Model, StrictModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel

GROUP = "plimsoll.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

#: Category of every kind: ``kubectl get plimsoll``.
CATEGORY = "plimsoll"

#: Annotation that asks for a reconciliation now; its value is echoed in the status.
REQUESTED_AT = f"{GROUP}/requested-at"

#: Annotation that ends a build; its value is the build's name, so that it ends no other.
CANCEL = f"{GROUP}/cancel"

_DURATION_PATTERN = "([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?"
_DURATION = re.compile(_DURATION_PATTERN)

ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"),
]
"""Name of an object: lower case letters, digits, ``-`` and ``.``."""

Duration = Annotated[
    str,
    StringConstraints(min_length=2, max_length=20, pattern=f"^{_DURATION_PATTERN}$"),
]
"""A length of time: ``1h30m``, ``45s``."""


def cel(*rules: tuple[str, str]) -> ConfigDict:
    """Configuration of a model with CEL rules (rule, message) that the API server applies."""
    validations: list[Any] = [{"rule": rule, "message": message} for rule, message in rules]
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": validations})


def listed_by(*keys: str) -> dict[str, Any]:
    """Schema extension of a list whose entries are told apart by ``keys``."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def parse_duration(text: str) -> timedelta:
    """Read a ``Duration``.

    Raises:
        ValueError: it has another form.
    """
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is no duration: write 1h30m, 45s")
    hours, minutes, seconds = (int((part or "0s")[:-1]) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


class ObjectMeta(Model):
    """The part of an object's metadata that we read."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class LocalReference(StrictModel):
    """An object of the same namespace."""

    name: ObjectName
    """Name of the object."""


class Condition(Model):
    """One aspect of an object's state."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    """Name of the condition, unique in its list."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    reason: Annotated[str, StringConstraints(max_length=1024)] = ""
    """Why, as one CamelCase word for programs."""

    message: Annotated[str, StringConstraints(max_length=32768)] = ""
    """Why, as a sentence for people."""

    observed_generation: int | None = None
    """Generation of the spec that this speaks of."""

    last_transition_time: datetime | None = None
    """When ``status`` last changed."""


Conditions = Annotated[list[Condition], Field(max_length=16, json_schema_extra=listed_by("type"))]


def find_condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of one type."""
    return next((c for c in conditions if c.type == kind), None)


def with_condition(
    conditions: Sequence[Condition], new: Condition, now: datetime
) -> list[Condition]:
    """The list with one condition set; its transition time moves only when its status does."""
    old = find_condition(conditions, new.type)
    same = old is not None and old.status == new.status
    since = old.last_transition_time if old is not None and same else None
    placed = new.model_copy(update={"last_transition_time": since or now.replace(microsecond=0)})
    if old is None:
        return [*conditions, placed]
    return [placed if c.type == new.type else c for c in conditions]


@dataclass(frozen=True)
class Column:
    """A column of ``kubectl get``."""

    name: str
    path: str
    """JSONPath from the object's root."""

    type: Literal["string", "integer", "date", "boolean"] = "string"
    description: str = ""
    wide: bool = False
    """Shown by ``-o wide`` only."""


@dataclass(frozen=True)
class Definition:
    """A kind of ours, for its CustomResourceDefinition."""

    kind: str
    plural: str
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


AGE = Column("Age", ".metadata.creationTimestamp", "date")
READY = Column(
    "Ready",
    '.status.conditions[?(@.type=="Ready")].status',
    description="Whether the object is what its spec asks for.",
)
REASON = Column("Reason", '.status.conditions[?(@.type=="Ready")].reason')
