"""How long a resolution takes, a whole fresh process each time.

Makes indexes of 5,000 and 100,000 packages (always the same ones), asks for 14 names and prints
for each the best of some runs, as a ratio to the bound: a fresh process that only reads the file,
inflates it and splits it into records.

Run with ``python bench/resolve.py [packages…]``.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

RUNS = 7
WANTED = 14
LETTERS = "abcdefghijklmnoprstuvwxyz"

RESOLVE = """
import sys
from pathlib import Path
from plimsoll.apk.index import read_index
from plimsoll.apk.solver import RepositoryIndex, resolve
index = read_index(Path(sys.argv[1]).read_bytes(), None, source="bench")
resolution = resolve(sys.argv[2:], [RepositoryIndex("https://bench.example", index)])
print(len(resolution), resolution.searched)
"""
BOUND = """
import sys
from pathlib import Path
from isal import igzip
print(len(igzip.decompress(Path(sys.argv[1]).read_bytes()).split(b"\\n\\n")), False)
"""


def make_index(packages: int) -> tuple[str, list[str]]:
    """Text of an index of sonames, commands, several versions, and the names to ask for.

    As in real repositories a third are libraries, most needs are sonames with few providers,
    and what is needed lies in lower layers.
    """
    rnd = random.Random(packages)
    names = packages // 3 if packages > 20_000 else packages
    libraries = [f"lib{word(rnd)}{n}" for n in range(names // 3)]
    programs = [f"{word(rnd)}-{word(rnd)}{n}" for n in range(names - len(libraries))]
    records = []
    for place, name in enumerate([*libraries, *programs]):
        below = min(place, len(libraries))
        # Most needs go to a few libraries that everybody uses.
        needs = {
            libraries[rnd.randrange(min(below, 40) if rnd.random() < 0.7 else below)]
            for _ in range(min(below, rnd.randint(1, 6)))
        }
        for version in range(max(1, packages // names)):
            depends = [f"so:{need}.so.1" for need in sorted(needs)]
            if place >= len(libraries):
                provides = [f"cmd:{name}=1.{version}-r0"]
            else:
                provides = [f"so:{name}.so.1=1.{version}", f"pc:{name}=1.{version}-r0"]
            records.append(
                f"C:Q1{checksum(name, version)}\nP:{name}\nV:1.{version}-r0\nA:x86_64\n"
                f"S:{rnd.randrange(9_000_000)}\nI:{rnd.randrange(30_000_000)}\n"
                f"T:{' '.join(word(rnd) for _ in range(6))}\nU:https://{word(rnd)}.example/\n"
                f"L:Apache-2.0\no:{name}\nm:{word(rnd)} <{word(rnd)}@example.org>\n"
                f"t:1700000000\nc:{rnd.randbytes(20).hex()}\nD:{' '.join(depends)}\n"
                f"p:{' '.join(provides)}\n\n"
            )
    rnd.shuffle(records)
    return "".join(records), rnd.sample(programs, WANTED)


def word(rnd: random.Random) -> str:
    return "".join(rnd.choices(LETTERS, k=rnd.randint(3, 9)))


def checksum(name: str, version: int) -> str:
    return base64.b64encode(hashlib.sha1(f"{name}{version}".encode()).digest()).decode()


def pack(text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("DESCRIPTION", b"bench"), ("APKINDEX", text.encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), 6, mtime=0)


def best(code: str, *arguments: str) -> tuple[float, str]:
    fastest, output = float("inf"), ""
    for _ in range(RUNS):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
        )
        fastest = min(fastest, time.perf_counter() - start)
        output = done.stdout.strip()
    return fastest, output


def main(sizes: list[int]) -> None:
    start, _ = best("pass")
    print(f"start of Python alone: {start:.3f} s")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            text, wanted = make_index(size)
            path = Path(folder) / f"{size}.tar.gz"
            path.write_bytes(pack(text))
            bound, _ = best(BOUND, str(path))
            taken, output = best(RESOLVE, str(path), *wanted)
            chosen, searched = output.split()
            assert searched == "False"
            print(
                f"{size:,} packages ({len(text) / 1e6:.1f} MB): {WANTED} names → {chosen}; "
                f"{taken:.3f} s, {taken / bound:.1f} times the bound of {bound:.3f} s"
            )


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [5_000, 100_000])
