"""How fast packages are scanned, linted and searched for what is vendored in them, on one core.

Takes a tree (default: this system's libraries and programs) and a made one of 1,000 small files,
and prints for each step MB/s and files/s, and the ratio to the bound: reading every file and
hashing it with SHA-1, as whoever writes the package has to do anyway.

Run with ``python bench/scan.py [directory…]``.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder.linters.lint import lint
from plimsoll.builder.linters.model import LintFacts
from plimsoll.builder.sca.model import Facts
from plimsoll.builder.sca.scan import scan
from plimsoll.builder.sca.tree import DirectoryTree, Tree
from plimsoll.builder.vendored.inventory import inventory

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 3


def read_and_hash(tree: Tree) -> None:
    for entry in tree:
        if entry.type is Type.FILE:
            digest = hashlib.sha1(usedforsecurity=False)
            with entry.open() as source:
                for block in source.blocks():
                    digest.update(block)


def everything(tree: Tree) -> None:
    scan(tree, Facts("bench", "1-r0"))
    lint(tree, LintFacts("bench", "1-r0"))
    inventory(tree)


STEPS: dict[str, Callable[[Tree], object]] = {
    "bound (read, sha1)": read_and_hash,
    "scan": lambda tree: scan(tree, Facts("bench", "1-r0")),
    "lint": lambda tree: lint(tree, LintFacts("bench", "1-r0")),
    "vendored": inventory,
    "all three": everything,
}


def measure(root: Path) -> None:
    tree = DirectoryTree(root)
    files = sum(entry.type is Type.FILE for entry in tree)
    size = sum(entry.size for entry in tree) / 1e6
    print(f"{root}: {files} files, {size:.0f} MB, {sum(e.elf is not None for e in tree)} ELF")
    bound = 0.0
    for name, step in STEPS.items():
        best = float("inf")
        for _ in range(RUNS):
            # A fresh tree each time: what was learned of its files must not count.
            fresh = DirectoryTree(root)
            started = time.process_time()
            step(fresh)
            best = min(best, time.process_time() - started)
        bound = bound or best
        print(
            f"  {name:20} {best:7.3f} s  {size / best:8.0f} MB/s  {files / best:8.0f} files/s  "
            f"{best / bound:5.2f} x bound"
        )


def small_files(root: Path) -> Path:
    """A package of 1,000 small files, a tenth of them programs of this system."""
    programs = [p for p in sorted(Path("/usr/bin").iterdir()) if p.is_file()]
    programs = [p for p in programs if p.stat().st_size < 100_000][:100]
    (root / "usr/bin").mkdir(parents=True)
    for program in programs:
        (root / "usr/bin" / program.name).write_bytes(program.read_bytes())
        (root / "usr/bin" / program.name).chmod(0o755)
    for number in range(1000 - len(programs)):
        path = root / f"usr/share/bench/{number % 30}/{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(4000))
    return root


def main() -> None:
    for root in sys.argv[1:] or ["/usr/lib/x86_64-linux-gnu", "/usr/bin"]:
        if Path(root).is_dir():
            measure(Path(root))
    with tempfile.TemporaryDirectory() as folder:
        measure(small_files(Path(folder)))


if __name__ == "__main__":
    main()
