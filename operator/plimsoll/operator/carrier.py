"""Carries out what was decided about the objects of one kind, and remembers what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plimsoll.operator.act import carry_out
from plimsoll.operator.objects import write_status

if TYPE_CHECKING:
    from datetime import datetime

    from plimsoll.api.base import Model
    from plimsoll.api.meta import ObjectMeta
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.podspec import OwnerKind
    from plimsoll.operator.recorder import Recorder
    from plimsoll.operator.slots import Slots
    from plimsoll.operator.state import Plan
    from plimsoll.operator.workqueue import Key

Body = dict[str, Any]


class Carrier:
    """The hands of a controller.

    Args:
        kind: of the objects.
        kube: the API server.
        recorder: posts events.
        slots: counts what runs.
    """

    def __init__(self, kind: OwnerKind, kube: KubeClient, recorder: Recorder, slots: Slots) -> None:
        self._kind = kind
        self._kube = kube
        self._recorder = recorder
        self._slots = slots
        # What the API server refused last, told in the condition until it is accepted.
        self._refused: dict[Key, str] = {}

    def refused(self, key: Key) -> str:
        """What the API server refused last, as a sentence."""
        return self._refused.get(key, "")

    def room(self, key: Key) -> int | None:
        """How many builds of an object may run. ``carry_out`` must follow with no wait between."""
        return self._slots.room(key)

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self._refused.pop(key, None)
        self._slots.note(key, 0)

    async def carry_out(  # noqa: PLR0913, PLR0917  an object before and after
        self,
        key: Key,
        body: Body,
        about: ObjectMeta,
        before: Model,
        plan: Plan[Any],
        running: int,
        now: datetime,
    ) -> tuple[Body, bool]:
        """Write the status, then act, then tell.

        Args:
            key: of the object.
            body: the object as the API server gave it.
            about: its metadata.
            before: its status.
            plan: what was decided.
            running: how many builds of it run then.
            now: the present time.

        Returns:
            The object as it is now, and whether to look at once, as something was refused that was
            not refused before.

        Raises:
            KubeError: the API server is not reachable, or somebody wrote in between (409).
        """
        self._slots.note(key, running)
        body = await write_status(self._kube, self._kind, key, body, (before, plan.status))
        refusal = await carry_out(self._kube, plan.actions)
        await self._recorder.post(self._kind, about, plan.events, now)
        news = bool(refusal) and refusal != self.refused(key)
        if refusal:
            self._refused[key] = refusal
        else:
            self._refused.pop(key, None)
        return body, news
