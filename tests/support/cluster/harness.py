"""Bring a one-node cluster up, use it, and take it down without a trace."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import debian
import gotools
from cluster import components, configs, host, images, pki
from cluster.client import Client
from cluster.layout import NODE, ClusterError, Layout, nameservers, replace_text
from cluster.node import Node
from cluster.wait import Pending, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


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


class Cluster:
    """A real one-node Kubernetes with a registry.

    Args:
        state: directory for everything the cluster keeps; made if absent, gone after ``down``.
        say: receives one line of progress at a time.
    """

    def __init__(self, state: Path, say: Callable[[str], None] = lambda _: None) -> None:
        self.layout = Layout(state.resolve())
        self._say = say
        self._node = Node(self.layout)

    # What a user of the cluster needs.

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
    def logs_dir(self) -> Path:
        """One log file per process."""
        return self.layout.logs

    @property
    def env(self) -> dict[str, str]:
        """Variables for programs on this side; add them to ``os.environ``."""
        direct = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy", "")]
        direct = [*filter(None, direct), str(self.layout.network.node)]
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "PLIMSOLL_REGISTRY": self.registry,
            "NO_PROXY": ",".join(direct),
            "no_proxy": ",".join(direct),
        }

    @cached_property
    def client(self) -> Client:
        """Requests to the API server as the administrator, without a kubectl process."""
        return Client(self.layout)

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

    def get(self, path: str) -> dict[str, Any] | None:
        """An object by its API path (``/api/v1/namespaces/…``); None if there is none."""
        return self.client.get(path)

    def wait_for(
        self,
        path: str,
        what: str,
        ready: Callable[[dict[str, Any]], T | Pending | None],
        *,
        seconds: float = 60,
    ) -> T:
        """Wait until ``ready`` is content with the object at ``path``; returns what it returned.

        Raises:
            ClusterError: time is up; the text holds the object's last status.
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
        """Wait until a pod is in one of the phases (Running: and ready); returns it."""
        wanted = phases or ("Running",)

        def ready(pod: dict[str, Any]) -> dict[str, Any] | None:
            status = pod["status"]
            if status.get("phase") not in wanted:
                return None
            containers = status.get("containerStatuses", [])
            ready = all(each["ready"] for each in containers)
            return pod if status["phase"] != "Running" or ready else None

        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        return self.wait_for(
            path, f"pod {namespace}/{name}: {'/'.join(wanted)}", ready, seconds=seconds
        )

    def wait_condition(
        self, path: str, condition: str, *, status: str = "True", seconds: float = 60
    ) -> dict[str, Any]:
        """Wait until the object at an API path has a condition; returns the object."""

        def ready(found: dict[str, Any]) -> dict[str, Any] | None:
            for each in found.get("status", {}).get("conditions", []):
                if each["type"] == condition and each["status"] == status:
                    return found
            return None

        return self.wait_for(path, f"{path}: {condition}={status}", ready, seconds=seconds)

    # Its life.

    def up(self) -> None:
        """Have a healthy cluster: reuse it, restart it from its state, or make it.

        Raises:
            ClusterError: it cannot run here, or a part does not start (its log is in the text).
            gotools.ToolError: a program could not be built.
            debian.MissingProgramError: a program of the system is missing.
        """
        if why := unsupported():
            raise ClusterError(why)
        debian.ensure("cluster")
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(gotools.build, components.TOOL_GROUPS))
        with self._locked():
            if self.healthy():
                self._say("the cluster is up already")
                return
            begin = time.monotonic()
            self._say("starting the cluster (about 15 s)")
            self._node.stop()
            try:
                self._start()
            except BaseException:
                # A cluster that is half there helps nobody; the logs stay.
                self._node.stop()
                raise
            self._say(f"the cluster is up ({time.monotonic() - begin:.0f} s)")

    def down(self) -> None:
        """Stop everything and remove the state directory; no error if there is nothing.

        Raises:
            ClusterError: something is still mounted there, so nothing was deleted.
        """
        state = self.layout.state
        if not state.exists():
            return
        if why := unsupported():
            raise ClusterError(why)
        with self._locked():
            self._node.stop()
            if mounted := host.mounts_below(state):
                raise ClusterError(f"still mounted, so not removed: {', '.join(mounted)}")
            shutil.rmtree(state)
        self._say("the cluster is gone")

    def healthy(self) -> bool:
        """Whether every process runs and the node is ready."""
        if self._node.init is None:
            return False
        if not all(self._node.alive(name) for name in components.arguments(self.layout)):
            return False
        with contextlib.suppress(ClusterError, OSError):
            return self.client.ok("/readyz") and self._node_ready() is True
        return False

    def status(self) -> dict[str, str]:
        """Program → ``running`` or ``stopped``; ``node`` → ``ready`` or ``not ready``."""
        names = components.arguments(self.layout)
        states = {name: "running" if self._node.alive(name) else "stopped" for name in names}
        return {**states, "node": "ready" if self.healthy() else "not ready"}

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        state = self.layout.state
        state.mkdir(parents=True, exist_ok=True)
        with (state / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("another run uses this cluster's state; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _start(self) -> None:
        layout = self.layout
        pki.ensure(layout)
        self.__dict__.pop("client", None)
        self._write_configs()
        host.make_cgroups(layout)
        self._node.boot(gotools.tool("pause"))
        commands = components.arguments(layout)
        for name in ("etcd", "containerd", "registry", "kube-apiserver"):
            self._node.start(name, [self._program(name), *commands[name]])
        self._await("containerd", self._containerd_answers)
        pause = images.archive(configs.PAUSE_IMAGE, gotools.tool("pause").read_bytes(), "pause")
        self._node.run(*components.ctr("images", "import", "-"), stdin=pause)
        self._await("kube-apiserver", lambda: self.client.ok("/readyz"), "etcd")
        self._say("the API server answers")
        for name in ("kubelet", "kube-controller-manager", "kube-scheduler"):
            self._node.start(name, [self._program(name), *commands[name]])
        # kube-proxy waits long for a node that has no address yet.
        self._await("kubelet", lambda: self.get(f"/api/v1/nodes/{NODE}") is not None, "containerd")
        self._node.start("kube-proxy", [self._program("kube-proxy"), *commands["kube-proxy"]])
        self._await("kubelet", self._node_ready, "containerd")
        self._await("kube-controller-manager", self._default_account)
        self._await("kube-proxy", self._services_work)
        self._await("registry", lambda: self.client.plain(f"http://{self.registry}/v2/"))

    def _write_configs(self) -> None:
        etc = self.layout.etc
        shutil.rmtree(etc, ignore_errors=True)
        for name, text in configs.files(self.layout).items():
            (etc / name).parent.mkdir(parents=True, exist_ok=True)
            replace_text(etc / name, text)
        # A resolver on the loopback interface answers only this machine.
        servers = [each for each in nameservers(Path("/etc/resolv.conf")) if each[:4] != "127."]
        replace_text(etc / "resolv.conf", "".join(f"nameserver {each}\n" for each in servers))
        for name in ("etcd", "containerd", "registry", "kubelet"):
            (self.layout.state / "data" / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    @staticmethod
    def _program(name: str) -> str:
        return debian.find(name) or name if name == "containerd" else str(gotools.tool(name))

    def _containerd_answers(self) -> bool:
        with contextlib.suppress(ClusterError):
            return self._node.run(*components.ctr("version")).returncode == 0
        return False

    def _node_ready(self) -> bool | Pending:
        node = self.get(f"/api/v1/nodes/{NODE}") or {}
        conditions = node.get("status", {}).get("conditions", [])
        found = [each for each in conditions if each["type"] == "Ready"]
        tainted = node.get("spec", {}).get("taints")
        if found and found[0]["status"] == "True" and not tainted:
            return True
        return Pending(found[0]["message"] if found else tainted)

    def _default_account(self) -> bool:
        return self.get("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def _services_work(self) -> bool:
        rules = self._node.run("iptables-save", "-t", "nat").stdout.decode()
        return f"-d {self.layout.network.api_service}/32" in rules

    def _await(
        self, name: str, check: Callable[[], bool | Pending], *others: str, seconds: float = 60
    ) -> None:
        """Wait for a part to work; fail at once, with its log, when it ends."""

        def probe() -> bool | Pending:
            for each in (name, *others):
                if not self._node.alive(each):
                    raise ClusterError(f"{each} ended:\n{self._log_tail(each)}")
            with contextlib.suppress(OSError):
                return check() or Pending(None)
            return Pending("no connection")

        try:
            wait_until(f"{name} to work", probe, seconds=seconds, interval=0.1)
        except TimeoutError as error:
            raise ClusterError(f"{error}\n{self._log_tail(name)}") from None

    def _log_tail(self, name: str) -> str:
        path = self.layout.logs / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(line[:400] for line in lines[-12:]) + f"\n(more in {path})"
