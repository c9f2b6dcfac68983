"""Sources of the example packages, as a web server and a Git server show them.

``python -m package_sources DIR`` makes them in DIR and serves them where the configurations of
``examples/packages`` look for them. The same sources always give the same archives and commits.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import io
import os
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).parents[2] / "examples/packages"
#: Addresses that the configurations name.
HTTP, GIT = "http://localhost:8000", "git://localhost:9418"

_VERSIONS = {"tonnage": "1.2.0", "manifest": "0.3.1", "ships": "1869", "loadline": "2.1.0"}
_IN_GIT = {"loadline"}
_DEADLINE = 20.0


@dataclass(frozen=True)
class Served:
    """Where sources are shown."""

    http: str
    git: str


def make(out: Path) -> dict[str, str]:
    """Make the sources of all examples.

    Returns:
        Name → SHA-256 of its archive, or its commit.
    """
    return {name: add(out, name, version) for name, version in _VERSIONS.items()}


def add(out: Path, name: str, version: str, changes: Mapping[str, str] | None = None) -> str:
    """Make one source; ``changes`` are file names → new contents.

    Returns:
        SHA-256 of the archive, or the commit.
    """
    folder = EXAMPLES / "sources" / name
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files |= {path: text.encode() for path, text in (changes or {}).items()}
    if name in _IN_GIT:
        return _commit(out / f"{name}.git", version, files)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}-{version}.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for file, content in sorted(files.items()):
            info = tarfile.TarInfo(f"{name}-{version}/{file}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _commit(repository: Path, version: str, files: Mapping[str, bytes]) -> str:
    """A commit on the branch, with a tag, the same each time."""
    with tempfile.TemporaryDirectory() as work:
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_DIR": str(repository),
            "GIT_WORK_TREE": work,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
        }
        for who in ("AUTHOR", "COMMITTER"):
            environment |= {
                f"GIT_{who}_NAME": "Example",
                f"GIT_{who}_EMAIL": "example@localhost",
                f"GIT_{who}_DATE": "1700000000 +0000",
            }

        def git(*words: str) -> str:
            command = ["git", "-C", work, *words]
            done = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            )
            return done.stdout.strip()

        if not repository.exists():
            repository.mkdir(parents=True)
            git("init", "-q", "--initial-branch=main")
            git("config", "core.bare", "false")
        for name, content in files.items():
            (Path(work) / name).write_bytes(content)
        git("add", "--all")
        git("commit", "-q", "--allow-empty", "-m", f"Version {version}")
        git("tag", f"v{version}")
        return git("rev-parse", "HEAD")


def configurations(target: Path, served: Served) -> None:
    """Copy the example configurations, with the addresses of ``served``."""
    for path in sorted(EXAMPLES.rglob("*")):
        relative = path.relative_to(EXAMPLES)
        if path.is_dir() or relative.parts[0] == "sources":
            continue
        file = target / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text().replace(HTTP, served.http).replace(GIT, served.git)
        file.write_text(text)
        file.chmod(path.stat().st_mode & 0o777)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Say nothing."""


@contextlib.contextmanager
def serve(
    folder: Path, host: str = "127.0.0.1", ports: tuple[int, int] = (0, 0)
) -> Iterator[Served]:
    """Show a folder of sources on an address of this machine.

    Args:
        folder: what ``make`` filled.
        host: the address.
        ports: of the web server and the Git server; 0 for any free one.
    """
    handler = functools.partial(_Quiet, directory=str(folder))
    git_port = ports[1] or _free_port(host)
    command = ["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={folder}"]
    command += [f"--listen={host}", f"--port={git_port}", str(folder)]
    with (
        ThreadingHTTPServer((host, ports[0]), handler) as server,
        subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            _wait(host, git_port, daemon)
            yield Served(f"http://{host}:{server.server_port}", f"git://{host}:{git_port}")
        finally:
            server.shutdown()
            daemon.terminate()
            daemon.wait()


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait(host: str, port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _DEADLINE
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    raise RuntimeError("the Git server does not answer; is git with its daemon installed?")


def main() -> None:
    """Make the sources and serve them until ended."""
    parser = argparse.ArgumentParser(prog="package_sources", description=__doc__)
    parser.add_argument("folder", type=Path, help="where they are made")
    folder = parser.parse_args().folder.resolve()
    for name, digest in make(folder).items():
        print(name, digest)
    with serve(folder, "127.0.0.1", (8000, 9418)) as served:
        print(f"serving {served.http} and {served.git} until Ctrl-C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
