"""Real registries on free loopback ports, each with its own storage, gone at the end."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gotools import tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER, PASSWORD = "captain", "load-line"
# bcrypt, the only scheme that distribution reads; of PASSWORD.
_HTPASSWD = "captain:$2b$05$tU.5SS4.F6ASW7dKRMReRu7v66OghY0D0s7.kZatwM/rZPbjLrTrO\n"


@dataclass(frozen=True)
class RegistryServer:
    """A running registry."""

    host: str
    """``127.0.0.1:PORT``: what stands before the first slash of a reference."""

    storage: Path
    log: Path

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a final slash."""
        return f"http://{self.host}"

    def docker_config(self, directory: Path, user: str = USER, password: str = PASSWORD) -> Path:
        """Write a ``config.json`` that logs in here; returns ``directory``."""
        auth = b64encode(f"{user}:{password}".encode()).decode()
        directory.mkdir(parents=True, exist_ok=True)
        config = {"auths": {self.host: {"auth": auth}}}
        (directory / "config.json").write_text(json.dumps(config))
        return directory


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def distribution_registry(*, auth: bool = False) -> Iterator[RegistryServer]:
    """CNCF distribution: no referrers API; with ``auth`` it asks for ``USER`` and ``PASSWORD``."""

    def command(host: str, home: Path) -> list[str]:
        config = distribution_config(host, home / "storage")
        if auth:
            (home / "htpasswd").write_text(_HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(home / "htpasswd")}}
        # JSON is YAML.
        (home / "config.yml").write_text(json.dumps(config))
        return [str(tool("registry")), "serve", str(home / "config.yml")]

    with _serve(command) as server:
        yield server


@contextlib.contextmanager
def crane_registry(*, page_size: int = 0) -> Iterator[RegistryServer]:
    """go-containerregistry's registry with the referrers API (filters, paging); anonymous.

    Args:
        page_size: referrers in one answer, the rest by ``Link`` headers; 0 means all.
    """

    def command(host: str, home: Path) -> list[str]:
        argv = [str(tool("referrers-registry")), "-address", host]
        return [*argv, "-disk", str(home / "storage"), "-page-size", str(page_size)]

    with _serve(command) as server:
        yield server


def distribution_config(address: str, storage: Path) -> dict[str, object]:
    """The configuration of a quiet distribution registry on a disk folder, deletion allowed."""
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": address, "secret": "one server only"},
    }


@contextlib.contextmanager
def _serve(
    command: Callable[[str, Path], list[str]], *, attempts: int = 3
) -> Iterator[RegistryServer]:
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plimsoll-registry-")))
        (home / "storage").mkdir()
        log = home / "log"
        for attempt in range(1, attempts + 1):
            host = f"127.0.0.1:{free_port()}"
            argv = command(host, home)
            output = stack.enter_context(log.open("wb"))
            process = subprocess.Popen(
                argv,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            stack.callback(_stop, process)
            if _answers(f"http://{host}/v2/", process):
                yield RegistryServer(host, home / "storage", log)
                return
            if attempt == attempts:
                raise RuntimeError(f"{argv[0]} does not start:\n{log.read_text()[-2000:]}")


def _answers(url: str, process: subprocess.Popen[bytes], timeout: float = 30) -> bool:
    """Wait until the server says anything at all; False when it ended (a port was taken)."""
    deadline = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return process.poll() is None
        except urllib.error.HTTPError as answer:
            answer.close()
            return answer.code == 401 and process.poll() is None
        except OSError:
            time.sleep(0.02)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
