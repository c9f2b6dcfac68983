"""How long a resolution takes, a whole fresh process each time.

Makes signed indexes of 5,000 and 100,000 packages (always the same ones), asks for 14 names and
prints for each the best of some runs, as a ratio to the bound: a fresh process that only reads the
file, inflates it and splits it into records. Three things are measured: verifying the index and
resolving; the command ``show-packages`` as a whole, which checks the configuration and starts all
that a build needs, with ``--offline``; and the same with a server that says that nothing changed.

Run with ``python bench/resolve.py [packages…]``.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from plimsoll.apk.index import Index
from plimsoll.apk.keys import SigningKey
from plimsoll.apk.writer import write_index

RUNS = 7
WANTED = 14
LETTERS = "abcdefghijklmnoprstuvwxyz"

RESOLVE = """
import sys
from pathlib import Path
from plimsoll.apk.index import read_index
from plimsoll.apk.keys import Keyring
from plimsoll.apk.solver import RepositoryIndex, resolve
index, key, *names = sys.argv[1:]
keyring = Keyring.from_files([Path(key)])
index = read_index(Path(index).read_bytes(), keyring, source="bench")
resolution = resolve(names, [RepositoryIndex("https://bench.example", index)])
print(len(resolution), resolution.searched)
"""
COMMAND = """
from plimsoll.cli.main import main
main()
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


class Quiet(SimpleHTTPRequestHandler):
    """Shows a folder; answers 304 to whoever has the file already."""

    def log_message(self, *_: object) -> None:
        """Keep the output to the figures."""


def measure(root: Path, url: str, size: int) -> None:
    text, wanted = make_index(size)
    key = SigningKey.generate("bench.rsa.pub", 2048)
    (root / "x86_64").mkdir()
    (root / key.name).write_bytes(key.public_pem())
    index = root / "x86_64/APKINDEX.tar.gz"
    entries = Index(text.encode(), source="bench").entries()
    index.write_bytes(write_index(entries, "bench", key))
    # A file that changed in the same second could have changed again.
    os.utime(index, (0, 0))
    config = root / "image.yaml"
    config.write_text(
        f"contents: {{repositories: ['{url}'], keyring: ['{url}/{key.name}'], "
        f"packages: [{', '.join(wanted)}]}}\narchs: [amd64]\n"
    )
    bound, _ = best(BOUND, str(index))
    print(f"{size:,} packages ({len(text) / 1e6:.1f} MB), {WANTED} names, bound {bound:.3f} s:")
    taken, output = best(RESOLVE, str(index), str(root / key.name), *wanted)
    chosen, searched = output.split()
    assert searched == "False"
    command = ("show-packages", str(config), "--cache-dir", str(root / "cache"))
    asked, shown = best(COMMAND, *command)
    assert len(shown.splitlines()) == int(chosen)
    offline, _ = best(COMMAND, *command, "--offline")
    for what, seconds in (
        ("verified and resolved", taken),
        ("show-packages --offline", offline),
        ("show-packages, asking the server", asked),
    ):
        print(f"  {what}: {chosen} packages in {seconds:.3f} s, {seconds / bound:.1f} x the bound")


def main(sizes: list[int]) -> None:
    start, _ = best("pass")
    print(f"start of Python alone: {start:.3f} s")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                measure(Path(folder), f"http://127.0.0.1:{server.server_port}", size)
            finally:
                server.shutdown()
                thread.join()
                server.server_close()


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [5_000, 100_000])
