"""How long images take to build, as ratios to what the machine can do at all.

The bound of a cold build is what nobody can leave out: inflate every package, SHA-1 of its files,
SHA-256 of it, compress once (isal level 1), SHA-256 of the layer; by two processes, from a warm
page cache, writing nothing. Every build is a whole fresh process and writes an OCI layout. All
figures of a run are taken in turn, and ratios are made within a turn: what counts is
the median ratio, the seconds only say how busy the machine was.

    python bench/image.py [--large] [--runs N] [--repository DIR --key FILE] [PACKAGE...]

Without a repository one is made of Debian's packages (needs apt-get): 30 MB of them, or 450 MB with
--large.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

from isal import igzip_lib, isal_zlib

SMALL = ("base-files", "bash", "ca-certificates", "coreutils", "python3", "tzdata")
LARGE = ("python3", "nginx", "git", "openjdk-17-jre-headless", "golang", "postgresql", "clang")
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


def bound(paths: list[Path]) -> tuple[float, int]:
    """Seconds of the bound with two processes, and bytes unpacked."""
    halves: list[list[Path]] = [[], []]
    sizes = [0, 0]
    for path in sorted(paths, key=lambda p: -p.stat().st_size):
        lighter = sizes.index(min(sizes))
        halves[lighter].append(path)
        sizes[lighter] += path.stat().st_size
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(bound_of, [[], []]))
        start = time.perf_counter()
        total = sum(pool.map(bound_of, halves))
        return time.perf_counter() - start, total


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

    def build(self, cache: Path, config: Path, *arguments: str) -> float:
        """Seconds of one build into a layout."""
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
        return seconds

    def cold(self, more: str = "") -> float:
        """One build with an empty cache and no output."""
        cache = self.work / "cold"
        seconds = self.build(cache, self.config(more))
        shutil.rmtree(cache)
        shutil.rmtree(cache.with_name("cold-layout"))
        return seconds

    def changed(self, cache: Path, small: str, more: str = "") -> float:
        """One build with a package more than the one before; the package itself is cached."""
        config = self.config(more)
        for kind in ("images", "layers"):
            for folder in cache.glob(f"*/{kind}"):
                shutil.rmtree(folder)
        shutil.rmtree(cache.with_name(f"{cache.name}-layout"))
        self.build(cache, config)
        return self.build(cache, config, "-p", small)


def row(label: str, times: list[float], floors: list[float], unit: str, aim: str) -> None:
    """Print one line: best seconds, median ratio, smallest and largest ratio."""
    ratios = [one / other for one, other in zip(times, floors, strict=True)]
    print(
        f"{label:32} {min(times):7.2f} s   {median(ratios):6.3f} x {unit}"
        f"  ({min(ratios):.3f} to {max(ratios):.3f}; aim {aim})",
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
    paths = [repository / "x86_64" / f"{line}.apk" for line in lines]
    _, unpacked = bound(paths)
    packed = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} packages, {packed / 1e6:.0f} MB packed, {unpacked / 1e6:.0f} MB unpacked")
    cache = work / "cache"
    layers = "layering: {strategy: package, budget: 60}\n"
    zstd = "compression: zstd\n"
    bench.build(cache, bench.config(), "-p", small)
    bench.build(cache, bench.config())
    turns: dict[str, list[float]] = {}

    def note(label: str, seconds: float) -> None:
        turns.setdefault(label, []).append(seconds)

    for _ in range(runs):
        note("bound", bound(paths)[0])
        note("cold", bench.cold())
        note("same", bench.build(cache, bench.config()))
        note("bound2", bound(paths)[0])
        note("zstd", bench.cold(zstd))
        note("one", bench.changed(cache, small))
        note("many", bench.changed(cache, small, layers))
        bench.build(cache, bench.config())
    print(f"{'bound':32} {min(turns['bound']):7.2f} s")
    row("cold, gzip", turns["cold"], turns["bound"], "bound", "1.5")
    row("cold, zstd", turns["zstd"], turns["bound2"], "bound", "1.5")
    row("nothing changed", turns["same"], turns["cold"], "cold", "0.05")
    row("one package more, one layer", turns["one"], turns["cold"], "cold", "0.25")
    row("one package more, by package", turns["many"], turns["cold"], "cold", "0.10")
    print(f"{'peak memory':32} {bench.memory:7.0f} MB  (aim 250)")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help="The set of 450 MB.")
    parser.add_argument("--runs", type=int, default=3, help="Turns; the median counts.")
    parser.add_argument("--repository", type=Path, help="A repository for x86_64.")
    parser.add_argument("--key", type=Path, help="Its public key.")
    parser.add_argument("--small", default="netbase", help="The package that is added.")
    parser.add_argument("packages", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plimsoll-bench-") as folder:
        work = Path(folder)
        repository, key, packages = options.repository, options.key, options.packages
        if repository is None:
            sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
            from debian_apk.repository import build  # noqa: PLC0415  (only where it is needed)

            packages = packages or list(LARGE if options.large else SMALL)
            base = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
            repository = work / "repo"
            build(
                repository, [*packages, options.small], ["amd64"], Path(base, "plimsoll", "debian")
            )
            key = next(repository.glob("*.rsa.pub"))
        measure(work, repository.resolve(), key.resolve(), packages, options.small, options.runs)


if __name__ == "__main__":
    main()
