"""From apply to Ready on the demo's cluster (``make demo`` first), and how much is pod start.

Each round changes the example's configuration, so that every step runs; the registry and the node
have everything else. A pod's start is from its creation to its container's start, by the times
of the API server (whole seconds).
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))

from cluster import connect
from gotools import cache_dir
from scenario.shell import wait_for
from scenario.world import BUILD, TEAM, World

ROUNDS = 3


def when(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time."""
    return datetime.fromisoformat(text).timestamp()


def finished(world: World, generation: int) -> dict[str, Any] | None:
    """The ImageBuild, once it is Ready for this generation."""
    found: dict[str, Any] = world.get("imagebuild", BUILD, "-n", TEAM)
    status = found.get("status", {})
    ready = {c["type"]: c for c in status.get("conditions", [])}.get("Ready", {})
    current = ready.get("observedGeneration", status.get("observedGeneration")) == generation
    idle = status.get("build", {}).get("state", "Succeeded") == "Succeeded"
    return found if current and idle and ready.get("status") == "True" else None


def one(world: World) -> tuple[float, float]:
    """Seconds of one build, and of pod starts along its longest path."""
    before = {p["metadata"]["uid"] for p in pods(world)}
    patch = {"spec": {"image": {"environment": {"ROUND": str(time.time_ns())}}}}
    started = time.monotonic()
    out = world.kubectl(
        "patch", "imagebuild", BUILD, "-n", TEAM, "--type=merge", "-o", "json",
        "-p", json.dumps(patch),
    )  # fmt: skip
    generation = json.loads(out)["metadata"]["generation"]
    wait_for("the build", lambda: finished(world, generation), seconds=300)
    took = time.monotonic() - started
    starts: dict[str, float] = {}
    for pod in pods(world):
        if pod["metadata"]["uid"] in before:
            continue
        state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        step = pod["metadata"]["labels"]["plimsoll.dev/step"]
        begin = when(state["startedAt"]) - when(pod["metadata"]["creationTimestamp"])
        starts[step] = max(starts.get(step, 0.0), begin)
    return took, sum(starts.values())


def pods(world: World) -> list[dict[str, Any]]:
    """The pods of builds."""
    items = world.get("pods", "-n", TEAM, "-l", "plimsoll.dev/step")["items"]
    assert isinstance(items, list)
    return items


def main() -> None:
    """Print the medians."""
    state = cache_dir() / "demo"
    cluster = connect(state / "cluster")
    if not (state / "work/password").exists():
        print("skipped: run `make demo` first")
        return
    world = World(cluster, Path(), "", state / "work")
    rounds = [one(world) for _ in range(ROUNDS)]
    took = median(t for t, _ in rounds)
    starts = median(s for _, s in rounds)
    print(f"apply to Ready    {took:5.1f} s (median of {ROUNDS})")
    print(f"of it pod start   {starts:5.1f} s, {starts / took:.0%}")


if __name__ == "__main__":
    main()
