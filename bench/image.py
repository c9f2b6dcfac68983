"""How long images take to build, as ratios to what the machine can do at all.

The bound of a cold build is what nobody can leave out: inflate every package, SHA-1 of its files,
SHA-256 of it, compress once (isal level 1), SHA-256 of the layer; by two processes, from a warm
page cache, writing nothing. Every build is a whole fresh process and writes an OCI layout. All
figures of a run are taken in turn, and ratios are made within a turn: what counts is the median
ratio, the seconds only say how busy the machine was. Each line has two ratios: of elapsed time, and
of processor time, which other people's work on the same machine changes little.

    python bench/image.py [--large] [--runs N] [--repository DIR --key FILE] [PACKAGE...]

Without a repository one is made of Debian's packages (needs apt-get) and kept below
$XDG_CACHE_HOME: 30 MB of them, or 450 MB with --large, which takes some minutes the first time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from isal import igzip_lib, isal_zlib

SMALL = ("base-files", "bash", "ca-certificates", "coreutils", "python3", "tzdata")
LARGE = (
    *("python3", "nginx", "git", "openjdk-17-jre-headless", "golang", "postgresql", "clang"),
    *("gcc", "cmake", "ruby"),
)
PLIMSOLL = str(Path(sys.executable).with_name("plimsoll"))


def members(data: bytes) -> list[bytes]:
    """The gzip members of a package, inflated."""
    found = []
    while data:
        inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        found.append(inflater.decompress(data))
        data = inflater.unused_data
    return found


def bound_of(paths: list[Path]) -> int:
    """The work that cannot be left out, for some packages; returns the bytes unpacked."""
    total = 0
    for path in paths:
        data = path.read_bytes()
        hashlib.sha256(data).digest()
        content = members(data)[-1]
        hashlib.sha1(content, usedforsecurity=False).digest()
        compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
        layer = compressor.compress(content) + compressor.flush()
        hashlib.sha256(layer).digest()
        hashlib.sha256(content).digest()
        total += len(content)
    return total


@dataclass(frozen=True)
class Cost:
    """What something took, in seconds."""

    elapsed: float
    processor: float


def used(who: int) -> float:
    """Seconds of processor time so far."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def bound(paths: list[Path]) -> tuple[Cost, int]:
    """The bound with two processes, and bytes unpacked."""
    halves: list[list[Path]] = [[], []]
    sizes = [0, 0]
    for path in sorted(paths, key=lambda p: -p.stat().st_size):
        lighter = sizes.index(min(sizes))
        halves[lighter].append(path)
        sizes[lighter] += path.stat().st_size
    before = used(resource.RUSAGE_CHILDREN)
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(bound_of, [[], []]))
        start = time.perf_counter()
        total = sum(pool.map(bound_of, halves))
        elapsed = time.perf_counter() - start
    return Cost(elapsed, used(resource.RUSAGE_CHILDREN) - before), total


class Bench:
    """One set of packages."""

    def __init__(self, work: Path, text: str) -> None:
        self.work = work
        self.text = text
        self.memory = 0.0
        # Installed programs have their bytecode, whatever the shell of the one who measures says.
        self.environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPYCACHEPREFIX": str(work / "bytecode"),
        }

    def config(self, more: str = "") -> Path:
        """The configuration with further lines."""
        path = self.work / "image.yaml"
        path.write_text(self.text + more)
        return path

    def build(self, cache: Path, config: Path, *arguments: str) -> Cost:
        """One build into a layout."""
        out = cache.with_name(f"{cache.name}-layout")
        out.mkdir(exist_ok=True)
        start = time.perf_counter()
        process = subprocess.Popen(
            [
                *(PLIMSOLL, "build", config, "bench.example/x", out),
                *("--json", "--progress=none", *arguments),
            ],
            env={**self.environment, "PLIMSOLL_CACHE_DIR": str(cache)},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit("the build failed")
        json.loads(output)
        self.memory = max(self.memory, usage.ru_maxrss / 1024)
        return Cost(seconds, usage.ru_utime + usage.ru_stime)

    def cold(self, more: str = "") -> Cost:
        """One build with an empty cache and no output."""
        cache = self.work / "cold"
        cost = self.build(cache, self.config(more))
        shutil.rmtree(cache)
        shutil.rmtree(cache.with_name("cold-layout"))
        return cost

    def changed(self, cache: Path, small: str, more: str = "") -> Cost:
        """One build with a package more than the one before; the package itself is cached."""
        config = self.config(more)
        for kind in ("builds", "images", "layers"):
            for folder in cache.glob(f"*/{kind}"):
                shutil.rmtree(folder)
        shutil.rmtree(cache.with_name(f"{cache.name}-layout"))
        self.build(cache, config)
        return self.build(cache, config, "-p", small)


def row(label: str, costs: list[Cost], floors: list[Cost], unit: str, aim: str) -> None:
    """Print one line: least seconds, median ratios, smallest and largest ratio."""
    ratios = [one.elapsed / other.elapsed for one, other in zip(costs, floors, strict=True)]
    work = [one.processor / other.processor for one, other in zip(costs, floors, strict=True)]
    print(
        f"{label:28} {min(c.elapsed for c in costs):6.2f} s  {median(ratios):6.3f} x {unit}"
        f"  ({min(ratios):.3f} to {max(ratios):.3f}; aim {aim}); processor {median(work):.3f}",
        flush=True,
    )


def measure(  # noqa: PLR0913, PLR0917  (what is measured)
    work: Path, repository: Path, key: Path, packages: list[str], small: str, runs: int
) -> None:
    """Print the table for one set."""
    bench = Bench(
        work,
        f"contents:\n  keyring: [{key}]\n  repositories: [{repository}]\n"
        f"  packages: [{', '.join(packages)}]\narchs: [amd64]\n",
    )
    lines = subprocess.run(
        [PLIMSOLL, "show-packages", bench.config(), "--format", "{name}-{version}"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PLIMSOLL_CACHE_DIR": str(work / "cache")},
    ).stdout.split()
    if any(line.startswith(f"{small}-") for line in lines):
        raise SystemExit(f"{small} is needed anyway: name another package with --small")
    paths = [repository / "x86_64" / f"{line}.apk" for line in lines]
    _, unpacked = bound(paths)
    packed = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} packages, {packed / 1e6:.0f} MB packed, {unpacked / 1e6:.0f} MB unpacked")
    cache = work / "cache"
    layers = "layering: {strategy: package, budget: 60}\n"
    zstd = "compression: zstd\n"
    bench.build(cache, bench.config(), "-p", small)
    bench.build(cache, bench.config())
    turns: dict[str, list[Cost]] = {}

    def note(label: str, cost: Cost) -> None:
        turns.setdefault(label, []).append(cost)

    for _ in range(runs):
        note("bound", bound(paths)[0])
        note("cold", bench.cold())
        note("same", bench.build(cache, bench.config()))
        note("bound2", bound(paths)[0])
        note("zstd", bench.cold(zstd))
        note("one", bench.changed(cache, small))
        note("many", bench.changed(cache, small, layers))
        bench.build(cache, bench.config())
    print(f"{'bound':28} {min(c.elapsed for c in turns['bound']):6.2f} s")
    row("cold, gzip", turns["cold"], turns["bound"], "bound", "1.5")
    row("cold, zstd", turns["zstd"], turns["bound2"], "bound", "1.5")
    row("nothing changed", turns["same"], turns["cold"], "cold", "0.05")
    row("one package more, one layer", turns["one"], turns["cold"], "cold", "0.25")
    row("one package more, by package", turns["many"], turns["cold"], "cold", "0.10")
    same = min(c.elapsed for c in turns["same"])
    print(f"{'nothing changed, in all':28} {same:6.2f} s  (aim 0.4 for the small set)")
    print(f"{'peak memory':28} {bench.memory:6.0f} MB  (aim 250)")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="The set of 450 MB.")
    parser.add_argument("--runs", type=int, default=3, help="Turns; the median counts.")
    parser.add_argument("--repository", type=Path, help="A repository for x86_64.")
    parser.add_argument("--key", type=Path, help="Its public key.")
    parser.add_argument("--small", help="The package that is added.")
    parser.add_argument("packages", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as folder:
        work = Path(folder)
        repository, key, packages = options.repository, options.key, options.packages
        small = options.small or ("ed" if options.large else "netbase")
        if repository is None:
            sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
            from debian_apk.repository import build  # noqa: PLC0415  (only where it is needed)

            packages = packages or list(LARGE if options.large else SMALL)
            base = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
            repository = work / "repo"
            # In a process of its own: what a build is started from counts as its peak memory.
            with ProcessPoolExecutor(1) as pool:
                cache = Path(base, "plimsoll", "debian")
                pool.submit(build, repository, [*packages, small], ["amd64"], cache).result()
            key = next(repository.glob("*.rsa.pub"))
        measure(work, repository.resolve(), key.resolve(), packages, small, options.runs)


if __name__ == "__main__":
    main()
