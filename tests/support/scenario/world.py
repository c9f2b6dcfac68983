"""What the main job stands on: cluster, packages, our own image, the chart, keys."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import Access
from gotools import tool
from scenario.shell import run, wait_for

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "plimsoll-system"
TEAM = "team-a"
RELEASE = "plimsoll"
BUILD = "hello"


@dataclass
class World:
    """Everything a check may touch."""

    cluster: Access
    packages: Path
    """Root of the base packages' repository."""

    packages_url: str
    """The same, as pods reach it."""

    work: Path
    """Directory for keys and files of this run."""

    own_image: str = ""
    """Our own image by digest."""

    seen: dict[str, str] = field(default_factory=dict)
    """What an earlier check measured, for later ones."""

    @property
    def registry(self) -> str:
        """Host and port, the same from the host and from pods."""
        return self.cluster.registry

    @property
    def env(self) -> dict[str, str]:
        """Environment of cosign, crane and plimsoll on this side."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "DOCKER_CONFIG": str(self.work / "docker"),
            "COSIGN_PASSWORD": (self.work / "password").read_text(),
            "COSIGN_YES": "true",
            "PLIMSOLL_INSECURE_REGISTRIES": self.registry,
        }

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl; the output, with errors behind it where ``check`` is off."""
        done = run([tool("kubectl"), *args], env=self.env, stdin=stdin, check=check)
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *args: str) -> dict[str, object]:
        """``kubectl get … -o json``."""
        found: dict[str, object] = json.loads(self.kubectl("get", *args, "-o", "json"))
        return found

    def cosign(self, *args: str, check: bool = True) -> str:
        """Run the real cosign; both streams."""
        done = run([tool("cosign"), *args], env=self.env, check=check)
        return done.stdout + done.stderr

    def crane(self, *args: str) -> str:
        """Run the real crane."""
        return run([tool("crane"), *args, "--insecure"], env=self.env).stdout.strip()

    def plimsoll(self, *args: str | Path, check: bool = True) -> str:
        """Run our own command as a user would."""
        return run([ROOT / ".venv/bin/plimsoll", *args], env=self.env, check=check).stdout


def make_keys(world: World) -> None:
    """Cosign key pairs of the team, of a stranger and of our releases, made by cosign itself."""
    (world.work / "docker").mkdir(parents=True, exist_ok=True)
    (world.work / "docker/config.json").write_text('{"auths": {}}')
    password = world.work / "password"
    if not password.exists():
        password.write_text(secrets.token_hex(8))
    for name in ("team", "stranger", "release"):
        if not (world.work / f"{name}.pub").exists():
            world.cosign("generate-key-pair", "--output-key-prefix", str(world.work / name))


def secret(name: str, namespace: str, data: dict[str, str], kind: str = "Opaque") -> str:
    """A Secret as JSON for ``kubectl apply -f -``."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "data": encoded}
    return json.dumps({**body, "metadata": {"name": name, "namespace": namespace}})


def give_key(world: World, namespace: str) -> None:
    """Put the team's key pair into a namespace, as the examples name it."""
    pair = {
        "cosign.key": (world.work / "team.key").read_text(),
        "cosign.pub": (world.work / "team.pub").read_text(),
        "cosign.password": (world.work / "password").read_text(),
    }
    world.kubectl("apply", "-f", "-", stdin=secret("cosign", namespace, pair))


def install(world: World) -> None:
    """Install the chart with our own image, and wait until it stands."""
    repository, _, digest = world.own_image.partition("@")
    helm: list[str | Path] = [tool("helm"), "upgrade", "--install", RELEASE, ROOT / "helm/plimsoll"]
    helm += ["--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "180s"]
    for setting in (
        f"image.repository={repository}",
        f"image.digest={digest}",
        f"insecureRegistries={{{world.registry}}}",
        f"trustedHosts={{{world.cluster.host_address}}}",
        "clusterName=demo",
    ):
        helm += ["--set", setting]
    run(helm, env=world.env)
    wait_for("the webhook to be armed", lambda: webhook_armed(world))


def webhook_armed(world: World) -> bool:
    """Whether the API server has the certificate of the webhook."""
    found = world.get("validatingwebhookconfigurations", f"{RELEASE}-webhook")
    hooks = found["webhooks"]
    assert isinstance(hooks, list)
    return all(hook["clientConfig"].get("caBundle") for hook in hooks)


def make_team(world: World) -> None:
    """A guarded namespace with the key to sign and the policy that asks for its marks."""
    labels = {"policy.plimsoll.dev/include": "true"}
    namespace = {"apiVersion": "v1", "kind": "Namespace"}
    meta = {"metadata": {"name": TEAM, "labels": labels}}
    world.kubectl("apply", "-f", "-", stdin=json.dumps({**namespace, **meta}))
    give_key(world, TEAM)
    world.kubectl("apply", "-f", "-", stdin=example(world, "clusterimagepolicy.yaml"))
    world.kubectl("apply", "-f", "-", stdin=own_policy(world))


def own_policy(world: World) -> str:
    """The build Jobs run our own image, so it needs marks too: the signature of our release key."""
    authority = {"name": "release", "key": {"data": (world.work / "release.pub").read_text()}}
    spec = {
        "images": [{"glob": f"{world.registry}/plimsoll/**"}],
        "authorities": [authority],
        "require": {"signature": True},
    }
    kind = {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ClusterImagePolicy"}
    return json.dumps({**kind, "metadata": {"name": "plimsoll"}, "spec": spec})


def is_true(world: World, condition: str, *what: str) -> dict[str, Any] | None:
    """The object, once it has the condition for its newest generation."""
    found: dict[str, Any] = world.get(*what)
    conditions = {c["type"]: c for c in found.get("status", {}).get("conditions", [])}
    seen = conditions.get(condition, {})
    stalled = conditions.get("Stalled", {})
    if stalled.get("status") == "True":
        raise AssertionError(f"the build stalled: {stalled['reason']}: {stalled['message']}")
    current = seen.get("observedGeneration") == found["metadata"]["generation"]
    return found if current and seen.get("status") == "True" else None


def example(world: World, name: str, packages: Path | None = None, url: str = "") -> str:
    """An example of ours with the placeholders of its header filled in for this cluster.

    ``packages`` and their ``url`` take the place of the base packages.
    """
    text = (ROOT / "examples" / name).read_text()
    key = next((packages or world.packages).glob("*.rsa.pub"))
    values = {
        "registry.example.com": world.registry,
        "https://packages.example.com/base": url or world.packages_url,
        "base.rsa.pub": key.name,
    }
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    for marker, path in (
        ("REPLACE_WITH_REPOSITORY_KEY", key),
        ("REPLACE_WITH_COSIGN_PUB", world.work / "team.pub"),
    ):
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if line.strip() == marker:
                indent = line[: len(line) - len(line.lstrip())]
                pem = path.read_text().strip().splitlines()
                lines[number] = "\n".join(indent + row for row in pem)
        text = "\n".join(lines) + "\n"
    return text
