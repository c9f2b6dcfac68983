"""What must hold while parts of the system are gone."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from gotools import tool
from scenario.refusals import pod
from scenario.shell import run, wait_for
from scenario.world import BUILD, SYSTEM, TEAM, World


def webhook_gone(world: World) -> str:
    """With every webhook pod gone a guarded namespace admits nothing; kube-system goes on."""
    deployment = "deployment/plimsoll-webhook"
    world.kubectl("scale", deployment, "-n", SYSTEM, "--replicas=0")
    selector = "app.kubernetes.io/component=webhook"
    try:
        wait_for(
            "the webhook's pods to be gone",
            lambda: not world.get("pods", "-n", SYSTEM, "-l", selector)["items"],
        )
        done = run(
            [tool("kubectl"), "create", "-n", TEAM, "-f", "-"],
            env=world.env,
            stdin=json.dumps(pod("no-webhook", world.seen["image"])),
            check=False,
        )
        assert done.returncode != 0, "a pod was admitted with no webhook there"
        assert "failed calling webhook" in done.stderr, done.stderr
        other = json.dumps(pod("still-works", world.seen["unsigned"]))
        world.kubectl("create", "-n", "kube-system", "-f", "-", stdin=other)
        world.kubectl("delete", "pod", "still-works", "-n", "kube-system", "--wait=false")
    finally:
        world.kubectl("scale", deployment, "-n", SYSTEM, "--replicas=2")
        world.kubectl("rollout", "status", deployment, "-n", SYSTEM, "--timeout=120s")
    return "guarded namespace refused, kube-system admitted"


def operator_processes(world: World) -> list[int]:
    """Process ids of this cluster's operator, as the host sees them."""
    selector = "app.kubernetes.io/component=operator"
    pods = world.get("pods", "-n", SYSTEM, "-l", selector)["items"]
    assert isinstance(pods, list)
    groups = [f"pod{pod['metadata']['uid']}" for pod in pods]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            place = (entry / "cgroup").read_text().replace("_", "-")
        except OSError:
            continue
        ours = any(group in place for group in groups)
        if ours and b"/usr/bin/plimsoll" in words and b"operator" in words:
            found.append(int(entry.name))
    return found


def kill_operator(world: World) -> None:
    """SIGKILL to its process; where that runs elsewhere, its pod is ended with no grace."""
    processes = operator_processes(world)
    for process in processes:
        os.kill(process, signal.SIGKILL)
    if not processes:
        selector = "app.kubernetes.io/component=operator"
        world.kubectl("delete", "pod", "-n", SYSTEM, "-l", selector, "--grace-period=0", "--force")


def jobs_of(world: World) -> dict[str, str]:
    """Name → uid of the build's Jobs."""
    uid = world.kubectl("get", "imagebuild", BUILD, "-n", TEAM, "-o", "jsonpath={.metadata.uid}")
    found = world.get("jobs", "-n", TEAM, "-l", f"plimsoll.dev/imagebuild-uid={uid}")
    items = found["items"]
    assert isinstance(items, list)
    return {job["metadata"]["name"]: job["metadata"]["uid"] for job in items}


def operator_killed(world: World) -> str:
    """SIGKILL in the middle of a build: the same Jobs are taken up, the image arrives."""
    before = jobs_of(world)
    digest = world.seen["digest"]
    patch = {"spec": {"image": {"environment": {"GREETING": "ahoy"}}}}
    world.kubectl("patch", "imagebuild", BUILD, "-n", TEAM, "--type=merge", "-p", json.dumps(patch))
    started = wait_for(
        "an assemble Job of the new build",
        lambda: {n: u for n, u in jobs_of(world).items() if n not in before and "assemble" in n},
        seconds=120,
    )
    kill_operator(world)

    def arrived() -> str | None:
        found = world.get("imagebuild", BUILD, "-n", TEAM)
        status = found["status"]
        assert isinstance(status, dict)
        conditions = {c["type"]: c["status"] for c in status["conditions"]}
        current = status.get("observedGeneration") == found["metadata"]["generation"]  # type: ignore[index]
        done = current and conditions.get("Ready") == "True" and status["digest"] != digest
        return str(status["digest"]) if done else None

    new = wait_for("the image of the new build", arrived, seconds=300)
    after = {name: uid for name, uid in jobs_of(world).items() if name not in before}
    for name, uid in started.items():
        assert after.get(name) == uid, f"{name} was made again"
    steps = sorted(name.rsplit("-", 2)[-1] for name in after)
    builds = {name.split("-assemble")[0] for name in after if "assemble" in name}
    assert len(builds) == 1, f"built more than once: {sorted(after)}"
    world.seen["digest"] = new
    return f"{len(after)} Jobs, each made once ({', '.join(steps)}); new digest {new[:19]}…"


CHECKS: list[tuple[str, Callable[[World], str]]] = [
    ("every webhook pod gone: fails closed", webhook_gone),
    ("operator killed mid-build: nothing built twice", operator_killed),
]
