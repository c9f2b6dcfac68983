"""What a cluster does to the machine outside its namespaces, and how that is undone."""

from __future__ import annotations

import contextlib
import json
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.layout import PATH, ClusterError, replace_text
from cluster.wait import Pending, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.layout import Layout

_CGROUPS = Path("/sys/fs/cgroup")
_SAVED = Path("/run/plimsoll-sysctls.json")

# The kubelet sets these for the whole machine, and routing needs the first.
_SYSCTLS = (
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def connect(layout: Layout, pid: int) -> None:
    """Link the network namespace of ``pid`` to this machine and route what leaves it.

    Raises:
        ClusterError: the kernel refused; the text holds what it said.
    """
    _save_sysctls()
    link, network = layout.link, layout.network
    _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("address", "add", f"{network.host}/30", "dev", link)
    _ip("link", "set", link, "up")
    # For what lies beyond this machine; a cluster without the internet is whole too.
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for rule in _rules(layout):
            _iptables("-A" if "POSTROUTING" in rule else "-I", rule)


def disconnect(layout: Layout) -> None:
    """Undo :func:`connect` and remove the control groups; what is gone already is no error."""
    with contextlib.suppress(ClusterError):
        _ip("link", "delete", layout.link)
    if (layout.state / "network.json").exists():
        for rule in _rules(layout):
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                while True:  # a run that was killed may have left one more
                    _iptables("-D", rule)
    remove_cgroups(layout)
    _restore_sysctls()


def make_cgroups(layout: Layout) -> None:
    """Make the control group that all pods live under, in every hierarchy."""
    for hierarchy in _hierarchies():
        group = hierarchy / layout.cgroup
        if (hierarchy / "cgroup.controllers").exists():
            available = (hierarchy / "cgroup.controllers").read_text().split()
            with contextlib.suppress(OSError):
                (hierarchy / "cgroup.subtree_control").write_text(
                    " ".join(f"+{name}" for name in available)
                )
        group.mkdir(exist_ok=True)
        for knob in ("cpuset.cpus", "cpuset.mems"):  # version 1 starts a group with none
            if (hierarchy / "cgroup.procs").exists() and (hierarchy / knob).exists():
                (group / knob).write_text((hierarchy / knob).read_text())


def remove_cgroups(layout: Layout) -> None:
    """Remove the control groups, from the leaves up; their processes have ended.

    Raises:
        TimeoutError: the kernel still counts a process of one.
    """

    def remove(path: Path) -> bool | Pending:
        try:
            path.rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:  # an ended process leaves its group a moment later
            return Pending(str(error))
        return True

    for hierarchy in _hierarchies():
        group = hierarchy / layout.cgroup
        if group.is_dir():
            below = (path for path in group.rglob("*") if path.is_dir())
            for path in sorted(below, key=lambda path: -len(path.parts)):
                wait_until(f"{path} to be empty", partial(remove, path), seconds=5, interval=0.01)
            wait_until(f"{group} to be empty", partial(remove, group), seconds=5, interval=0.01)


def mounts_below(directory: Path) -> list[str]:
    """Mount points of this machine at or below a directory."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if Path(point).is_relative_to(directory)]


def _hierarchies() -> Iterator[Path]:
    if (_CGROUPS / "cgroup.controllers").exists():
        yield _CGROUPS
        return
    for path in sorted(_CGROUPS.iterdir()):
        if path.is_dir() and not path.is_symlink() and (path / "cgroup.procs").exists():
            yield path


def _rules(layout: Layout) -> list[list[str]]:
    mark = ["-m", "comment", "--comment", layout.link]
    whole = str(layout.network.whole)
    nat = ["POSTROUTING", "-t", "nat", "-s", whole, "!", "-o", layout.link, *mark]
    return [
        [*nat, "-j", "MASQUERADE"],
        ["FORWARD", "-i", layout.link, *mark, "-j", "ACCEPT"],
        ["FORWARD", "-o", layout.link, *mark, "-j", "ACCEPT"],
    ]


def _iptables(action: str, rule: list[str]) -> None:
    argv = ["iptables", "-w", action, *rule]
    subprocess.run(argv, env={"PATH": PATH}, capture_output=True, check=True)


def _ip(*arguments: str) -> None:
    done = subprocess.run(
        ["ip", *arguments], env={"PATH": PATH}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _save_sysctls() -> None:
    if _SAVED.exists():  # another cluster runs, or one was killed: these are the machine's own
        return
    values = {}
    for name in _SYSCTLS:
        with contextlib.suppress(OSError):
            values[name] = (Path("/proc/sys") / name).read_text().strip()
    replace_text(_SAVED, json.dumps(values))


def _restore_sysctls() -> None:
    if not _SAVED.exists() or any(Path("/sys/class/net").glob("plimsoll-*")):
        return
    for name, value in json.loads(_SAVED.read_text()).items():
        with contextlib.suppress(OSError):
            if (Path("/proc/sys") / name).read_text().strip() != value:
                (Path("/proc/sys") / name).write_text(value)
    _SAVED.unlink()
