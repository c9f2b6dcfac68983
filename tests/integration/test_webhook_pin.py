"""Pods get the digest that was judged, by the webhook alone and with a real API server."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from fault_proxy import fault_proxy, hang, status
from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.signing.privatekey import generate_key
from plimsoll.webhook import store as store_module
from registries import crane_registry
from webhook_world import admitted, eventually, policy, running_webhook, webhook_world
from webhooks import for_tests, key_policy, pod, push_image, push_signed, review, serving

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("control-plane")]

KEY = generate_key()
PEM = KEY.public.pem.decode()


@pytest.fixture(scope="module")
def registry():
    with crane_registry() as running:
        yield running


def changed(answer):
    """Image by path, of the patch in an answer."""
    if "patch" not in answer:
        return {}
    patch = json.loads(base64.b64decode(answer["patch"]))
    assert all(step["op"] == "replace" for step in patch)
    return {step["path"]: step["value"] for step in patch}


async def mutate(webhook, target, **fields):
    return await webhook.send(review(target, **fields), path="/mutate")


async def test_the_digest_that_was_judged_is_put_in(registry):
    signed = await push_signed(registry.host, "good", "1", KEY)
    by_tag = f"{registry.host}/good:1"
    async with serving(for_tests(registry.host)) as webhook:
        webhook.policies.set(signed=key_policy(PEM))
        answer = await mutate(webhook, pod(by_tag, signed, initContainers=[]))
        digest = signed.partition("@")[2]
        assert changed(answer) == {"/spec/containers/0/image": f"{by_tag}@{digest}"}
        # Asked again about what it has made of it, it changes nothing.
        again = await mutate(webhook, pod(f"{by_tag}@{digest}", signed))
        assert again["allowed"]
        assert not changed(again)
        assert "plimsoll_webhook_pinned_images_total 1.0" in webhook.metrics.render().decode()


async def test_a_tag_that_moves_takes_nobody_with_it(registry):
    signed = await push_signed(registry.host, "moved", "1", KEY)
    by_tag = f"{registry.host}/moved:1"
    async with serving(for_tests(registry.host)) as webhook:
        webhook.policies.set(signed=key_policy(PEM))
        pinned = changed(await mutate(webhook, pod(by_tag)))["/spec/containers/0/image"]
        # Between the two webhooks somebody moves the tag to what nobody signed.
        other = await push_image(registry.host, "moved", "1", "evil")
        assert pinned.endswith(signed.partition("@")[2])
        assert (await webhook.admit(pinned))["allowed"]
        refused = await mutate(webhook, pod(by_tag))
        assert not refused["allowed"]
        assert not changed(refused)
        assert other.partition("@")[2] in refused["status"]["message"]


async def test_a_policy_that_wants_digests_is_content(registry):
    await push_signed(registry.host, "wanted", "1", KEY)
    by_tag = f"{registry.host}/wanted:1"
    async with serving(for_tests(registry.host)) as webhook:
        webhook.policies.set(signed=key_policy(PEM, require={"signature": True, "digest": True}))
        assert not (await webhook.admit(by_tag))["allowed"]
        pinned = changed(await mutate(webhook, pod(by_tag)))["/spec/containers/0/image"]
        assert (await webhook.admit(pinned))["allowed"]


async def test_what_nobody_verified_gets_no_digest(registry):
    await push_image(registry.host, "plain", "1", "plain")
    by_tag = f"{registry.host}/plain:1"
    async with serving(for_tests(registry.host, no_match="allow")) as webhook:
        webhook.policies.set(other=key_policy(PEM, "elsewhere.example/**"))
        answer = await mutate(webhook, pod(by_tag))
        assert answer["allowed"]
        assert not changed(answer)
        webhook.policies.set(warns=key_policy(PEM, mode="warn"))
        answer = await mutate(webhook, pod(by_tag))
        # What is only warned about runs all the same, as what it was when it was looked at.
        assert answer["allowed"]
        assert answer["warnings"]
        assert changed(answer)


@pytest.mark.parametrize("action", [status(500), hang], ids=["500", "hang"])
async def test_without_its_registry_nothing_is_pinned_and_nothing_admitted(registry, action):
    await push_signed(registry.host, "away", "1", KEY)
    async with fault_proxy(registry.host) as proxy:
        settings = for_tests(proxy.host, timeout=2.0, margin=0.5)
        proxy.on("HEAD", "/", action)
        proxy.on("GET", "/", action)
        async with serving(settings) as webhook:
            webhook.policies.set(signed=key_policy(PEM))
            answer = await mutate(webhook, pod(f"{proxy.host}/away:1"))
            assert not answer["allowed"]
            assert "could not be checked" in answer["status"]["message"]
            assert proxy.host in answer["status"]["message"]
            assert not changed(answer)


async def test_nobody_changes_pods_unless_asked_to(registry):
    async with serving(for_tests(registry.host)) as webhook:
        webhook.policies.ready = False
        answer = await mutate(webhook, pod("nginx"))
        assert not answer["allowed"]
        assert not changed(answer)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with webhook_world(tmp_path_factory.mktemp("cluster")) as world:
        pins = {"webhook.pinDigests.enabled": "true"}
        manifest = world.chart("webhook-mutating", "rbac-webhook", **pins)
        world.plane.kubectl("apply", "-f", "-", stdin=manifest)
        yield world


async def test_pods_of_a_real_api_server_are_pinned_and_deployments_are_not(world, monkeypatch):
    monkeypatch.setattr(store_module, "SECRET_SECONDS", 0.2)
    signed = await push_signed(world.registry, "app", "1", KEY)
    await push_image(world.registry, "unsigned", "1", "unsigned")
    by_tag, digest = f"{world.registry}/app:1", signed.partition("@")[2]
    settings = replace(world.settings, mutating_configuration="plimsoll-webhook")
    async with running_webhook(world, settings):
        world.apply(policy("signed", key_policy(PEM, f"{world.registry}/**")))

        def armed():
            hooks = world.plane.get("mutatingwebhookconfigurations", "plimsoll-webhook")
            return all(hook["clientConfig"].get("caBundle") for hook in hooks["webhooks"])

        await eventually(armed, "the API server to know who pins")
        config = KubeConfig.from_file(world.plane.kubeconfig)
        async with KubeClient(config, agent="test") as api:

            async def create(path, target):
                metadata = {"generateName": "x-", "namespace": "team"}
                return await api.create(path, {**target, "metadata": metadata})

            await eventually(lambda: world.create(pod(signed))[0], "the policy to be in force")
            pods = "/api/v1/namespaces/team/pods"
            made = await create(pods, pod(by_tag, initContainers=[{"name": "i", "image": by_tag}]))
            assert made["spec"]["containers"][0]["image"] == f"{by_tag}@{digest}"
            assert made["spec"]["initContainers"][0]["image"] == f"{by_tag}@{digest}"

            template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(by_tag)["spec"]}
            spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
            deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
            kept = await create("/apis/apps/v1/namespaces/team/deployments", deployment)
            inside = kept["spec"]["template"]["spec"]["containers"][0]["image"]
            assert inside == by_tag, "what Git says stays as it is"

            # A debugging container that is added later is pinned; the others stay as they were.
            name = made["metadata"]["name"]
            made["spec"]["ephemeralContainers"] = [{"name": "e", "image": by_tag}]
            after = await api.replace(f"{pods}/{name}/ephemeralcontainers", made)
            assert after["spec"]["ephemeralContainers"][0]["image"] == f"{by_tag}@{digest}"
            after["spec"]["ephemeralContainers"].append({"name": "f", "image": by_tag})
            after = await api.replace(f"{pods}/{name}/ephemeralcontainers", after)
            images = [one["image"] for one in after["spec"]["ephemeralContainers"]]
            assert images == [f"{by_tag}@{digest}"] * 2
        allowed, said = await admitted(world, pod(f"{world.registry}/unsigned:1"))
        assert not allowed
        assert "pin.plimsoll.dev" in said
        assert "no signature" in said
