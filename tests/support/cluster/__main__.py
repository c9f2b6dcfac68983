"""``python -m cluster up|down|status|env [--state DIR]``."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import debian
import gotools
from cluster import Cluster, ClusterError, default_state

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when all is as asked."""
    parser = argparse.ArgumentParser(prog="cluster", description="A one-node Kubernetes cluster.")
    parser.add_argument("command", choices=("up", "down", "status", "env"))
    parser.add_argument("--state", type=Path, default=default_state(), metavar="DIR")
    options = parser.parse_args(arguments)
    # What is half there is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cluster = Cluster(options.state, say=lambda line: print(f"· {line}", file=sys.stderr))
    try:
        return _run(cluster, options.command)
    except (ClusterError, TimeoutError, gotools.ToolError, debian.MissingProgramError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(cluster: Cluster, command: str) -> int:
    if command == "up":
        cluster.up()
    elif command == "down":
        cluster.down()
    elif not cluster.layout.marker.exists():
        print(f"no cluster in {cluster.layout.state}", file=sys.stderr)
        return 1
    elif command == "status":
        for name, state in (states := cluster.status()).items():
            print(f"{name}: {state}")
        return 0 if states["node"] == "ready" else 1
    else:
        for name, value in cluster.env.items():
            print(f"export {name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
