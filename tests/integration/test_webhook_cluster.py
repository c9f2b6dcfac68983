"""The whole webhook with a real API server: the chart's configuration, its own certificate,
policies as objects, pods by kubectl."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
import urllib.request
from dataclasses import replace

import pytest
import yaml

from apiserver import until
from miniature_sigstore import MiniatureSigstore
from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.oci.auth import Credentials
from plimsoll.webhook import store as store_module
from plimsoll.webhook.tls import SelfManaged, ServingCertificate
from registries import free_port
from shared_data import shared
from webhook_world import (
    ROOT,
    admitted,
    eventually,
    policy,
    running_webhook,
    webhook_world,
)
from webhooks import key_policy, pod, push_image

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("control-plane")]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with webhook_world(tmp_path_factory.mktemp("cluster")) as world:
        yield world


@pytest.fixture
async def running(world, monkeypatch):
    """The webhook, ready and known to the API server; policies are gone at the end."""
    monkeypatch.setattr(store_module, "SECRET_SECONDS", 0.2)
    async with running_webhook(world):
        yield world


def ready_condition(world, name):
    found = world.plane.get("clusterimagepolicies.plimsoll.dev", name)
    conditions = found.get("status", {}).get("conditions", [])
    return next((c for c in conditions if c["type"] == "Ready"), None)


def test_with_no_webhook_there_guarded_pods_are_refused_and_others_are_not(world):
    ok, said = world.create(pod("nginx"))
    assert not ok
    assert "failed calling webhook" in said
    assert world.create(pod("nginx"), "free")[0]
    assert world.create(pod("nginx"), "kube-system")[0]


async def test_pods_are_judged_by_the_policies_of_the_cluster(running):
    world = running
    good = await push_image(world.registry, "app", "good", "good")
    bad = await push_image(world.registry, "app", "bad", "bad")
    await asyncio.to_thread(world.cosign.sign, good)
    ok, said = await admitted(world, pod(good))
    assert not ok
    assert "matches no policy" in said
    await asyncio.to_thread(world.apply, policy("signed", key_policy(world.cosign.public_key)))
    condition = await eventually(lambda: ready_condition(world, "signed"), "a condition")
    assert (condition["status"], condition["reason"]) == ("True", "InForce")
    ok, said = await admitted(world, pod(good))
    assert ok, said
    ok, said = await admitted(world, pod(good, initContainers=[{"name": "i", "image": bad}]))
    assert not ok
    assert f'image {bad} refused by policy "signed": no signature by key "authority-0"' in said
    assert len(said.strip().splitlines()) == 1
    assert (await admitted(world, pod(bad), "free"))[0]
    # A workload is warned about.
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": pod(bad)["spec"]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    ok, said = await admitted(world, deployment)
    assert ok
    assert f'Warning: image {bad} will be refused by policy "signed"' in said


async def test_an_ephemeral_container_is_judged_too(running):
    world = running
    good = await push_image(world.registry, "debugged", "good", "good")
    bad = await push_image(world.registry, "debugged", "bad", "bad")
    await asyncio.to_thread(world.cosign.sign, good)
    await asyncio.to_thread(world.apply, policy("signed", key_policy(world.cosign.public_key)))
    target = pod(good)
    target["metadata"]["name"] = "debugged"
    await eventually(lambda: world.apply(target, check=False).returncode == 0, "the pod")
    live = world.plane.get("pod", "debugged", "-n", "team")
    path = "/api/v1/namespaces/team/pods/debugged/ephemeralcontainers"
    for image, expected in ((bad, False), (good, True)):
        live["spec"]["ephemeralContainers"] = [{"name": "debug", "image": image}]
        done = await asyncio.to_thread(
            world.plane.kubectl,
            *("replace", "--raw", path, "-f", "-"),
            stdin=json.dumps(live),
            check=False,
        )
        assert (done.returncode == 0) == expected, done.stderr
        if not expected:
            assert f"image {bad} refused by policy" in done.stderr
    # Changing a label asks about no image again.
    label = ("label", "pod", "debugged", "-n", "team", "a=b")
    await asyncio.to_thread(world.plane.kubectl, *label)


async def test_keys_in_secrets_are_followed(running):
    world = running
    image = await push_image(world.registry, "rotated", "1", "a")
    await asyncio.to_thread(world.cosign.sign, image)
    spec = {
        "images": [{"glob": "**"}],
        "authorities": [{"name": "ci", "key": {"secretRef": {"name": "release-key"}}}],
    }
    await asyncio.to_thread(world.apply, policy("signed", spec))
    condition = await eventually(lambda: ready_condition(world, "signed"), "a condition")
    assert condition["status"] == "False"
    assert "Secret default/release-key does not exist" in condition["message"]
    ok, said = await admitted(world, pod(image))
    assert not ok
    assert "Secret default/release-key does not exist" in said

    def key_is(cosign):
        data = base64.b64encode(cosign.public_key.read_bytes()).decode()
        metadata = {"name": "release-key", "namespace": "default"}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata} | {
            "data": {"cosign.pub": data}
        }

    for cosign, expected in ((world.cosign, True), (world.stranger, False), (world.cosign, True)):
        await asyncio.to_thread(world.apply, key_is(cosign))
        await eventually(lambda e=expected: world.create(pod(image))[0] is e, "the key")
    await asyncio.to_thread(world.plane.kubectl, "delete", "secret", "release-key")


async def test_rules_in_config_maps_are_followed(running):
    world = running
    place = {"name": "rules", "key": "account"}
    rule = {"type": "cel", "configMapRef": place, "includeSpec": True, "includeObjectMeta": True}
    spec = {
        "images": [{"glob": "**"}],
        "authorities": [{"static": {"action": "pass"}}],
        "policy": rule,
    }
    await asyncio.to_thread(world.apply, policy("ruled", spec))
    condition = await eventually(lambda: ready_condition(world, "ruled"), "a condition")
    assert (
        "spec.policy.configMapRef: ConfigMap default/rules does not exist" in condition["message"]
    )
    assert not (await admitted(world, pod("nginx")))[0]

    def text_is(text):
        metadata = {"name": "rules", "namespace": "default"}
        found = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        return found | {"data": {"account": text}}

    for text, expected in (
        ("metadata.namespace == 'team' && spec.serviceAccountName == 'default'", True),
        ("spec.serviceAccountName == 'robot'", False),
        ("spec.serviceAccountName ==", False),
        ("size(spec.containers) == 1", True),
    ):
        await asyncio.to_thread(world.apply, text_is(text))
        await eventually(lambda e=expected: world.create(pod("nginx"))[0] is e, "the rule")
    two = await admitted(world, pod("nginx", "redis"))
    assert not two[0]
    assert "its rule is not satisfied: it is false" in two[1]
    await asyncio.to_thread(world.plane.kubectl, "delete", "configmap", "rules")


async def test_a_policy_that_cannot_be_honoured_says_so_and_refuses(running):
    world = running
    identities = [{"issuer": "https://i", "subject": "s"}]
    keyless = {"identities": identities, "trustRootRef": "late"}
    spec = {"images": [{"glob": "**"}], "authorities": [{"keyless": keyless}]}
    await asyncio.to_thread(world.apply, policy("keyless", spec))
    condition = await eventually(lambda: ready_condition(world, "keyless"), "a condition")
    assert (condition["status"], condition["reason"]) == ("False", "Invalid")
    ok, said = await admitted(world, pod("nginx"))
    assert not ok
    assert "TrustRoot late does not exist" in said
    root = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "TrustRoot",
        "metadata": {"name": "late"},
        "spec": {"trustedRoot": MiniatureSigstore().trusted_root().decode()},
    }
    await asyncio.to_thread(world.apply, root)
    await eventually(
        lambda: ready_condition(world, "keyless")["status"] == "True", "the root to be seen"
    )
    spec = key_policy(world.cosign.public_key, mode="warn")
    await asyncio.to_thread(world.apply, policy("keyless", spec))
    await eventually(
        lambda: ready_condition(world, "keyless")["status"] == "True", "the change to be seen"
    )


def namespaced(kind, namespace, spec):
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "own", "namespace": namespace},
        "spec": spec,
    }


async def test_policies_and_exceptions_of_namespaces(running):
    world = running
    image = await push_image(world.registry, "namespaced", "1", "a")
    await asyncio.to_thread(world.cosign.sign, image)
    await asyncio.to_thread(world.apply, policy("signed", key_policy(world.cosign.public_key)))
    await eventually(lambda: world.create(pod(image))[0], "the policy of the cluster")
    tight = namespaced("ImagePolicy", "team", key_policy(world.stranger.public_key))
    await asyncio.to_thread(world.apply, tight)
    await eventually(lambda: not world.create(pod(image))[0], "the policy of the namespace")
    ok, said = await admitted(world, pod(image))
    assert not ok
    assert "kubectl get imagepolicy -n team own" in said
    await asyncio.to_thread(world.plane.kubectl, "delete", "imagepolicy", "-n", "team", "own")
    await eventually(lambda: world.create(pod(image))[0], "the policy to go")
    unsigned = await push_image(world.registry, "namespaced", "2", "b")
    assert not (await admitted(world, pod(unsigned)))[0]
    spec = {
        "policies": ["signed"],
        "images": [{"glob": unsigned}],
        "namespaces": ["team"],
        "reason": "a vendor signs next week",
        "until": "2999-01-01T00:00:00Z",
    }
    # A namespace that nobody allowed to except anything.
    await asyncio.to_thread(world.apply, namespaced("ImagePolicyException", "team", spec))

    def condition():
        item = world.plane.get("imagepolicyexceptions", "-n", "team", "own")
        return ((item.get("status") or {}).get("conditions") or [None])[0]

    found = await eventually(condition, "a condition")
    assert (found["status"], "do not count" in found["message"]) == ("False", True)
    assert not (await admitted(world, pod(unsigned)))[0]
    await asyncio.to_thread(world.apply, namespaced("ImagePolicyException", "kube-public", spec))
    await eventually(lambda: world.create(pod(unsigned))[0], "the exception")
    ok, said = await admitted(world, pod(unsigned))
    assert ok
    assert "kube-public/own until 2999-01-01" in said
    for namespace in ("team", "kube-public"):
        arguments = ("delete", "imagepolicyexception", "-n", namespace, "own")
        await asyncio.to_thread(world.plane.kubectl, *arguments)
    await eventually(lambda: not world.create(pod(unsigned))[0], "the exception to go")


_CASES = json.loads((shared("policy") / "index.json").read_text())


def created(world, file):
    """Whether the API server takes a policy of policy-controller's tests as ours; what it says."""
    document = yaml.safe_load((shared("policy") / file).read_text())
    ours = policy("case", document["spec"])
    done = world.plane.kubectl(
        "create", "--dry-run=server", "-f", "-", stdin=json.dumps(ours), check=False
    )
    return done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", _CASES["invalid"], ids=lambda case: case["file"])
def test_the_api_server_refuses_every_invalid_policy(world, case):
    accepted, said = created(world, case["file"])
    assert not accepted
    assert "spec" in said


@pytest.mark.parametrize("case", [*_CASES["valid"], *_CASES["e2e"]], ids=lambda case: case["file"])
def test_the_api_server_accepts_every_valid_policy(world, case):
    accepted, said = created(world, case["file"])
    assert accepted, said


async def test_policies_of_the_sigstore_group_are_honoured_too(running):
    world = running
    image = await push_image(world.registry, "theirs", "1", "a")
    await asyncio.to_thread(world.cosign.sign, image)
    ours = policy("signed", key_policy(world.cosign.public_key))
    theirs = policy(
        "theirs", key_policy(world.stranger.public_key), "policy.sigstore.dev", "v1beta1"
    )
    await asyncio.to_thread(world.apply, ours)
    await eventually(lambda: world.create(pod(image))[0], "our policy")
    await asyncio.to_thread(world.apply, theirs)
    await eventually(lambda: not world.create(pod(image))[0], "their policy")
    ok, said = await admitted(world, pod(image))
    assert not ok
    assert 'refused by policy "theirs"' in said
    assert "clusterimagepolicy.policy.sigstore.dev theirs" in said


async def test_private_registries_are_read_with_the_pods_logins(running, tmp_path, monkeypatch):
    world = running
    host = world.private.host
    monkeypatch.setenv("DOCKER_CONFIG", str(world.private.docker_config(tmp_path)))
    login = Credentials.from_file(tmp_path / "config.json")
    image = await push_image(host, "secret/app", "1", "a", login)
    await asyncio.to_thread(world.cosign.sign, image)
    monkeypatch.delenv("DOCKER_CONFIG")
    await asyncio.to_thread(world.apply, policy("signed", key_policy(world.cosign.public_key)))
    await eventually(lambda: "wants a login" in world.create(pod(image))[1], "the policy")
    config = base64.b64encode((tmp_path / "config.json").read_bytes()).decode()
    login = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull", "namespace": "team"},
        "data": {".dockerconfigjson": config},
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "puller", "namespace": "team"},
        "imagePullSecrets": [{"name": "pull"}],
    }
    await asyncio.to_thread(world.apply, login, account)
    ok, said = await admitted(world, pod(image, imagePullSecrets=[{"name": "pull"}]))
    assert ok, said
    ok, said = await admitted(world, pod(image, serviceAccountName="puller"))
    assert ok, said
    # What one tenant's login showed is not shown to another.
    ok, said = await admitted(world, pod(image))
    assert not ok
    assert "wants a login" in said


async def test_many_replicas_agree_on_one_certificate(world):
    config = replace(KubeConfig.from_file(world.plane.kubeconfig), namespace="free")
    settings = replace(world.settings, tls_secret="many", configuration="absent")
    async with KubeClient(config, agent="test") as api:
        serving = [ServingCertificate() for _ in range(5)]
        managers = [SelfManaged(api, settings, one) for one in serving]
        for _ in range(3):
            await asyncio.gather(*(manager.step() for manager in managers))
        assert len({one._pair for one in serving}) == 1
        assert all(one.loaded.is_set() for one in serving)


@pytest.mark.parametrize("kind", ["valid", "e2e"])
def test_valid_policies_are_accepted_by_the_schema(world, kind):
    index = json.loads((shared("policy") / "index.json").read_text())
    for case in index[kind]:
        found = yaml.safe_load((shared("policy") / case["file"]).read_text())
        ours = policy("candidate", found["spec"])
        text = json.dumps(ours)
        done = world.plane.kubectl(
            *("create", "--dry-run=server", "--validate=strict", "-f", "-"),
            stdin=text,
            check=False,
        )
        assert done.returncode == 0, (case["file"], done.stderr)


def test_the_command_serves_and_ends_when_it_is_asked_to(world, tmp_path):
    port, health = free_port(), free_port()
    command = [str(ROOT / ".venv/bin/plimsoll"), "webhook", "--port", str(port)]
    command += ["--health-port", str(health), "--drain-seconds", "0", "--tls-secret", "other"]
    log = (tmp_path / "log").open("wb+")
    environment = {**os.environ, "KUBECONFIG": str(world.plane.kubeconfig)}
    process = subprocess.Popen(
        [*command, "--configuration", "absent"], env=environment, stdout=log, stderr=log
    )
    try:
        base = f"http://127.0.0.1:{health}"

        def ready():
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/readyz") as answer:
                return answer.status == 200
            return False

        until(ready, "the webhook to be ready", tmp_path)
        with urllib.request.urlopen(f"{base}/metrics") as answer:
            metrics = answer.read().decode()
        assert "plimsoll_webhook_ready 1.0" in metrics
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        log.close()
    lines = (tmp_path / "log").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert "ready" in events
    assert events[-1] == "ended"
