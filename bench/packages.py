"""How fast packages are compiled, emitted and indexed: our own work, without that of the steps.

Prints four measures with their limits, in processor time of one core:

- compile: one configuration, read anew, with the pipelines it uses
- emission: scan, lint, SBOM and package of real libraries and programs, MB/s and the ratio to the
  bound (compressing and hashing the same bytes)
- overhead: all that a build of 1,000 files costs beside the guest and the steps
- index: two packages put into an index of 20,000

Run with ``python bench/packages.py [directory of configurations…]``.
"""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from isal import isal_zlib

from plimsoll.apk.index import IndexEntry
from plimsoll.apk.keys import SigningKey
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import write_index
from plimsoll.arch import Arch
from plimsoll.builder.package.build import BuildSettings, put_into_index
from plimsoll.builder.package.compile import compile_package
from plimsoll.builder.package.emit import Emission, emit
from plimsoll.builder.package.library import Library
from plimsoll.builder.package.load import load_file, load_text
from plimsoll.builder.package.progress import Progress
from plimsoll.builder.package.sbom import Origin
from plimsoll.builder.package.show import record
from plimsoll.builder.package.workspace import copy_sources, identity, outputs
from plimsoll.builder.sca.tree import DirectoryTree

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.builder.package.compile import Compiled

RUNS = 3
EXAMPLES = Path(__file__).parents[1] / "examples/packages"
SMALL = """\
package: {name: bench, version: 1.0.0, epoch: 0, copyright: [{license: MIT}]}
environment: {contents: {packages: [busybox]}}
pipeline: [{runs: "true"}]
"""


def cpu() -> float:
    """Processor seconds of this process and the programs that it started."""
    own, children = (resource.getrusage(who) for who in (0, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def best(work: Callable[[], object]) -> float:
    """The fastest of some runs, in processor seconds."""
    found = []
    for _ in range(RUNS):
        started = cpu()
        work()
        found.append(cpu() - started)
    return min(found)


def say(what: str, value: float, limit: float, unit: str, *, least: bool = False) -> None:
    """Print one measure beside its limit."""
    held = value >= limit if least else value <= limit
    sign = "at least" if least else "at most"
    print(f"  {what:34} {value:9.3f} {unit:5} {sign} {limit:g}: {'yes' if held else 'NO'}")


def compiling(folders: list[Path]) -> None:
    """Every configuration by itself, as the command line meets it."""
    files = [path for folder in folders for path in sorted(folder.glob("*.yaml"))]
    times = []
    for path in files:
        pipelines = [folder for folder in (path.parent / "pipelines",) if folder.is_dir()]

        def once(path: Path = path, pipelines: list[Path] = pipelines) -> None:
            compile_package(load_file(path), Library(pipelines), Arch.AMD64)

        try:
            once()
        except Exception as error:  # noqa: BLE001  (an image's configuration, or a strange one)
            print(f"  {path.name} is left out: {str(error)[:80]}")
            continue
        times.append((best(once), path.name))
    times.sort()
    say(f"compile, median of {len(times)}", times[len(times) // 2][0] * 1000, 50, "ms")
    say(f"compile, slowest ({times[-1][1]})", times[-1][0] * 1000, 50, "ms")


def emission(compiled: Compiled) -> Emission:
    """Of the small configuration."""
    return Emission(
        compiled,
        Origin("bench.yaml"),
        record(compiled.config),
        key=KEY,
        require=[],
        warn=None,
        say=lambda _: None,
    )


def emitting(compiled: Compiled, root: Path, out: Path) -> None:
    """A package of a whole directory."""
    tree = DirectoryTree(root)
    size = sum(entry.size for entry in tree if entry.type is Type.FILE) / 1e6
    taken = best(
        lambda: emit(
            emission(compiled), compiled.config.package, {"bench": DirectoryTree(root)}, out
        )
    )
    bound = best(lambda: compress_and_hash(DirectoryTree(root)))
    say(f"emission of {root} ({size:.0f} MB)", size / taken, 150, "MB/s", least=True)
    print(f"  {'  time against the bound':34} {taken / bound:9.2f} x")


def compress_and_hash(tree: DirectoryTree) -> None:
    """The work that the format asks for, whoever does it."""
    compressor = isal_zlib.compressobj(2, isal_zlib.DEFLATED, 31)
    total = hashlib.sha256()
    for entry in tree:
        if entry.type is Type.FILE:
            digest = hashlib.sha1(usedforsecurity=False)
            with entry.open() as source:
                for block in source.blocks():
                    digest.update(block)
                    total.update(compressor.compress(block))
    total.update(compressor.flush())


def overhead(compiled: Compiled, work: Path) -> None:
    """What ``build_package`` does around guest and steps, with a workspace that is kept."""
    source = work / "source"
    for number in range(1000):
        path = source / f"usr/share/bench/{number % 30}/{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(4000))
    numbers = iter(range(100))

    def once() -> None:
        root = work / f"build{next(numbers)}"
        home = root / "home"
        home.mkdir(parents=True)
        progress = Progress(root, keep=True)
        progress.begin(compiled.scripts["bench"], [identity(source)])
        progress.restore()
        copy_sources(source, home)
        place = outputs(home, ["bench"])["bench"]
        (home / "usr").rename(place / "usr")
        progress.finished(0)
        with DirectoryTree(place) as tree:
            package = compiled.config.package
            entry = emit(emission(compiled), package, {"bench": tree}, root)
        put_into_index(root, [entry], BuildSettings(out=root, key=KEY))

    say("overhead of 1,000 files", best(once), 1, "s")


def indexing(work: Path) -> None:
    """An index as large as those of distributions."""
    entries = [
        IndexEntry(
            name=f"package-{number}",
            version=f"1.{number % 50}.{number % 7}-r{number % 3}",
            arch="x86_64",
            description=f"the package of number {number}",
            license="Apache-2.0",
            origin=f"package-{number // 3}",
            depends=("so:libc.so.6", f"so:libpackage{number // 2}.so.1", "cmd:bash"),
            provides=(f"cmd:package{number}=1.{number % 50}-r0", f"so:libpackage{number}.so.1=1"),
            checksum=hashlib.sha1(str(number).encode(), usedforsecurity=False).digest(),
            size=number + 1000,
            installed_size=number + 4000,
        )
        for number in range(20_000)
    ]
    index = write_index(entries, "bench", KEY)
    settings = BuildSettings(out=work, key=KEY)

    def once() -> None:
        (work / "APKINDEX.tar.gz").write_bytes(index)
        put_into_index(work, entries[:2], settings)

    say("index of 20,000 packages", best(once), 2, "s")


KEY = SigningKey.generate("bench.rsa.pub", bits=4096)


def main() -> None:
    """Measure everything."""
    started = time.monotonic()
    folders = [Path(name) for name in sys.argv[1:]] or [EXAMPLES]
    compiled = compile_package(load_text(SMALL, "bench.yaml"), Library(), Arch.AMD64)
    print("packages, in processor time")
    compiling(folders)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for root in ("/usr/lib/x86_64-linux-gnu", "/usr/bin"):
            if Path(root).is_dir():
                emitting(compiled, Path(root), work)
        overhead(compiled, work)
        indexing(work)
    print(f"  in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
