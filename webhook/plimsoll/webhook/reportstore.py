"""Reports in the cluster: written where they say something new, taken away where nothing runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import structlog

from plimsoll.kube.errors import KubeError
from plimsoll.webhook.paging import pages
from plimsoll.webhook.reports import KINDS, SELECTOR, failures, name_of, report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plimsoll.kube.client import KubeClient
    from plimsoll.webhook.reports import ReportKind, Row, Workload

log = structlog.get_logger("plimsoll.webhook.reports")

_QUERY = urlencode({"labelSelector": SELECTOR})


class ReportStore:
    """The reports of one round.

    Args:
        api: the session.
        kind: that the cluster knows; ``None``: it knows none, and nothing is written.
        old: what is there, by namespace and name.
    """

    def __init__(
        self,
        api: KubeClient,
        kind: ReportKind | None,
        old: dict[tuple[str, str], dict[str, Any]],
    ) -> None:
        self._api = api
        self._kind = kind
        self._old = old
        self._kept: set[tuple[str, str]] = set()
        self.written = 0

    @classmethod
    async def open(cls, api: KubeClient) -> ReportStore:
        """Find out which kind of report the cluster knows, and read ours.

        Raises:
            KubeError: the API server refused or did not answer.
        """
        for kind in KINDS:
            try:
                old = {
                    (item["metadata"]["namespace"], item["metadata"]["name"]): _kept(item)
                    async for item in pages(api, f"{kind.api}/{kind.plural}", _QUERY)
                }
            except KubeError as error:
                if error.status == 404:
                    continue
                raise
            return cls(api, kind, old)
        return cls(api, None, {})

    def failures(self, workload: Workload) -> set[tuple[str, str]]:
        """What is known to fail already: policy and image."""
        return failures(self._old.get((workload.namespace, name_of(workload))))

    async def write(self, workload: Workload, rows: Iterable[Row]) -> None:
        """Write the report on a workload, if it says something new."""
        if self._kind is None:
            return
        key = (workload.namespace, name_of(workload))
        self._kept.add(key)
        old = self._old.get(key)
        body = report(self._kind, workload, rows, old, int(time.time()))
        if body is None:
            return
        place = f"{self._kind.api}/namespaces/{workload.namespace}/{self._kind.plural}"
        try:
            if old is None:
                await self._api.create(place, body)
            else:
                await self._api.replace(f"{place}/{name_of(workload)}", body)
            self.written += 1
        except KubeError as error:
            # The workload or its namespace may be going, or somebody changed the report: the
            # next round sees.
            log.warning("report not written", workload=str(workload), error=str(error))

    async def tidy(self) -> None:
        """Take away the reports on what runs no more, or is no longer guarded."""
        if self._kind is None:
            return
        for namespace, name in self._old.keys() - self._kept:
            place = f"{self._kind.api}/namespaces/{namespace}/{self._kind.plural}"
            try:
                await self._api.delete(f"{place}/{name}")
            except KubeError as error:
                log.warning("report not deleted", report=f"{namespace}/{name}", error=str(error))


def _kept(item: dict[str, Any]) -> dict[str, Any]:
    """What is needed of a report that is there: clusters have many."""
    metadata = {"resourceVersion": item["metadata"]["resourceVersion"]}
    return {"metadata": metadata, **{key: item.get(key) for key in ("summary", "results")}}
