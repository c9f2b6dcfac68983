"""The webhook with a real API server: the chart's objects, a registry, keys, namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from apiserver import ControlPlane, control_plane
from gotools import tool
from plimsoll.kube.config import KubeConfig
from plimsoll.webhook.run import run
from plimsoll.webhook.settings import Settings
from registries import RegistryServer, crane_registry, distribution_registry, free_port
from shared_data import shared
from webhooks import Cosign, pod

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class World:
    """What a test of the whole webhook stands on."""

    plane: ControlPlane
    registry: str
    private: RegistryServer
    cosign: Cosign
    stranger: Cosign
    settings: Settings
    address: str

    def apply(self, *objects: Any, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``kubectl apply``."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.plane.kubectl("apply", "-f", "-", stdin=text, check=check)

    def create(self, target: dict[str, Any], namespace: str = "team") -> tuple[bool, str]:
        """``kubectl create`` under a new name; what it said on standard error."""
        target["metadata"] = {**target["metadata"], "namespace": namespace}
        target["metadata"].pop("name", None)
        target["metadata"]["generateName"] = "x-"
        done = self.plane.kubectl("create", "-f", "-", stdin=json.dumps(target), check=False)
        return done.returncode == 0, done.stderr

    def chart(self, *templates: str, **values: Any) -> str:
        """Templates of the chart, rendered for the namespace ``default``."""
        command = [str(tool("helm")), "template", "plimsoll", str(ROOT / "helm/plimsoll")]
        command += ["--namespace", "default", "--kube-version", "1.34.0"]
        settings = {"webhook.timeoutSeconds": 5, "webhook.usePodPullSecrets": "true", **values}
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        for name in templates:
            command += ["--show-only", f"templates/{name}.yaml"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def own_address() -> str:
    """An address of this machine that is not loopback; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network interface beside loopback")
        return str(probe.getsockname()[0])


def policy(
    name: str, spec: Any, group: str = "plimsoll.dev", version: str = "v1alpha1"
) -> dict[str, Any]:
    """A ClusterImagePolicy."""
    return {
        "apiVersion": f"{group}/{version}",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


@contextlib.contextmanager
def webhook_world(folder: Path) -> Iterator[World]:
    """Start everything but the webhook itself."""
    address = own_address()
    with contextlib.ExitStack() as stack:
        # No kube-proxy here: the API server goes to the endpoints of a Service itself.
        plane = stack.enter_context(control_plane(folder, "--enable-aggregator-routing=true"))
        registry = stack.enter_context(crane_registry())
        private = stack.enter_context(distribution_registry(auth=True))
        plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        for file in ("300-clusterimagepolicy.yaml", "300-trustroot.yaml"):
            crd = yaml.safe_load((shared("policy") / "crd" / file).read_text())
            # Its controller, which converts between versions, is not here.
            crd["spec"].pop("conversion", None)
            plane.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(crd))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        port = free_port(address)
        world = World(
            plane,
            registry.host,
            private,
            Cosign.with_key(folder / "ours"),
            Cosign.with_key(folder / "stranger"),
            Settings(
                port=port,
                health_port=free_port(),
                timeout=5.0,
                drain_seconds=0.0,
                failure_seconds=0.0,
                exception_namespaces=frozenset({"kube-public"}),
                insecure_registries=frozenset({registry.host, private.host}),
            ),
            address,
        )
        manifest = world.chart("webhook-configuration", "rbac-webhook", "serviceaccounts")
        plane.kubectl("apply", "-f", "-", stdin=manifest)
        world.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "plimsoll-webhook", "namespace": "default"},
                "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": "plimsoll-webhook",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "plimsoll-webhook"},
                },
                "addressType": "IPv4",
                "ports": [{"name": "https", "port": port}],
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            },
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": "team", "labels": {"policy.plimsoll.dev/include": "true"}},
            },
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "free"}},
        )
        yield world


@contextlib.asynccontextmanager
async def running_webhook(world: World, settings: Settings | None = None) -> AsyncIterator[World]:
    """The webhook, ready and known to the API server; policies are gone at the end."""
    stop = asyncio.Event()
    process = asyncio.create_task(run(settings or world.settings, as_webhook(world), stop))
    try:
        await eventually(lambda: armed(world), "the API server to know the webhook")
        yield world
    finally:
        stop.set()
        await process
        for group in ("plimsoll.dev", "policy.sigstore.dev"):
            world.plane.kubectl("delete", f"clusterimagepolicies.{group}", "--all", check=False)


def as_webhook(world: World) -> KubeConfig:
    """The webhook's own ServiceAccount, with the rights that the chart gives it."""
    token = world.plane.kubectl("create", "token", "plimsoll-webhook").stdout.strip()
    return replace(KubeConfig.from_file(world.plane.kubeconfig), token=token)


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Ask in a thread, as the webhook runs in this loop."""
    found = None
    try:
        async with asyncio.timeout(60):
            while not (found := await asyncio.to_thread(condition)):  # noqa: ASYNC110  kubectl
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"waited in vain for {what}")
    return found


def armed(world: World) -> bool:
    """Whether the API server reaches the webhook."""
    hooks = world.plane.get("validatingwebhookconfigurations", "plimsoll-webhook")["webhooks"]
    if not all(hook["clientConfig"].get("caBundle") for hook in hooks):
        return False
    _, said = world.create(pod("nginx"))
    return "failed calling webhook" not in said


async def admitted(
    world: World, target: dict[str, Any], namespace: str = "team"
) -> tuple[bool, str]:
    """``World.create`` in a thread."""
    return await asyncio.to_thread(world.create, target, namespace)
