"""What runs already is judged again.

Namely when policies, keys or trust roots change, and by the clock, as reports and signatures
change in registries. One replica does it, one image at a time and no faster than it is told, so
that it never stands in the way of admission. Nothing is stopped: the results are reports, metrics
and alerts.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import structlog

from plimsoll.kube.errors import KubeError
from plimsoll.oci.digest import is_digest
from plimsoll.webhook import admission
from plimsoll.webhook.alerts import Alert
from plimsoll.webhook.errors import BadReviewError
from plimsoll.webhook.paging import pages
from plimsoll.webhook.reports import Row, Workload
from plimsoll.webhook.reportstore import ReportStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.kube.client import KubeClient
    from plimsoll.webhook.admission import Review
    from plimsoll.webhook.alerts import Alerts
    from plimsoll.webhook.decide import Decider, Decision, PolicySource
    from plimsoll.webhook.lease import Leader
    from plimsoll.webhook.settings import Settings

log = structlog.get_logger("plimsoll.webhook.background")

#: Seconds between two looks at the policies, and for them to settle.
_LOOK = 1.0
#: Seconds after the API server did not answer.
_RETRY = 10.0
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
#: Policy in a report where none could be asked or none matched.
NO_POLICY = "plimsoll"


@dataclass
class Findings:
    """What the last round found, for metrics."""

    rounds: int = 0
    seconds: float = 0.0
    finished: float = 0.0
    """Seconds since 1970; 0 before the first round."""

    results: Counter[str] = field(default_factory=Counter)
    """Images of workloads by result."""

    failing: Counter[str] = field(default_factory=Counter)
    """Images of workloads that fail, by policy."""

    failed: dict[Workload, set[tuple[str, str]]] = field(default_factory=dict)
    """Policy and image of each failure, for clusters that know no reports."""


class Background:
    """Judges running pods.

    Args:
        api: the session.
        settings: which namespaces, how often, how fast.
        source: the policies.
        decider: judges.
        leader: whether it is our turn.
        alerts: are told of what fails and did not before.
    """

    def __init__(  # noqa: PLR0913, PLR0917  its surroundings
        self,
        api: KubeClient,
        settings: Settings,
        source: PolicySource,
        decider: Decider,
        leader: Leader,
        alerts: Alerts,
    ) -> None:
        self._api = api
        self._settings = settings
        self._source = source
        self._decider = decider
        self._leader = leader
        self._alerts = alerts
        self._seen: set[str] = set()
        self.findings = Findings()

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            await self._leader.wait()
            generation = await self._settled()
            try:
                await self.round()
            except KubeError as error:
                log.warning("what runs could not be judged", error=str(error))
                await asyncio.sleep(_RETRY)
                continue
            await self._until_due(generation)

    async def round(self) -> None:
        """Judge everything that runs once.

        Raises:
            KubeError: the API server refused or did not answer.
        """
        begin = time.monotonic()
        self._seen.clear()
        found = Findings(rounds=self.findings.rounds + 1)
        reports = await ReportStore.open(self._api)
        for namespace in await self._namespaces():
            await self._namespace(namespace, reports, found)
            if not self._leader.leading:
                return
        await reports.tidy()
        found.seconds, found.finished = time.monotonic() - begin, time.time()
        self.findings = found
        log.info(
            "what runs was judged",
            images=dict(found.results),
            failing=dict(found.failing),
            reports=reports.written,
            seconds=round(found.seconds, 2),
        )

    async def _namespace(self, namespace: str, reports: ReportStore, found: Findings) -> None:
        rows: dict[Workload, set[Row]] = {}
        path = f"/api/v1/namespaces/{namespace}/pods"
        async for pod in pages(self._api, path, "fieldSelector=status.phase%3DRunning"):
            workload = Workload.of_pod(pod)
            rows.setdefault(workload, set()).update(await self._pod(pod))
        for workload, one in rows.items():
            found.results.update(row.result for row in one)
            found.failing.update(row.policy for row in one if row.result == "fail")
            known = reports.failures(workload) | self.findings.failed.get(workload, set())
            if failed := {(row.policy, row.image) for row in one if row.result == "fail"}:
                found.failed[workload] = failed
            await reports.write(workload, one)
            for row in sorted(one, key=lambda row: (row.image, row.policy)):
                if row.result == "fail" and (row.policy, row.image) not in known:
                    place = (namespace, f"{workload.kind} {workload.name}")
                    self._alerts.tell(Alert("running", *place, row.image, row.policy, row.message))

    async def _pod(self, pod: Mapping[str, Any]) -> set[Row]:
        """Every image of a pod by every policy."""
        try:
            review = _review(pod)
        except BadReviewError as error:
            return {Row(NO_POLICY, "", "error", str(error))}
        rows: set[Row] = set()
        for use in dict.fromkeys(review.images):
            await self._pace(use.image)
            decision = await self._decider.decide(replace(review, images=(use,)))
            rows |= _rows(use.image, decision)
        return rows

    async def _pace(self, image: str) -> None:
        """Ask about new images slowly; an image that was asked about is remembered."""
        if image not in self._seen:
            self._seen.add(image)
            await asyncio.sleep(1 / self._settings.background_rate)

    async def _namespaces(self) -> list[str]:
        query = urlencode({"labelSelector": self._settings.namespace_selector})
        every = pages(self._api, "/api/v1/namespaces", query)
        names = [one["metadata"]["name"] async for one in every]
        exempt = self._settings.exempt_namespaces | {self._api.config.namespace}
        return [name for name in names if name not in exempt]

    async def _settled(self) -> int:
        """Wait until the policies have been the same for a moment; their generation."""
        generation = -1
        while generation != self._source.policies.generation or not self._source.ready:
            generation = self._source.policies.generation
            await asyncio.sleep(_LOOK)
        return generation

    async def _until_due(self, generation: int) -> None:
        """Wait for other policies, or for the time to look at registries again."""
        until = time.monotonic() + self._settings.background_seconds
        while time.monotonic() < until and self._leader.leading:
            if self._source.policies.generation != generation:
                return
            await asyncio.sleep(_LOOK)


def _review(pod: Mapping[str, Any]) -> Review:
    """The question whether a pod might be made as it runs."""
    metadata = pod["metadata"]
    request = {
        "uid": str(metadata.get("uid") or "running"),
        "kind": {"group": "", "kind": "Pod"},
        "operation": "CREATE",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "object": pod,
    }
    kind = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    review = admission.read({**kind, "request": request})
    running = _running(pod)
    images = tuple(
        replace(use, image=f"{use.image}@{running[use.name]}")
        if use.name in running and "@" not in use.image and use.role != "image volume"
        else use
        for use in review.images
    )
    return replace(review, images=images)


def _running(pod: Mapping[str, Any]) -> dict[str, str]:
    """Name of a container → digest of the image that it was started from, where that is told."""
    found: dict[str, str] = {}
    for key in _STATUSES:
        for one in (pod.get("status") or {}).get(key) or []:
            digest = str(one.get("imageID") or "").rpartition("@")[2]
            if is_digest(digest) and "@" in one["imageID"]:
                found[str(one.get("name"))] = digest
    return found


def _rows(image: str, decision: Decision) -> set[Row]:
    told = image
    if decision.digests and "@" not in image:
        told = f"{image}@{decision.digests[0][1]}"
    if decision.undecided:
        why = "; ".join((*decision.refusals, *decision.warnings))
        return {Row(NO_POLICY, told, "error", why)}
    rows = {
        Row(one.policy, told, _result(passed=one.passed, enforce=one.enforce), one.reason)
        for one in decision.verdicts
    }
    if not rows and decision.refusals:
        return {Row(NO_POLICY, told, "fail", "; ".join(decision.refusals))}
    return rows


def _result(*, passed: bool, enforce: bool) -> Any:
    if passed:
        return "pass"
    return "fail" if enforce else "warn"
