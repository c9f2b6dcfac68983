"""A cluster that somebody else runs, for machines where none can be started."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.access import Access
from cluster.client import Client
from cluster.harness import Cluster
from cluster.layout import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

HOW = (
    "To use a cluster that you have: set KUBECONFIG, PLIMSOLL_REGISTRY (HOST:PORT that this "
    "machine, the nodes and pods can push to and pull from) and PLIMSOLL_HOST_ADDRESS (an address "
    "of this machine that pods reach)."
)


class ExistingCluster(Access):
    """The cluster of ``KUBECONFIG``; it is never changed by ``up`` and ``down``.

    Args:
        state: directory for files of this machine, removed by ``down``.
        environment: has ``KUBECONFIG``, ``PLIMSOLL_REGISTRY`` and ``PLIMSOLL_HOST_ADDRESS``.
    """

    def __init__(self, state: Path, environment: dict[str, str]) -> None:
        self._state = state.resolve()
        self._environment = environment

    @property
    def kubeconfig(self) -> Path:
        """The user's."""
        return Path(self._environment["KUBECONFIG"])

    @property
    def registry(self) -> str:
        """The user's."""
        return self._environment["PLIMSOLL_REGISTRY"]

    @property
    def host_address(self) -> str:
        """Address of this machine as pods see it.

        Raises:
            ClusterError: it was not given.
        """
        if address := self._environment.get("PLIMSOLL_HOST_ADDRESS"):
            return address
        raise ClusterError(f"PLIMSOLL_HOST_ADDRESS is not set. {HOW}")

    @property
    def state_dir(self) -> Path:
        """Files of this machine."""
        return self._state

    @property
    def logs_dir(self) -> Path:
        """Logs of programs on this machine."""
        return self._state / "logs"

    def get(self, path: str) -> dict[str, Any] | None:
        """An object by its API path; None if there is none.

        Raises:
            ClusterError: the server refused or does not answer.
        """
        done = self.kubectl("get", "--raw", path, check=False)
        if done.returncode:
            if "NotFound" in done.stderr:
                return None
            raise ClusterError(f"GET {path}: {done.stderr.strip()}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def up(self) -> None:
        """Check that the cluster and the registry answer.

        Raises:
            ClusterError: one does not.
        """
        self.kubectl("get", "--raw", "/readyz", timeout=20)
        if not any(Client.answers(f"{way}://{self.registry}/v2/") for way in ("https", "http")):
            raise ClusterError(f"the registry {self.registry} does not answer. {HOW}")
        self.logs_dir.mkdir(parents=True, exist_ok=True)

    def down(self) -> None:
        """Remove this machine's files; the cluster stays as it is."""
        shutil.rmtree(self.logs_dir, ignore_errors=True)


def connect(state: Path, say: Callable[[str], None] = lambda _: None) -> Access:
    """The user's cluster where the environment names one, else one of our own in ``state``."""
    environment = dict(os.environ)
    if environment.get("KUBECONFIG") and environment.get("PLIMSOLL_REGISTRY"):
        return ExistingCluster(state, environment)
    return Cluster(state, say)
