"""A real OpenBao, unsealed and empty, in memory: ``with openbao() as server``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registries import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT_TOKEN = "for-tests-only"


@dataclass(frozen=True)
class OpenBao:
    """A running server with the transit engine mounted."""

    address: str

    @property
    def environ(self) -> dict[str, str]:
        """What its clients are told, the root token included."""
        return {"VAULT_ADDR": self.address, "VAULT_TOKEN": ROOT_TOKEN}

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One request as root; the answer."""
        request = urllib.request.Request(
            f"{self.address}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": ROOT_TOKEN},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else {}

    def key(self, name: str, kind: str = "ecdsa-p256") -> str:
        """Make a key; its reference."""
        self.ask("POST", f"transit/keys/{name}", {"type": kind})
        return f"hashivault://{name}"

    def token(self, *rules: str) -> str:
        """A token that may only do what the rules (HCL) say."""
        name = f"p{abs(hash(rules))}"
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": "\n".join(rules)})
        made = self.ask("POST", "auth/token/create", {"policies": [name]})
        return str(made["auth"]["client_token"])


@contextmanager
def openbao() -> Iterator[OpenBao]:
    """Start a server in development mode, and end it."""
    program = Path(sys.executable).with_name("bao")
    port = free_port()
    server = OpenBao(f"http://127.0.0.1:{port}")
    command = [program, "server", "-dev", "-dev-no-store-token"]
    command += [f"-dev-root-token-id={ROOT_TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(
        [str(word) for word in command],
        env={"HOME": os.environ.get("HOME", "/"), "PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait(server, process)
            server.ask("POST", "sys/mounts/transit", {"type": "transit"})
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(server: OpenBao, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            server.ask("GET", "sys/mounts")
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("OpenBao does not start") from None
            time.sleep(0.1)
        else:
            return
