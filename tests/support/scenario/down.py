"""``python -m scenario.down STATE``: end the demo's package server and its cluster."""

from __future__ import annotations

import sys
from pathlib import Path

from cluster import connect
from scenario.serve import stop


def main() -> None:
    """Safe to call when there is nothing, or only half of it."""
    cluster = connect(Path(sys.argv[1]), say=lambda line: print(f"· {line}"))
    stop(cluster)
    cluster.down()


if __name__ == "__main__":
    main()
