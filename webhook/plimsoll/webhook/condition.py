"""The ``Ready`` condition of policies and trust roots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from plimsoll.api.meta import Condition, find_condition, with_condition
from plimsoll.api.policy import PolicyStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def ready_patch(item: Mapping[str, Any], fault: str, now: datetime) -> dict[str, Any] | None:
    """A merge patch that makes the object's status say what is so; ``None`` if it does already.

    Args:
        item: the object as it stands.
        fault: why it is not in force, or empty.
        now: UTC.
    """
    metadata = item.get("metadata") or {}
    generation = metadata.get("generation", 0)
    try:
        status = PolicyStatus.model_validate(item.get("status") or {})
    except ValidationError:
        status = PolicyStatus()
    wanted = Condition(
        type="Ready",
        status="False" if fault else "True",
        reason="Invalid" if fault else "InForce",
        message=fault[:32768] or "understood and in force",
        observed_generation=generation,
    )
    present = find_condition(status.conditions, "Ready")
    if present is not None:
        told = present.model_copy(update={"last_transition_time": None})
        if told == wanted and status.observed_generation == generation:
            return None
    new = PolicyStatus(
        observed_generation=generation,
        conditions=with_condition(status.conditions, wanted, now),
    )
    return {
        # With a version, of two replicas that say the same only the first is heard.
        "metadata": {"resourceVersion": metadata.get("resourceVersion")},
        "status": new.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
