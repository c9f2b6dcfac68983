"""How long ``plimsoll --help`` takes in a fresh process, beside an interpreter that does nothing.

Aim: under 150 ms.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

RUNS = 15


def seconds(argv: list[str]) -> float:
    """Wall time of one process."""
    started = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure in turn, so that both see the same machine."""
    plimsoll = str(Path(sys.executable).with_name("plimsoll"))
    pairs = [
        (seconds([sys.executable, "-c", "pass"]), seconds([plimsoll, "--help"]))
        for _ in range(RUNS)
    ]
    bare, ours = (median(column) for column in zip(*pairs, strict=True))
    print(f"python -c pass    {bare * 1000:6.0f} ms")
    print(f"plimsoll --help   {ours * 1000:6.0f} ms   {ours / bare:.1f} times the interpreter")


if __name__ == "__main__":
    main()
