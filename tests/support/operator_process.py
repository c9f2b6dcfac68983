"""The operator as a process, with the rights of the chart, and pods that a test ends itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gotools import tool
from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.kube.paths import path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apiserver import ControlPlane

ROOT = Path(__file__).parents[2]


def rights() -> str:
    """The chart's ClusterRole for the operator, bound to the user that the test runs it as."""
    chart = [str(tool("helm")), "template", "plimsoll", str(ROOT / "helm" / "plimsoll")]
    show = ["--kube-version=1.34.0", "--show-only=templates/rbac-operator.yaml"]
    text = subprocess.run([*chart, *show], check=True, capture_output=True, text=True).stdout
    (role,) = [doc for doc in yaml.safe_load_all(text) if doc and doc["kind"] == "ClusterRole"]
    assert not [r for r in role["rules"] if "*" in {*r["resources"], *r["verbs"]}]
    assert not [
        r for r in role["rules"] if "secrets" in r["resources"] and r["verbs"] != ["create"]
    ]
    group = "rbac.authorization.k8s.io"
    name = role["metadata"]["name"]
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "operator"}],
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [role, binding]})


class OperatorProcess:
    """The operator's process."""

    def __init__(self, plane: ControlPlane, log: Path, port: int) -> None:
        self.plane, self.log, self.port = plane, log, port
        self.user = "operator"
        self.settings: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.plane.kubeconfig_of(self.user)),
            "PLIMSOLL_IMAGE": "registry.example/plimsoll@sha256:0",
            "PLIMSOLL_TRUSTED_HOSTS": "127.0.0.1",
            "PLIMSOLL_HTTP_PORT": str(self.port),
            "PLIMSOLL_RESYNC_SECONDS": "600",
            **self.settings,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from plimsoll.cli.main import main; main()", "operator"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill(self, sign: int = signal.SIGKILL) -> int | None:
        """End it; its exit status."""
        if self.process is not None:
            self.process.send_signal(sign)
            code = self.process.wait(30)
            self.process = None
            return code
        return None


@contextmanager
def running_operator(plane: ControlPlane, log: Path, port: int) -> Iterator[OperatorProcess]:
    """Runs the operator; at the end, prints the end of its log, which is shown by a failed test."""
    operator = OperatorProcess(plane, log, port)
    operator.start()
    try:
        yield operator
    finally:
        operator.kill()
        sys.stdout.write(log.read_text()[-6000:])


class Pods:
    """Plays the kubelet of one namespace."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace

    def pods(self) -> list[dict[str, Any]]:
        """Pods that wait to be run."""
        found = self.plane.get("pods", "-n", self.namespace)["items"]
        return [pod for pod in found if pod["status"].get("phase") == "Pending"]

    def end(self, pod: dict[str, Any], message: str, code: int = 0) -> None:
        """End a pod with the termination message of its step."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = {
            "exitCode": code,
            "message": message,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": now,
            "finishedAt": now,
        }
        initial = pod["spec"].get("initContainers")
        name = initial[0]["name"] if initial and code else pod["spec"]["containers"][0]["name"]
        status = _status(name, {"terminated": ended})
        key = "initContainerStatuses" if initial and code else "containerStatuses"
        self.patch(pod, {"phase": "Succeeded" if code == 0 else "Failed", key: [status]})

    def serve(self, pod: dict[str, Any], address: str) -> None:
        """Let a pod run and be ready."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        running = _status("step", {"running": {"startedAt": now}})
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [ready],
            "containerStatuses": [{**running, "ready": True}],
        }
        self.patch(pod, status)

    def patch(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        """Write a pod's status."""

        async def patch() -> None:
            config = KubeConfig.from_file(self.plane.kubeconfig)
            async with KubeClient(config, agent="test") as kube:
                where = path("Pod", self.namespace, pod["metadata"]["name"], "status")
                await kube.merge(where, {"status": status})

        asyncio.run(patch())


def _status(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "image": "i",
        "imageID": "i",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }
