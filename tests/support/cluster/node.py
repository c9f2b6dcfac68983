"""The node: one set of namespaces that everything of the cluster runs in.

Network, mounts and process ids are private to it, so when its first process ends, the kernel ends
all others (containers too), unmounts what they mounted and takes away bridge, packet filter rules
and veth pairs. Killing one recorded process is the whole of stopping a cluster, in whatever state
it is.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster import host
from cluster.layout import PATH, ClusterError, replace_text
from cluster.processes import Process, start

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cluster.layout import Layout

# What Kubernetes and CNI write at fixed places goes to memory; $PWD holds on to the state
# directory while its path may be hidden.
_BOOT = """
set -eu
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/node /run/lock
mount --bind . /run/node
mount --make-private /run/node
mount --make-shared /run/node
mount -t tmpfs -o mode=755 tmpfs /var/log
mount -t tmpfs -o mode=755 tmpfs /var/lib
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
for knob in iptables ip6tables; do
  knob=/proc/sys/net/bridge/bridge-nf-call-$knob
  [ ! -e $knob ] || echo 1 >$knob
done
: >/run/node/run/booted
exec /run/node/run/pause
"""


@dataclass
class Node:
    """The namespaces of one cluster."""

    layout: Layout

    @property
    def _record(self) -> Path:
        return self.layout.run / "node"

    @property
    def init(self) -> Process | None:
        """First process of the node, if it lives."""
        outer = Process.recorded(self._record)
        if outer is None or not outer.alive:
            return None
        children = outer.children()
        return children[0] if children else None

    def boot(self, pause: Path, seconds: float = 10) -> None:
        """Make the namespaces and link them to this machine.

        Raises:
            ClusterError: the kernel forbids it; the text holds what it said.
        """
        layout = self.layout
        for directory in (layout.run, layout.logs):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
        shutil.copy(pause, layout.run / "pause")
        replace_text(layout.run / "boot", f'cd "$1"\n{_BOOT}')
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL"]
        argv += ["--propagation", "private", "--mount-proc"]
        argv += ["/bin/sh", str(layout.run / "boot"), str(layout.state)]
        log = layout.logs / "node.log"
        process = start(argv, record=self._record, log=log, env=self.env)
        deadline = time.monotonic() + seconds
        while not (layout.run / "booted").exists():
            if not process.alive or time.monotonic() > deadline:
                raise ClusterError(
                    f"this kernel gives no namespaces for a node: {log.read_text().strip()}\n"
                    "Run on a Linux machine or virtual machine as root, or in a container with "
                    "--privileged."
                )
            time.sleep(0.01)
        init = self.init
        if init is None:
            raise ClusterError(f"the node ended at once: {log.read_text().strip()}")
        host.connect(layout, init.pid)
        address = f"{layout.network.node}/30"
        self.run("ip", "address", "add", address, "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", str(layout.network.host))

    def run(
        self, *argv: str | Path, stdin: bytes | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a short command inside.

        Raises:
            ClusterError: it failed; the text holds what it said.
        """
        done = subprocess.run(
            [*self._enter(), *map(str, argv)],
            input=stdin,
            env=self.env,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            words = " ".join(map(str, argv))
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise ClusterError(f"in the node, {words}: {said}")
        return done

    def start(self, name: str, argv: Sequence[str | Path]) -> None:
        """Start a process inside that outlives this one."""
        start(
            [*self._enter(), *argv],
            record=self.layout.run / f"{name}.process",
            log=self.layout.logs / f"{name}.log",
            env=self.env,
        )

    def alive(self, name: str) -> bool:
        """Whether a process started by :meth:`start` still runs."""
        process = Process.recorded(self.layout.run / f"{name}.process")
        return process is not None and process.alive

    def stop(self) -> None:
        """End everything inside and undo what was done to this machine; no error if it is gone."""
        outer = Process.recorded(self._record)
        if outer is not None:
            init = outer.children()[:1] if outer.alive else []
            for process in [*init, outer]:
                process.kill()
        host.disconnect(self.layout)

    @property
    def env(self) -> dict[str, str]:
        """Of every process inside: no proxy and no configuration of the caller's."""
        return {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8"}

    def _enter(self) -> list[str]:
        init = self.init
        if init is None:
            raise ClusterError("the node is not running")
        return ["nsenter", "--target", str(init.pid), "--net", "--mount", "--pid", "--"]
