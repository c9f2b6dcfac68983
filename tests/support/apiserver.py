"""A Kubernetes control plane without nodes: etcd, API server, controller manager.

Enough to try CRDs, Jobs and owners for real; what a kubelet would do is up to the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gotools import tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PATIENCE = 90.0


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane."""

    kubeconfig: Path
    folder: Path

    @property
    def url(self) -> str:
        """The API server."""
        return str(json.loads(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"])

    @property
    def certificate(self) -> str:
        """The API server's certificate and authority (PEM)."""
        return (self.folder / "certs" / "apiserver.crt").read_text()

    def publish_issuer(self) -> None:
        """Let anybody read the keys of ServiceAccount tokens, as clusters with an issuer do."""
        role = "system:service-account-issuer-discovery"
        who = ("--clusterrole", role, "--group", "system:unauthenticated")
        self.kubectl("create", "clusterrolebinding", "issuer", *who)

    def kubeconfig_of(self, user: str) -> Path:
        """A kubeconfig of one of ``users``."""
        config = json.loads(self.kubeconfig.read_text())
        config["users"][0]["user"]["token"] = f"{user}-token"
        path = self.folder / f"kubeconfig.{user}"
        path.write_text(json.dumps(config))
        return path

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as an administrator."""
        return subprocess.run(
            [str(tool("kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin,
            text=True,
            capture_output=True,
            check=check,
            timeout=60,
        )

    def get(self, *arguments: str) -> Any:
        """``kubectl get … -o json``."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)


@contextmanager
def control_plane(
    folder: Path, *options: str, users: Sequence[str] = (), reachable_issuer: bool = False
) -> Iterator[ControlPlane]:
    """Start a control plane; stop it at the end.

    Args:
        folder: for everything.
        options: further ones of the API server.
        users: names of users without any right yet.
        reachable_issuer: name the API server itself as the issuer of ServiceAccount tokens, so
            that others on this machine can fetch its keys.
    """
    etcd_client, etcd_peer, port = _free_ports(3)
    token = secrets.token_hex(16)
    lines = [f'{token},admin,admin,"system:masters"', *(f"{u}-token,{u},{u}" for u in users)]
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "sa.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    etcd_url = f"http://127.0.0.1:{etcd_client}"
    server = f"https://127.0.0.1:{port}"
    issuer = server if reachable_issuer else "https://kubernetes.default.svc.cluster.local"
    with ExitStack() as stack:
        _start(
            stack,
            folder,
            "etcd",
            "--data-dir",
            str(folder / "etcd"),
            "--unsafe-no-fsync",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{etcd_peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{etcd_peer}",
            f"--initial-cluster=default=http://127.0.0.1:{etcd_peer}",
        )
        server_process = _start(
            stack,
            folder,
            "kube-apiserver",
            f"--etcd-servers={etcd_url}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder / 'certs'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            f"--service-account-issuer={issuer}",
            *([f"--service-account-jwks-uri={server}/openid/v1/jwks"] if reachable_issuer else []),
            f"--service-account-key-file={folder / 'sa.key'}",
            f"--service-account-signing-key-file={folder / 'sa.key'}",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--authorization-mode=RBAC",
            *options,
        )
        kubeconfig = folder / "kubeconfig"
        certificate = folder / "certs" / "apiserver.crt"

        def certified() -> bool:
            if server_process.poll() is not None:
                log = (folder / "kube-apiserver.log").read_text(errors="replace")
                raise RuntimeError(f"the API server ended: {log[-2000:]}")
            return certificate.exists()

        until(certified, "the API server's certificate", folder)
        kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [
                        {
                            "name": "test",
                            "cluster": {
                                "server": server,
                                "certificate-authority": str(certificate),
                            },
                        }
                    ],
                    "users": [{"name": "admin", "user": {"token": token}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
                }
            )
        )
        plane = ControlPlane(kubeconfig, folder)

        def answers() -> bool:
            return plane.kubectl("get", "--raw", "/readyz", check=False).returncode == 0

        until(answers, "the API server", folder)
        _start(
            stack,
            folder,
            "kube-controller-manager",
            f"--kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={folder / 'sa.key'}",
            "--leader-elect=false",
            "--secure-port=0",
            "--controllers=job,garbage-collector-controller,serviceaccount,namespace",
        )
        until(
            lambda: plane.kubectl("get", "sa", "default", check=False).returncode == 0,
            "the controller manager",
            folder,
        )
        yield plane


def _start(stack: ExitStack, folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    program = tool(name)
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen(
        [str(program), *arguments],
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "ETCD_UNSUPPORTED_ARCH": "arm64"},
        start_new_session=True,
    )
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(condition: Callable[[], Any], what: str, folder: Path | None = None) -> Any:
    """Wait for a condition to be true, and return what it returned; logs of ``folder`` if not."""
    end = time.monotonic() + _PATIENCE
    while not (found := condition()):
        if time.monotonic() > end:
            logs = [
                f"{path.name}: {path.read_text(errors='replace')[-2000:]}"
                for path in (folder.glob("*.log") if folder else ())
            ]
            raise TimeoutError("\n".join([f"waited in vain for {what}", *logs]))
        time.sleep(0.1)
    return found


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
