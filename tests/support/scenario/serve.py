"""Packages over HTTP, where pods reach them."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from cluster import Access
from cluster.processes import Process, start
from registries import free_port
from scenario.shell import wait_for

#: Base packages, and those that build packages.
BASE, TOOLS = "packages", "tools"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/x86_64/APKINDEX.tar.gz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def serve(cluster: Access, directory: Path, name: str = BASE) -> str:
    """Serve ``directory`` beside the cluster, or go on with the server that does; its URL."""
    record, place = _files(cluster, name)
    if place.exists():
        url = place.read_text()
        running = Process.recorded(record)
        if running is not None and running.alive and _answers(url):
            return url
        stop(cluster, name)
    port = free_port(cluster.host_address)
    url = f"http://{cluster.host_address}:{port}"
    support = str(Path(__file__).resolve().parents[1])
    start(
        [sys.executable, "-m", "static_server", directory, cluster.host_address, str(port)],
        record=record,
        log=cluster.logs_dir / f"{name}.log",
        env={**os.environ, "PYTHONPATH": support},
    )
    place.write_text(url)
    wait_for("the package server", lambda: _answers(url), seconds=20)
    return url


def stop(cluster: Access, *names: str) -> None:
    """End the servers, those that run."""
    for name in names or (BASE, TOOLS):
        record, place = _files(cluster, name)
        process = Process.recorded(record)
        if process is not None:
            process.kill()
        record.unlink(missing_ok=True)
        place.unlink(missing_ok=True)


def _files(cluster: Access, name: str) -> tuple[Path, Path]:
    state = cluster.state_dir
    return state / f"{name}.process", state / f"{name}.url"
