"""One replica of several does what need be done once: a Lease (``coordination.k8s.io/v1``)."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from plimsoll.kube.errors import KubeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plimsoll.kube.client import KubeClient

log = structlog.get_logger("plimsoll.webhook.lease")

SECONDS = 15
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class Leader:
    """Tries to hold a Lease, and knows whether it does.

    Clocks of nodes differ, so a Lease of another holder counts as given up when it has not
    changed for its duration by our own clock.

    Args:
        api: the session.
        name: of the Lease, in the session's namespace.
        identity: of this process; unlike that of any other.
        seconds: how long a holder that is silent keeps the Lease.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        api: KubeClient,
        name: str,
        identity: str,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._place = f"/apis/coordination.k8s.io/v1/namespaces/{api.config.namespace}/leases"
        self._name = name
        self._identity = identity
        self._seconds = seconds
        self._clock = clock
        self._until = 0.0
        self._seen: tuple[Any, float] = (None, 0.0)
        self._changed = asyncio.Event()

    @property
    def leading(self) -> bool:
        """Whether this process holds the Lease for certain."""
        return self._clock() < self._until

    async def wait(self) -> None:
        """Wait until this process holds the Lease."""
        while not self.leading:
            self._changed.clear()
            await self._changed.wait()

    async def run(self) -> None:
        """Take the Lease when it is free, and keep it, until cancelled; then give it back."""
        try:
            while True:
                was = self.leading
                try:
                    await self.step()
                except KubeError as error:
                    log.warning("lease not renewed", lease=self._name, error=str(error))
                if self.leading != was:
                    log.info("leading" if self.leading else "following", lease=self._name)
                    self._changed.set()
                await asyncio.sleep(self._seconds / 5)
        finally:
            await self._give_back()

    async def step(self) -> None:
        """Take or renew the Lease once.

        Raises:
            KubeError: the API server refused or did not answer; what is held stays so until the
                Lease would end.
        """
        begin = self._clock()
        found = await self._api.find(f"{self._place}/{self._name}")
        spec = (found or {}).get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if found is not None and holder not in {"", self._identity}:
            self._until = 0.0
            record = (holder, spec.get("renewTime"), spec.get("leaseTransitions"))
            if record != self._seen[0]:
                self._seen = (record, begin)
            if begin - self._seen[1] < float(spec.get("leaseDurationSeconds") or self._seconds):
                return
        try:
            await self._write(found, spec, taken=holder != self._identity)
        except KubeError as error:
            if error.status != 409:
                raise
            # Another one was faster.
            self._until = 0.0
            return
        # A little less than others grant us, so that there are never two.
        self._until = begin + self._seconds * 0.8

    async def _write(
        self, found: Mapping[str, Any] | None, old: Mapping[str, Any], *, taken: bool
    ) -> None:
        now = datetime.now(UTC).strftime(_TIME)
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "acquireTime": now if taken else old.get("acquireTime") or now,
            "renewTime": now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + taken,
        }
        metadata: dict[str, Any] = {"name": self._name}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        if found is None:
            await self._api.create(self._place, {**body, "metadata": metadata, "spec": spec})
            return
        metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        path = f"{self._place}/{self._name}"
        await self._api.replace(path, {**body, "metadata": metadata, "spec": spec})

    async def _give_back(self) -> None:
        if not self.leading:
            return
        self._until = 0.0
        body = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
        try:
            async with asyncio.timeout(2):
                await self._api.merge(f"{self._place}/{self._name}", body)
        except (KubeError, TimeoutError) as error:
            log.warning("lease not given back", lease=self._name, error=str(error))
