"""How long images take to build, as ratios to what the machine can do at all.

The bound of a cold build is what nobody can leave out: inflate every package, SHA-1 of its files,
SHA-256 of it, compress once (isal level 1), SHA-256 of the layer; by two processes, from a warm
page cache. Every build is a whole fresh process.

    python bench/image.py [--repository DIR --key FILE] [PACKAGE...]

Without a repository one is made of Debian's packages (needs apt-get).
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

from isal import igzip_lib, isal_zlib

RUNS = 3
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

    def __init__(self, work: Path, config: Path) -> None:
        self.work = work
        self.config = config
        self.memory = 0.0

    def build(self, cache: Path, *arguments: str, package: str | None = None) -> float:
        """Seconds of one build into a layout that is kept from run to run."""
        out = self.work / "layout"
        out.mkdir(exist_ok=True)
        more = ["-p", package] if package else []
        start = time.perf_counter()
        process = subprocess.Popen(
            [
                *(PLIMSOLL, "build", self.config, "bench.example/x", out),
                *("--json", "--progress=none", *more, *arguments),
            ],
            env={**os.environ, "PLIMSOLL_CACHE_DIR": str(cache)},
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

    def cold(self) -> float:
        """The best of some builds with an empty cache and no output."""
        times = []
        for number in range(RUNS):
            cache = self.work / f"cold{number}"
            shutil.rmtree(self.work / "layout", ignore_errors=True)
            times.append(self.build(cache))
            shutil.rmtree(cache)
        return min(times)


def measure(work: Path, repository: Path, key: Path, packages: list[str], small: str) -> None:
    """Print the table for one set."""
    text = (
        f"contents:\n  keyring: [{key}]\n  repositories: [{repository}]\n"
        f"  packages: [{', '.join(packages)}]\narchs: [amd64]\n"
    )
    config = work / "image.yaml"
    config.write_text(text)
    bench = Bench(work, config)
    cache = work / "cache"
    bench.build(cache)
    lines = subprocess.run(
        [PLIMSOLL, "show-packages", config, "--format", "{name}-{version}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    paths = [repository / "x86_64" / f"{line}.apk" for line in lines]
    floor, unpacked = min(bound(paths) for _ in range(RUNS))
    packed = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} packages, {packed / 1e6:.0f} MB packed, {unpacked / 1e6:.0f} MB unpacked")
    print(f"{'bound':32} {floor:7.2f} s")
    cold = bench.cold()
    print(f"{'cold':32} {cold:7.2f} s   {cold / floor:5.2f} x bound")
    bench.build(cache)
    same = min(bench.build(cache) for _ in range(RUNS))
    print(f"{'nothing changed':32} {same:7.2f} s   {same / cold:5.3f} x cold")
    for label, layering in (
        ("one package more, one layer", ""),
        ("one package more, by package", "layering: {strategy: package, budget: 60}\n"),
    ):
        config.write_text(text + layering)
        times = []
        for _ in range(RUNS):
            bench.build(cache)
            for kind in ("images", "layers"):
                for folder in cache.glob(f"*/{kind}"):
                    shutil.rmtree(folder)
            bench.build(cache)
            times.append(bench.build(cache, package=small))
        print(f"{label:32} {min(times):7.2f} s   {min(times) / cold:5.3f} x cold")
    print(f"{'peak memory':32} {bench.memory:7.0f} MB")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
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

            packages = packages or list(LARGE)
            base = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
            repository = work / "repo"
            build(
                repository, [*packages, options.small], ["amd64"], Path(base, "plimsoll", "debian")
            )
            key = next(repository.glob("*.rsa.pub"))
        measure(work, repository.resolve(), key.resolve(), packages, options.small)


if __name__ == "__main__":
    main()
