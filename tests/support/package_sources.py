"""Sources of the example packages, as a web server shows them: archives, and Git repositories.

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
import subprocess
import tarfile
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXAMPLES = Path(__file__).parents[2] / "examples/packages"
#: The address that the configurations name.
ADDRESS = "http://localhost:8000"

_VERSIONS = {"tonnage": "1.2.0", "manifest": "0.3.1", "ships": "1869", "loadline": "2.1.0"}
_IN_GIT = {"loadline"}


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


def configurations(target: Path, address: str) -> None:
    """Copy the example configurations, with another address of the sources."""
    for path in sorted(EXAMPLES.rglob("*")):
        relative = path.relative_to(EXAMPLES)
        if path.is_dir() or relative.parts[0] == "sources":
            continue
        file = target / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text().replace(ADDRESS, address)
        file.write_text(text)
        file.chmod(path.stat().st_mode & 0o777)


class _Handler(SimpleHTTPRequestHandler):
    """Files, and repositories by ``git http-backend`` (gitprotocol-http(5))."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Say nothing."""

    def do_GET(self) -> None:
        """A file, or what Git answers."""
        if ".git/" in self.path:
            self._git(b"")
        else:
            super().do_GET()

    def do_POST(self) -> None:
        """What Git answers."""
        self._git(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _git(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": self.directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            # The sources may belong to somebody else than who serves them.
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], env=environment, input=body, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        headers = dict(line for line in lines if len(line) == 2)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def serve(folder: Path, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Show a folder of sources; the address.

    Args:
        folder: what ``make`` filled.
        host: address of this machine.
        port: 0 for any free one.
    """
    handler = functools.partial(_Handler, directory=str(folder))
    with ThreadingHTTPServer((host, port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{host}:{server.server_port}"
        finally:
            server.shutdown()


def main() -> None:
    """Make the sources and serve them until ended."""
    parser = argparse.ArgumentParser(prog="package_sources", description=__doc__)
    parser.add_argument("folder", type=Path, help="where they are made")
    folder = parser.parse_args().folder.resolve()
    for name, digest in make(folder).items():
        print(name, digest)
    with serve(folder, port=8000) as address:
        print(f"serving {address} until Ctrl-C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
