"""Events about our objects, as ``kubectl describe`` shows them."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import structlog

from plimsoll.api.meta import API_VERSION
from plimsoll.errors import Error
from plimsoll.kube.paths import path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from plimsoll.api.meta import ObjectMeta
    from plimsoll.kube.client import KubeClient
    from plimsoll.operator.state import Event

COMPONENT = "plimsoll-operator"
_LIMIT = 1024

log = structlog.get_logger(__name__)


class Recorder:
    """Logs events and posts them; one that cannot be posted is no reason to stop."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._instance = os.environ.get("HOSTNAME", COMPONENT)

    async def post(
        self, kind: str, about: ObjectMeta, events: Iterable[Event], now: datetime
    ) -> None:
        """Post events about one object."""
        for event in events:
            log.info(
                event.message,
                kind=kind,
                namespace=about.namespace,
                name=about.name,
                reason=event.reason,
            )
            try:
                await self._kube.create(
                    path("Event", about.namespace), self._body(kind, about, event, now)
                )
            except Error as error:
                log.warning("event not posted", reason=event.reason, error=str(error))

    def _body(self, kind: str, about: ObjectMeta, event: Event, now: datetime) -> dict[str, Any]:
        facts = f"{about.uid}/{event.reason}/{event.message}/{now.isoformat()}"
        unique = hashlib.sha256(facts.encode()).hexdigest()[:16]
        time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        message = event.message
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about.name[:230]}.{unique}", "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": kind,
                "name": about.name,
                "namespace": about.namespace,
                "uid": about.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": message if len(message) <= _LIMIT else f"{message[: _LIMIT - 1]}…",
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }
