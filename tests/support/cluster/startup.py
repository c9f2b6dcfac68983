"""Starting the node's programs in the order they need, each until it works."""

from __future__ import annotations

import contextlib
import shutil
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import debian
import gotools
from cluster import components, configs, egress, host, images, pki
from cluster.client import Client
from cluster.layout import INSIDE, NODE, ClusterError, nameservers, replace_text
from cluster.wait import Pending, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.layout import Layout
    from cluster.node import Node

_CNI = Path("/usr/lib/cni")


class Startup:
    """One start of a cluster whose state directory exists and whose node is stopped."""

    def __init__(self, layout: Layout, node: Node) -> None:
        self._layout = layout
        self._node = node
        self._commands = components.arguments(layout)

    @cached_property
    def client(self) -> Client:
        """Made when the certificates are there."""
        return Client(self._layout)

    def run(self) -> None:
        """Start all, and wait until pods can run and reach Services.

        Raises:
            ClusterError: a part ended or does not work in time; the text holds its log's end.
        """
        pki.ensure(self._layout)
        self._write_configs()
        host.make_cgroups(self._layout)
        self._node.boot(gotools.tool("pause"))
        self._start("etcd", "containerd", "registry", "kube-apiserver")
        self._await("containerd", self._containerd_answers)
        pause = images.archive(configs.PAUSE_IMAGE, gotools.tool("pause").read_bytes(), "pause")
        self._node.run(*components.ctr("images", "import", "-"), stdin=pause)
        self._await("kube-apiserver", lambda: self.client.ok("/readyz"), "etcd")
        self._start("kubelet", "kube-controller-manager", "kube-scheduler")
        # kube-proxy waits long for a node that has no address yet.
        self._await("kubelet", self._node_known, "containerd")
        self._start("kube-proxy")
        self._await("kubelet", lambda: node_ready(self.client), "containerd")
        self._await("kube-controller-manager", self._default_account)
        self._await("kube-proxy", self._services_work)
        url = f"http://{self._layout.registry}/v2/"
        self._await("registry", lambda: self.client.answers(url))

    def _start(self, *names: str) -> None:
        for name in names:
            found = debian.find(name) if name == "containerd" else None
            program = found or gotools.tool(name)
            self._node.start(name, [program, *self._commands[name]])

    def _write_configs(self) -> None:
        etc = self._layout.etc
        shutil.rmtree(etc, ignore_errors=True)
        for name, text in configs.files(self._layout).items():
            (etc / name).parent.mkdir(parents=True, exist_ok=True)
            replace_text(etc / name, text)
        self._write_plugins(etc / "cni-bin")
        # A resolver on the loopback interface answers only this machine.
        servers = [each for each in nameservers(Path("/etc/resolv.conf")) if each[:4] != "127."]
        replace_text(etc / "resolv.conf", "".join(f"nameserver {each}\n" for each in servers))
        for name in ("etcd", "containerd", "registry", "kubelet"):
            (self._layout.state / "data" / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def _write_plugins(self, folder: Path) -> None:
        """The network plugins of the system, and ours beside them."""
        folder.mkdir()
        for program in sorted(_CNI.iterdir()):
            (folder / program.name).symlink_to(program)
        text = Path(egress.__file__).read_text()
        replace_text(folder / configs.EGRESS_PLUGIN, f"#!{sys.executable}\n{text}", mode=0o755)
        replace_text(folder / "address", str(self._layout.network.node))
        for name in ("ca.crt", "admin.crt", "admin.key"):
            (folder / name).symlink_to(INSIDE / "pki" / name)

    def _containerd_answers(self) -> bool:
        with contextlib.suppress(ClusterError):
            return self._node.run(*components.ctr("version")).returncode == 0
        return False

    def _node_known(self) -> bool:
        node = self.client.get(f"/api/v1/nodes/{NODE}") or {}
        return bool(node.get("status", {}).get("addresses"))

    def _default_account(self) -> bool:
        return self.client.get("/api/v1/namespaces/default/serviceaccounts/default") is not None

    def _services_work(self) -> bool:
        rules = self._node.run("iptables-save", "-t", "nat").stdout.decode()
        return f"-d {self._layout.network.api_service}/32" in rules

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
        path = self._layout.logs / f"{name}.log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(line[:400] for line in lines[-12:]) + f"\n(more in {path})"


def node_ready(client: Client) -> bool | Pending:
    """Whether pods may be scheduled; else the node's own words."""
    node = client.get(f"/api/v1/nodes/{NODE}") or {}
    conditions = node.get("status", {}).get("conditions", [])
    found = [each for each in conditions if each["type"] == "Ready"]
    taints = node.get("spec", {}).get("taints")
    if found and found[0]["status"] == "True" and not taints:
        return True
    return Pending(found[0].get("message") if found else taints)
