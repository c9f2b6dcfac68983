"""``python -m scenario``: prepare the world, keep every promise, print the table."""

from __future__ import annotations

import sys
import time

from rich.console import Console

from cluster import Cluster
from scenario.checks import CHECKS
from scenario.prepare import cache_root, prepare
from scenario.shell import CommandError
from scenario.table import measure, show


def main() -> int:
    """Exit status 0 only if every promise was kept."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    started = time.monotonic()
    state = cache_root() / "demo"
    work = state / "work"
    work.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        console.print(f"[bold]·[/] {line} [dim]{time.monotonic() - started:.0f} s[/]")

    try:
        world = prepare(Cluster(state / "cluster"), say, work)
    except CommandError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1
    rows = measure(world, CHECKS, console)
    show(rows, console)
    console.print(f"kubectl: export KUBECONFIG={world.cluster.kubeconfig}")
    console.print("The cluster goes on running; `make demo-down` removes it.")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
