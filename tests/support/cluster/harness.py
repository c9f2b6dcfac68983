"""Bring a one-node cluster up, use it, and take it down without a trace."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import debian
import gotools
from cluster import components, host
from cluster.access import Access
from cluster.client import Client
from cluster.layout import ClusterError, Layout
from cluster.node import Node
from cluster.startup import Startup, node_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def default_state() -> Path:
    """Where the demo's cluster lives."""
    return gotools.cache_dir() / "cluster"


def unsupported() -> str | None:
    """Why no cluster can run here, or None."""
    if sys.platform != "linux":
        return f"the one-node cluster needs Linux, this is {sys.platform}"
    if os.geteuid() != 0:
        return "the one-node cluster needs root (namespaces, mounts, containers)"
    return None


class Cluster(Access):
    """A real one-node Kubernetes with a registry. Clusters of different directories coexist.

    Args:
        state: directory for everything the cluster keeps; made if absent, gone after ``down``.
        say: receives one line of progress at a time.
    """

    def __init__(self, state: Path, say: Callable[[str], None] = lambda _: None) -> None:
        self.layout = Layout(state.resolve())
        self._say = say
        self._node = Node(self.layout)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's; verifies the API server's certificate."""
        return self.layout.kubeconfig

    @property
    def registry(self) -> str:
        """``HOST:PORT`` of the registry (plain HTTP), the same from host, containerd and pods."""
        return self.layout.registry

    @property
    def host_address(self) -> str:
        """Address of this machine as pods and node see it: bind servers for them to it."""
        return str(self.layout.network.host)

    @property
    def state_dir(self) -> Path:
        """Everything the cluster keeps."""
        return self.layout.state

    @property
    def logs_dir(self) -> Path:
        """One log file per process."""
        return self.layout.logs

    @property
    def env(self) -> dict[str, str]:
        """Variables for programs on this side; add them to ``os.environ``."""
        direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
        direct = ",".join(filter(None, [direct, str(self.layout.network.node)]))
        return {**super().env, "NO_PROXY": direct, "no_proxy": direct}

    @property
    def client(self) -> Client:
        """Requests to the API server as the administrator, without a kubectl process."""
        return Client(self.layout)

    def get(self, path: str) -> dict[str, Any] | None:
        """An object by its API path (``/api/v1/namespaces/…``); None if there is none."""
        return self.client.get(path)

    def up(self) -> None:
        """Have a healthy cluster: reuse it, restart it from its state, or make it.

        Raises:
            ClusterError: it cannot run here, or a part does not start (its log is in the text).
            gotools.ToolError: a program could not be built.
            debian.MissingProgramError: a program of the system is missing.
        """
        if why := unsupported():
            raise ClusterError(f"{why}.")
        debian.ensure("cluster")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(gotools.build, components.TOOL_GROUPS))
        with self._locked():
            if self.healthy():
                self._say("the cluster is up already")
                return
            begin = time.monotonic()
            self._say("starting a one-node Kubernetes (about 15 s)")
            self._node.stop()
            try:
                Startup(self.layout, self._node).run()
            except BaseException:
                # A cluster that is half there helps nobody; state and logs stay.
                self._node.stop()
                raise
            self._say(f"the cluster is up ({time.monotonic() - begin:.0f} s)")

    def down(self) -> None:
        """Stop everything and remove the state directory; no error if there is nothing.

        Raises:
            ClusterError: the directory is not ours, or something is still mounted in it; nothing
                was deleted.
        """
        if not self.layout.state.exists():
            return
        if why := unsupported():
            raise ClusterError(why)
        with self._locked():
            self._node.stop()
            if mounted := host.mounts_below(self.layout.state):
                raise ClusterError(f"still mounted, so not removed: {', '.join(mounted)}")
            # The marker last: what a kill leaves here is still ours.
            for path in self.layout.state.iterdir():
                if path == self.layout.marker:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            shutil.rmtree(self.layout.state)
        self._say("the cluster is gone")

    def healthy(self) -> bool:
        """Whether every process runs and the node is ready."""
        if self._node.init is None:
            return False
        if not all(self._node.alive(name) for name in components.arguments(self.layout)):
            return False
        with contextlib.suppress(ClusterError, OSError):
            return self.client.ok("/readyz") and node_ready(self.client) is True
        return False

    def status(self) -> dict[str, str]:
        """Program → ``running`` or ``stopped``; ``node`` → ``ready`` or ``not ready``."""
        names = components.arguments(self.layout)
        states = {name: "running" if self._node.alive(name) else "stopped" for name in names}
        return {**states, "node": "ready" if self.healthy() else "not ready"}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Make the directory ours and keep other runs out; the lock ends with this process."""
        state, marker = self.layout.state, self.layout.marker
        while True:
            state.mkdir(parents=True, exist_ok=True)
            if not marker.exists() and any(state.iterdir()):
                raise ClusterError(f"{state} is not empty and not the directory of a cluster")
            with marker.open("w") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._say("another run uses this cluster's state; waiting for it")
                    fcntl.flock(handle, fcntl.LOCK_EX)
                # The run before may have taken the cluster down, directory and all.
                if marker.exists() and marker.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                    yield
                    return
