"""What a cluster is made of on disk and in the network: names, paths and addresses."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NODE = "plimsoll"
"""Name of the one node."""

INSIDE = Path("/run/node")
"""Where the processes of the node see the state directory (short: sockets allow 108 bytes)."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""For programs of the system; a user's own may lack the administrator's folders."""


class ClusterError(Exception):
    """The cluster cannot be had; the text says why and what to do."""


@dataclass(frozen=True)
class Network:
    """One private /16 per cluster, cut into pods, Services and the link to the host."""

    second: int
    """The /16 is ``10.{second}.0.0``."""

    @property
    def whole(self) -> IPv4Network:
        """All of it."""
        return IPv4Network(f"10.{self.second}.0.0/16")

    @property
    def pods(self) -> IPv4Network:
        """Pod addresses, handed out by host-local."""
        return IPv4Network(f"10.{self.second}.0.0/17")

    @property
    def services(self) -> IPv4Network:
        """Cluster IPs."""
        return IPv4Network(f"10.{self.second}.128.0/18")

    @property
    def api_service(self) -> IPv4Address:
        """Cluster IP of the ``kubernetes`` Service."""
        return self.services[1]

    @property
    def host(self) -> IPv4Address:
        """This machine, as the node and its pods see it."""
        return IPv4Address(f"10.{self.second}.255.1")

    @property
    def node(self) -> IPv4Address:
        """The node, as this machine and the pods see it."""
        return IPv4Address(f"10.{self.second}.255.2")

    @classmethod
    def choose(cls, taken: Iterable[IPv4Network], start: int) -> Network:
        """The first free /16 from ``start`` on, so that two clusters rarely try the same.

        Raises:
            ClusterError: the whole private range is in use.
        """
        used = list(taken)
        for offset in range(120):
            network = cls(100 + (start + offset) % 120)
            if not any(network.whole.overlaps(other) for other in used):
                return network
        raise ClusterError("every network from 10.100.0.0/16 to 10.219.0.0/16 is routed elsewhere")


@dataclass(frozen=True)
class Layout:
    """Paths and names that follow from the state directory."""

    state: Path

    @property
    def id(self) -> str:
        """Six hexadecimal digits, of the state directory's path."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:6]

    @property
    def link(self) -> str:
        """Name of the host's end of the veth pair (15 characters at most)."""
        return f"plimsoll-{self.id}"

    @property
    def cgroup(self) -> str:
        """Name of the control group, in every hierarchy."""
        return f"plimsoll-{self.id}"

    @property
    def marker(self) -> Path:
        """Says that the directory is ours to delete."""
        return self.state / ".plimsoll-cluster"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.state / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.state / "logs"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def etc(self) -> Path:
        """Configuration files, written at every start."""
        return self.state / "etc"

    @property
    def run(self) -> Path:
        """Records of processes."""
        return self.state / "run"

    @cached_property
    def network(self) -> Network:
        """Chosen once, as certificates and image references hold its addresses."""
        path = self.state / "network.json"
        if path.exists():
            return Network(json.loads(path.read_text())["second"])
        network = Network.choose(routed(), start=int(self.id, 16))
        replace_text(path, json.dumps({"second": network.second}))
        return network

    @property
    def registry(self) -> str:
        """``HOST:PORT`` of the registry, the same for host, node and pods."""
        return f"{self.network.node}:5000"


def routed() -> list[IPv4Network]:
    """The networks that this machine already reaches by a route of their own, and its resolvers."""
    argv = ["ip", "-j", "-4", "route"]
    shown = subprocess.run(argv, env={"PATH": PATH}, capture_output=True, text=True, check=True)
    networks = [
        IPv4Network(route["dst"]) for route in json.loads(shown.stdout) if route["dst"] != "default"
    ]
    for server in nameservers(Path("/etc/resolv.conf")):
        address = ipaddress.ip_address(server.partition("%")[0])
        if isinstance(address, IPv4Address):
            networks.append(IPv4Network(address))
    return networks


def nameservers(path: Path) -> list[str]:
    """The name servers that a resolv.conf names."""
    if not path.exists():
        return []
    lines = (line.split() for line in path.read_text().splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def replace_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as handle:
        handle.write(text)
    beside.replace(path)
