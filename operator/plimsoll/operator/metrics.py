"""What the operator counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.queue = Gauge(
            "plimsoll_operator_queue_depth",
            "Objects that wait for a worker.",
            registry=self.registry,
        )
        self.seconds = Histogram(
            "plimsoll_operator_reconcile_seconds",
            "Time of one reconciliation.",
            ["kind"],
            registry=self.registry,
        )
        self.results = Counter(
            "plimsoll_operator_reconcile_total",
            "Reconciliations by how they ended.",
            ["kind", "result"],
            registry=self.registry,
        )
        self.failing = Gauge(
            "plimsoll_operator_failing_objects",
            "Objects whose last reconciliation ended with an error; their conditions say which.",
            ["kind"],
            registry=self.registry,
        )
        self.builds = Counter(
            "plimsoll_operator_builds_total",
            "Builds that ended, by state.",
            ["state"],
            registry=self.registry,
        )
        self.build_seconds = Histogram(
            "plimsoll_operator_build_seconds",
            "Time from the start of a build to its end.",
            ["state"],
            buckets=(5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600),
            registry=self.registry,
        )
        self.packages = Counter(
            "plimsoll_operator_packages_total",
            "Builds of packages that ended, by state.",
            ["state"],
            registry=self.registry,
        )
        self.last_event = Gauge(
            "plimsoll_operator_last_event_timestamp_seconds",
            "When a watch last brought something.",
            registry=self.registry,
        )
