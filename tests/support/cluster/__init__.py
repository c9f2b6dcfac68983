"""A real one-node Kubernetes cluster for tests and the demo."""

from __future__ import annotations

from cluster.access import Access
from cluster.existing import HOW, ExistingCluster, connect
from cluster.harness import Cluster, default_state, unsupported
from cluster.layout import ClusterError
from cluster.wait import Pending, wait_until

__all__ = [
    "HOW",
    "Access",
    "Cluster",
    "ClusterError",
    "ExistingCluster",
    "Pending",
    "connect",
    "default_state",
    "unsupported",
    "wait_until",
]
