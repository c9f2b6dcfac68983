"""Reports on what runs: pure, from verdicts to objects.

``PolicyReport`` of ``wgpolicyk8s.io/v1alpha2`` and ``Report`` of ``openreports.io/v1alpha1`` have
the same fields where we use them. One report is about one workload: the controller of pods (a
ReplicaSet, a StatefulSet…), or a pod that has none. It belongs to it, so that it goes with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Result = Literal["pass", "fail", "warn", "error"]

MANAGER = "plimsoll-webhook"
SELECTOR = f"app.kubernetes.io/managed-by={MANAGER}"
#: Results of one report; those that matter most are kept.
MAX_RESULTS = 100
_MAX_MESSAGE = 500
_ORDER: dict[str, int] = {"fail": 0, "error": 1, "warn": 2, "pass": 3}
_SEVERITY: dict[str, str] = {"fail": "high", "error": "medium", "warn": "low"}


@dataclass(frozen=True, slots=True)
class ReportKind:
    """A kind of report that a cluster may know."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api(self) -> str:
        """``/apis/GROUP/VERSION``."""
        return f"/apis/{self.group}/{self.version}"


KINDS = (
    ReportKind("openreports.io", "v1alpha1", "Report", "reports"),
    ReportKind("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports"),
)


@dataclass(frozen=True, slots=True)
class Workload:
    """What pods belong to."""

    namespace: str
    api_version: str
    kind: str
    name: str
    uid: str

    @classmethod
    def of_pod(cls, pod: Mapping[str, Any]) -> Workload:
        """The controller of a pod, or the pod itself."""
        metadata = pod["metadata"]
        namespace = metadata["namespace"]
        for owner in metadata.get("ownerReferences") or []:
            if owner.get("controller"):
                parts = (owner["apiVersion"], owner["kind"], owner["name"], owner["uid"])
                return cls(namespace, *parts)
        return cls(namespace, "v1", "Pod", metadata["name"], metadata["uid"])

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Row:
    """What one policy says about one image of a workload."""

    policy: str
    image: str
    """As the pod has it, with the digest that runs."""

    result: Result
    message: str = ""


def name_of(workload: Workload) -> str:
    """Name of the report on a workload."""
    return f"plimsoll-{workload.uid}"


def report(
    kind: ReportKind,
    workload: Workload,
    rows: Iterable[Row],
    old: Mapping[str, Any] | None,
    seconds: int,
) -> dict[str, Any] | None:
    """The report on a workload; ``None`` if the old one says the same.

    Args:
        kind: that the cluster knows.
        workload: what it is about.
        rows: what was found.
        old: the report that is there.
        seconds: now, since 1970. A result that stays the same keeps the time when it was found.
    """
    every = sorted(set(rows), key=lambda row: (_ORDER[row.result], row.image, row.policy))
    counts = Counter(row.result for row in every)
    summary = {name: counts.get(name, 0) for name in ("pass", "fail", "warn", "error")}
    results = [_result(row) for row in every[:MAX_RESULTS]]
    before = {_identity(one): one for one in (old or {}).get("results") or []}
    for one in results:
        known = before.get(_identity(one))
        stamp = known.get("timestamp") if known else None
        one["timestamp"] = stamp or {"seconds": seconds, "nanos": 0}
    told = (old or {}).get("summary") or {}
    same = {name: told.get(name, 0) for name in summary} == summary
    if old is not None and same and list(before) == [_identity(one) for one in results]:
        return None
    reference = {
        "apiVersion": workload.api_version,
        "kind": workload.kind,
        "name": workload.name,
        "uid": workload.uid,
    }
    metadata: dict[str, Any] = {
        "name": name_of(workload),
        "namespace": workload.namespace,
        "labels": {"app.kubernetes.io/managed-by": MANAGER},
        "ownerReferences": [reference],
    }
    if old is not None:
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
    return {
        "apiVersion": f"{kind.group}/{kind.version}",
        "kind": kind.kind,
        "metadata": metadata,
        "scope": {**reference, "namespace": workload.namespace},
        "summary": {**summary, "skip": 0},
        "results": results,
    }


def failures(old: Mapping[str, Any] | None) -> set[tuple[str, str]]:
    """Policy and image of each failure that a report tells."""
    return {
        (one.get("policy", ""), (one.get("properties") or {}).get("image", ""))
        for one in (old or {}).get("results") or []
        if one.get("result") == "fail"
    }


def _result(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        "source": "plimsoll",
        "category": "Image policy",
        "policy": row.policy,
        "result": row.result,
        "scored": row.result in {"pass", "fail"},
        "message": row.message[:_MAX_MESSAGE] or "it is satisfied",
        "properties": {"image": row.image},
    }
    if row.result in _SEVERITY:
        found["severity"] = _SEVERITY[row.result]
    return found


def _identity(one: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes two results the same, whenever they were found."""
    properties = one.get("properties") or {}
    parts = (one.get("policy"), properties.get("image"), one.get("result"), one.get("message"))
    return tuple(str(part) for part in parts)
