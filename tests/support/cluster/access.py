"""What a test does with a cluster, whoever runs it."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

import gotools
from cluster.layout import ClusterError
from cluster.wait import Pending, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


class Access(ABC):
    """A cluster with a registry, as its administrator uses it."""

    @property
    @abstractmethod
    def kubeconfig(self) -> Path:
        """The administrator's; verifies the API server's certificate."""

    @property
    @abstractmethod
    def registry(self) -> str:
        """``HOST:PORT`` of the registry, the same from this machine, the nodes and pods."""

    @property
    @abstractmethod
    def host_address(self) -> str:
        """Address of this machine as pods and nodes see it: bind servers for them to it."""

    @property
    @abstractmethod
    def state_dir(self) -> Path:
        """A directory of this machine for files that belong to the cluster."""

    @property
    @abstractmethod
    def logs_dir(self) -> Path:
        """One log file per process."""

    @abstractmethod
    def get(self, path: str) -> dict[str, Any] | None:
        """An object by its API path (``/api/v1/namespaces/…``); None if there is none."""

    @abstractmethod
    def up(self) -> None:
        """Have it working, or raise."""

    @abstractmethod
    def down(self) -> None:
        """Let go of it; no error if there is nothing."""

    @property
    def env(self) -> dict[str, str]:
        """Variables for programs on this side; add them to ``os.environ``."""
        return {"KUBECONFIG": str(self.kubeconfig), "PLIMSOLL_REGISTRY": self.registry}

    def kubectl(
        self, *args: str, stdin: str | None = None, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator.

        Raises:
            ClusterError: it failed and ``check`` is on; the text holds what it said.
        """
        done = subprocess.run(
            [str(gotools.tool("kubectl")), *args],
            env={**os.environ, **self.env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise ClusterError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done

    def wait_for(
        self,
        path: str,
        what: str,
        ready: Callable[[dict[str, Any]], T | None],
        *,
        seconds: float = 60,
    ) -> T:
        """Wait until ``ready`` returns something for the object at ``path``; returns that.

        Raises:
            TimeoutError: time is up; the text holds the object's last status.
        """

        def check() -> T | Pending:
            found = self.get(path)
            if found is None:
                return Pending("it does not exist")
            return ready(found) or Pending(found.get("status"))

        return wait_until(what, check, seconds=seconds)

    def wait_pod(
        self, name: str, *phases: str, namespace: str = "default", seconds: float = 60
    ) -> dict[str, Any]:
        """Wait until a pod is in one of the phases (default Running, which means ready too).

        Raises:
            ClusterError: it ended in another phase.
            TimeoutError: time is up; the text holds the pod's last status.
        """
        wanted = phases or ("Running",)

        def ready(pod: dict[str, Any]) -> dict[str, Any] | None:
            status = pod["status"]
            phase = status.get("phase")
            if phase in {"Failed", "Succeeded"} - {*wanted}:
                raise ClusterError(f"pod {namespace}/{name} is {phase}: {status}")
            if phase not in wanted:
                return None
            all_ready = all(each["ready"] for each in status.get("containerStatuses", []))
            return pod if phase != "Running" or all_ready else None

        what = f"pod {namespace}/{name} to be {' or '.join(wanted)}"
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        return self.wait_for(path, what, ready, seconds=seconds)
