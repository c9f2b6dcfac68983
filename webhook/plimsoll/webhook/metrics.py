"""What the webhook counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from plimsoll.webhook.alerts import Alerts
    from plimsoll.webhook.background import Findings
    from plimsoll.webhook.decide import Decision, PolicySource
    from plimsoll.webhook.verifier import Verifier

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counters of one webhook process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter(
            "plimsoll_webhook_requests",
            "Reviews answered.",
            ["resource", "operation", "verdict"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "plimsoll_webhook_request_seconds",
            "Time to answer a review.",
            ["verdict"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._policies = Counter(
            "plimsoll_webhook_policy_verdicts",
            "Verdicts on images by policy.",
            ["policy", "verdict"],
            registry=self.registry,
        )
        self._registry_seconds = Histogram(
            "plimsoll_webhook_registry_seconds",
            "Calls of registries: until the answer was read, by its status.",
            ["result"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._pinned = Counter(
            "plimsoll_webhook_pinned_images",
            "Images of pods that were given the digest that was judged.",
            registry=self.registry,
        )
        self._known: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self.findings: Callable[[], Findings | None] = lambda: None
        """What the last look at what runs has found."""

        self.alerts: Alerts | None = None
        self.registry.register(_Running(self))

    def follow(self, verifier: Verifier, source: PolicySource) -> None:
        """Ask these at each scrape for their cache and their policies."""
        self.registry.register(_Live(verifier, source))

    def count(
        self, resource: str, operation: str, decision: Decision, seconds: float, pinned: int = 0
    ) -> None:
        """Count one answer."""
        verdict = "allowed" if decision.allowed else "denied"
        if decision.undecided:
            verdict = "undecided"
        key = (resource, operation, verdict)
        known = self._known.get(key)
        if known is None:
            # Looking children up by their labels costs more than counting.
            known = (self._requests.labels(*key), self._seconds.labels(verdict))
            self._known[key] = known
        known[0].inc()
        known[1].observe(seconds)
        if pinned:
            self._pinned.inc(pinned)
        for one in decision.verdicts:
            self._policies.labels(one.policy, "passed" if one.passed else "failed").inc()

    def registry_call(self, result: str, seconds: float) -> None:
        """Count one call of a registry."""
        self._registry_seconds.labels(result).observe(seconds)

    def render(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)


class _Running(Collector):
    """What runs already, and who was told."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Read the numbers as they are now."""
        if (alerts := self._metrics.alerts) is not None:
            family = CounterMetricFamily(
                "plimsoll_webhook_alerts", "Alerts by what became of them.", labels=["result"]
            )
            family.add_metric(["sent"], alerts.sent)
            family.add_metric(["failed"], alerts.failed)
            yield family
        found = self._metrics.findings()
        if found is None or not found.rounds:
            return
        for name, help_text, label, counts in (
            ("images", "Images of workloads that run, by verdict.", "result", found.results),
            ("failing", "Images that run and fail, by policy.", "policy", found.failing),
        ):
            gauge = GaugeMetricFamily(f"plimsoll_webhook_running_{name}", help_text, labels=[label])
            for key, count in counts.items():
                gauge.add_metric([key], count)
            yield gauge
        for name, help_text, value in (
            ("seconds", "Duration of the last look at what runs.", found.seconds),
            ("timestamp_seconds", "When it ended.", found.finished),
        ):
            yield GaugeMetricFamily(
                f"plimsoll_webhook_running_round_{name}", help_text, value=value
            )


class _Live(Collector):
    def __init__(self, verifier: Verifier, source: PolicySource) -> None:
        self._verifier = verifier
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Read the numbers as they are now."""
        cache = self._verifier.cache
        for name, help_text, value in (
            ("plimsoll_webhook_cache_hits", "Verdicts remembered.", cache.stats.hits),
            ("plimsoll_webhook_cache_misses", "Verdicts not remembered.", cache.stats.misses),
            ("plimsoll_webhook_cache_evictions", "Verdicts pushed out.", cache.stats.evictions),
            (
                "plimsoll_webhook_evidence_reads",
                "Times evidence was read from a registry.",
                self._verifier.reads,
            ),
        ):
            yield CounterMetricFamily(name, help_text, value=value)
        policies = self._source.policies.policies
        for name, help_text, value in (
            ("plimsoll_webhook_cache_entries", "Verdicts in memory.", len(cache)),
            ("plimsoll_webhook_policies", "Policies in force.", len(policies)),
            (
                "plimsoll_webhook_policies_invalid",
                "Policies that cannot be honoured and refuse what they match.",
                sum(bool(policy.fault) for policy in policies),
            ),
            (
                "plimsoll_webhook_watches_failing",
                "Kinds that cannot be followed now; the last known objects stay in force.",
                len(self._source.problems),
            ),
            ("plimsoll_webhook_ready", "Whether policies are loaded.", int(self._source.ready)),
        ):
            yield GaugeMetricFamily(name, help_text, value=value)
