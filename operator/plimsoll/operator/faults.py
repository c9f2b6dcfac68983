"""What is said of an object that the operator cannot reconcile, so that nobody waits in silence."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import TypeAdapter, ValidationError

from plimsoll.api.meta import Condition, ObjectMeta, find_condition
from plimsoll.errors import Error
from plimsoll.kube.errors import KubeError
from plimsoll.kube.paths import path
from plimsoll.operator.conditions import say
from plimsoll.operator.podspec import plain
from plimsoll.operator.state import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.conditions import Says
    from plimsoll.operator.recorder import Recorder
    from plimsoll.operator.workqueue import Key

#: Writing a status brings the object back at once; a sentence that is another one each time must
#: not make a circle of that.
_PAUSE = 60.0
_LIMIT = 1000
_CONDITIONS = TypeAdapter(list[Condition])

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an object cannot be reconciled."""

    reason: str
    message: str


def fault_of(error: Exception) -> Fault | None:
    """What to say of an error; ``None`` of one that passes, or that only another look can tell."""
    if isinstance(error, KubeError):
        if error.retryable or error.status == 404:
            return None
        hint = "see the operator's log"
        if error.status == 403:
            hint = "give the operator the rights of the chart that it was installed with"
        return Fault(error.reason, f"{error.message} ({error.hint or hint})")
    if isinstance(error, Error):
        return None if error.retryable else Fault(error.reason, str(error))
    said = f"{type(error).__name__}: {error}"[:_LIMIT]
    return Fault(
        "InternalError",
        f"the operator cannot cope with this object: {said} (its log says where; "
        "try a newer version, and report it with the object)",
    )


def stalled(
    conditions: Sequence[Condition], seen: int | None, fault: Fault, generation: int, now: datetime
) -> list[Condition]:
    """The conditions with a fault said; what was known of this generation stays.

    Args:
        conditions: as they are.
        seen: the generation that they speak of.
        fault: to say.
        generation: of the object.
        now: the present time.
    """
    words = (fault.reason, fault.message)
    says: dict[str, Says] = {
        "Reconciling": ("False", fault.reason, "the operator cannot go on; it tries now and then"),
        "Stalled": ("True", *words),
    }
    if seen != generation or find_condition(conditions, "Ready") is None:
        says = {"Ready": ("Unknown", *words), **says}
    return say(conditions, says, generation, now)


class Faults:
    """Says in an object's conditions, and by an event, why it cannot be reconciled."""

    def __init__(self, kube: KubeClient, recorder: Recorder) -> None:
        self._kube = kube
        self._recorder = recorder
        self._told: dict[Key, float] = {}

    async def tell(self, key: Key, error: Exception) -> None:
        """Say it, unless it was said. Never raises: who cannot write can only log."""
        fault = fault_of(error)
        if fault is None or time.monotonic() < self._told.get(key, 0.0):
            return
        try:
            body = await self._kube.find(path(key.kind, key.namespace, key.name))
            if body is not None:
                await self._write(key, body, fault)
        except Exception as problem:  # noqa: BLE001  of two faults the first one counts
            log.warning("fault not told", object=str(key), error=str(problem))

    def forget(self, key: Key) -> None:
        """The object can be reconciled again, or is gone."""
        self._told.pop(key, None)

    async def _write(self, key: Key, body: Mapping[str, Any], fault: Fault) -> None:
        about = ObjectMeta.model_validate(body["metadata"])
        status: dict[str, Any] = body.get("status") or {}
        before = _readable(status)
        now = datetime.now(UTC)
        seen = status.get("observedGeneration")
        after = stalled(before, seen, fault, about.generation, now)
        if after == before or about.deletion_timestamp is not None:
            return
        self._told[key] = time.monotonic() + _PAUSE
        said = [plain(condition) for condition in after]
        status = {**status, "observedGeneration": about.generation, "conditions": said}
        where = path(key.kind, key.namespace, key.name, "status")
        await self._kube.replace(where, {**body, "status": status})
        event = Event("Warning", fault.reason, fault.message)
        await self._recorder.post(key.kind, about, [event], now)


def _readable(status: Mapping[str, Any]) -> list[Condition]:
    try:
        return _CONDITIONS.validate_python(status.get("conditions") or [])
    except ValidationError:
        return []
