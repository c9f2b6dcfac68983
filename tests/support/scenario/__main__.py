"""``python -m scenario [--check]``: prepare the world, keep every promise, print the table.

With ``--check`` only whether it can run here, before anything long is begun.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console

from cluster import HOW, Cluster, ClusterError, connect, unsupported
from debian import MissingProgramError
from debian_apk.apt import AptError
from gotools import ToolError, cache_dir
from scenario.checks import CHECKS
from scenario.prepare import prepare
from scenario.shell import CommandError
from scenario.table import measure, show

FAULTS = (AptError, ClusterError, CommandError, MissingProgramError, TimeoutError, ToolError)


def main() -> int:
    """Exit status 0 only if every promise was kept."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    started = time.monotonic()
    state = cache_dir() / "demo"
    work = state / "work"
    work.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        console.print(f"[bold]·[/] {line} [dim]{time.monotonic() - started:.0f} s[/]")

    try:
        cluster = connect(state / "cluster", say)
        if isinstance(cluster, Cluster) and (why := unsupported()):
            raise ClusterError(f"no cluster can be started here: {why}. {HOW}")
        if "--check" in sys.argv[1:]:
            return 0
        world = prepare(cluster, say, work)
    except FAULTS as error:
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        return 1
    rows = measure(world, CHECKS, console)
    show(rows, console)
    console.print(f"kubectl: export KUBECONFIG={world.cluster.kubeconfig}")
    console.print("The cluster goes on running; `make demo-down` removes it.")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
