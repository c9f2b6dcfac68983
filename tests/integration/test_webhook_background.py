"""What runs already is judged again, with a real API server and both kinds of reports."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest
from aiohttp import web

from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.signing.privatekey import generate_key
from plimsoll.webhook import alerts as alerts_module
from plimsoll.webhook import store as store_module
from plimsoll.webhook.lease import Leader
from plimsoll.webhook.reports import KINDS
from registries import free_port
from webhook_world import as_webhook, eventually, policy, running_webhook, webhook_world
from webhooks import key_policy, pod, push_image, push_signed

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("control-plane")]

OURS, OTHER = generate_key(), generate_key()
RESULT = {
    "type": "object",
    "required": ["policy"],
    "properties": {
        **{name: {"type": "string"} for name in ("source", "policy", "rule", "category")},
        "severity": {"type": "string", "enum": ["critical", "high", "low", "medium", "info"]},
        "result": {"type": "string", "enum": ["pass", "fail", "warn", "error", "skip"]},
        "scored": {"type": "boolean"},
        "message": {"type": "string"},
        "properties": {"type": "object", "additionalProperties": {"type": "string"}},
        "timestamp": {
            "type": "object",
            "required": ["nanos", "seconds"],
            "properties": {
                "seconds": {"type": "integer", "format": "int64"},
                "nanos": {"type": "integer", "format": "int32"},
            },
        },
    },
}
REFERENCE = {
    "type": "object",
    "properties": {
        name: {"type": "string"} for name in ("apiVersion", "kind", "name", "namespace", "uid")
    },
}
COUNTS = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in ("pass", "fail", "warn", "error", "skip")},
}


def crd(kind):
    """As much of the public schema as says what is valid."""
    schema = {
        "type": "object",
        "properties": {
            "scope": REFERENCE,
            "summary": COUNTS,
            "results": {"type": "array", "items": RESULT},
        },
    }
    version = {"name": kind.version, "served": True, "storage": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{kind.group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved"},
        },
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "listKind": f"{kind.kind}List",
            },
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with webhook_world(tmp_path_factory.mktemp("cluster")) as world:
        values = {"webhook.background.enabled": "true"}
        world.plane.kubectl("apply", "-f", "-", stdin=world.chart("rbac-webhook", **values))
        yield world


@contextlib.contextmanager
def known(world, kind):
    world.apply(crd(kind))
    name = f"crd/{kind.plural}.{kind.group}"
    world.plane.kubectl("wait", "--for=condition=Established", name, "--timeout=30s")
    try:
        yield
    finally:
        world.plane.kubectl("delete", name)


def settings(world, **changes):
    return replace(
        world.settings,
        background=True,
        background_rate=1000.0,
        exempt_namespaces=frozenset({"kube-system"}),
        **changes,
    )


async def run_pod(api, image, name, digest="", namespace="team", **metadata):
    """A pod that was admitted before there was a webhook, and runs as a kubelet would say."""
    target = pod(image)
    target["metadata"] = {"name": name, "namespace": namespace, **metadata}
    made = await api.create(f"/api/v1/namespaces/{namespace}/pods", target)
    status = {"phase": "Running"}
    if digest:
        told = {"name": "c0", "image": image, "imageID": f"{image.partition(':')[0]}@{digest}"}
        told |= {"ready": True, "restartCount": 0}
        status["containerStatuses"] = [told]
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
    await api.merge(path, {"status": status})
    return made


def reports(world, kind):
    """Reports by the workload they are about."""
    found = world.plane.get(f"{kind.plural}.{kind.group}", "-A")["items"]
    return {one["scope"]["name"]: one for one in found}


def said(one):
    return {r["properties"]["image"]: (r["policy"], r["result"]) for r in one["results"]}


@contextlib.asynccontextmanager
async def chat():
    got = []

    async def take(request):
        got.append((await request.json())["text"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/s3cret", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/s3cret", got
    finally:
        await runner.cleanup()


async def before_the_webhook(world, api, good, bad):
    """Pods of a time when nobody asked; the uid of those that nobody would admit today."""
    host, digest = world.registry, bad.partition("@")[2]
    hooks = world.plane.get("validatingwebhookconfigurations", "plimsoll-webhook")
    world.plane.kubectl("delete", "validatingwebhookconfigurations", "plimsoll-webhook")
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "bad"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(bad)["spec"]}
    owner["metadata"]["namespace"] = "team"
    owner["spec"] = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}}
    owner["spec"]["template"] = template
    made = await api.create("/apis/apps/v1/namespaces/team/replicasets", owner)
    parent = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "bad", "controller": True}
    parent["uid"] = made["metadata"]["uid"]
    await run_pod(api, good, "good")
    for number in range(2):
        # Named by tag, but what runs is told by the node.
        await run_pod(api, f"{host}/bad:1", f"bad-{number}", digest, ownerReferences=[parent])
    await run_pod(api, bad, "elsewhere", namespace="free")
    # The tag has moved meanwhile to what is signed: it is not what runs.
    await push_signed(host, "bad", "1", OURS)
    for key in ("resourceVersion", "uid", "generation", "creationTimestamp", "managedFields"):
        hooks["metadata"].pop(key, None)
    world.apply(hooks)
    return str(parent["uid"])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
async def test_running_pods_are_judged_again_when_a_policy_changes(
    world, kind, tmp_path, monkeypatch
):
    monkeypatch.setattr(store_module, "SECRET_SECONDS", 0.2)
    host = world.registry
    good = await push_signed(host, "good", "1", OURS)
    bad = await push_image(host, "bad", "1", "bad")
    digest = bad.partition("@")[2]
    config = KubeConfig.from_file(world.plane.kubeconfig)
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(KubeClient(config, agent="test"))
        url, told = await stack.enter_async_context(chat())
        stack.enter_context(known(world, kind))
        file = tmp_path / "alerts.yaml"
        file.write_text(json.dumps({"receivers": [{"name": "chat", "slack": {"url": url}}]}))
        uid = await before_the_webhook(world, api, good, bad)
        world.apply(policy("signed", key_policy(OURS.public.pem.decode())))
        async with running_webhook(world, settings(world, alerts=file)):
            await eventually(lambda: len(reports(world, kind)) >= 2, "reports")
            found = reports(world, kind)
            assert set(found) == {"good", "bad"}, "one for each workload that is guarded"
            assert said(found["good"]) == {good: ("signed", "pass")}
            assert said(found["bad"]) == {f"{host}/bad:1@{digest}": ("signed", "fail")}
            assert found["bad"]["summary"]["fail"] == 1
            assert "no signature" in found["bad"]["results"][0]["message"]
            assert found["bad"]["metadata"]["ownerReferences"][0]["uid"] == uid
            await eventually(lambda: told, "the chat to be told")
            version = found["bad"]["metadata"]["resourceVersion"]

            # Another policy: what passed fails. What is as it was is not written again.
            world.apply(policy("other", key_policy(OTHER.public.pem.decode(), f"{host}/good**")))
            await eventually(
                lambda: reports(world, kind)["good"]["summary"]["fail"] == 1, "a second look"
            )
            assert reports(world, kind)["bad"]["metadata"]["resourceVersion"] == version
            await eventually(lambda: len(told) == 2, "the chat to be told of it")
            assert "ReplicaSet bad in team" in told[0]
            assert "Pod good in team" in told[1]
            metrics = await scraped(world)
            assert 'plimsoll_webhook_running_failing{policy="other"} 1.0' in metrics
            assert 'plimsoll_webhook_alerts_total{result="sent"} 2.0' in metrics

            # Admission goes on meanwhile, and what no longer runs is no longer reported.
            assert (await asyncio.to_thread(world.create, pod(good)))[0] is False
            world.plane.kubectl("delete", "pod", "good", "-n", "team", "--now")
            world.plane.kubectl("delete", "clusterimagepolicies.plimsoll.dev", "other")
            await eventually(lambda: set(reports(world, kind)) == {"bad"}, "a report to go")
        lease = world.plane.get("lease", "plimsoll-webhook-background")
        assert not lease["spec"].get("holderIdentity"), "given back at the end"
        for one in ("replicaset/bad", "pods"):
            rest = [one] if "/" in one else [one, "--all"]
            world.plane.kubectl("delete", *rest, "-n", "team", "--now")
        world.plane.kubectl("delete", "pods", "--all", "-n", "free", "--now")


async def scraped(world):
    import aiohttp  # noqa: PLC0415  one use

    url = f"http://127.0.0.1:{world.settings.health_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def test_what_cannot_be_read_is_an_error_and_no_failure(world, monkeypatch):
    monkeypatch.setattr(store_module, "SECRET_SECONDS", 0.2)
    kind = KINDS[0]
    config = KubeConfig.from_file(world.plane.kubeconfig)
    gone = f"127.0.0.1:{free_port()}/app@sha256:{'0' * 64}"
    world.plane.kubectl("label", "namespace", "team", "policy.plimsoll.dev/include-")
    async with KubeClient(config, agent="test") as api:
        with known(world, kind):
            await run_pod(api, gone, "gone")
            world.plane.kubectl("label", "namespace", "team", "policy.plimsoll.dev/include=true")
            world.apply(policy("signed", key_policy(OURS.public.pem.decode())))
            async with running_webhook(world, settings(world)):
                await eventually(lambda: reports(world, kind), "a report")
                found = reports(world, kind)["gone"]
                assert found["summary"] == {"pass": 0, "fail": 0, "warn": 0, "error": 1, "skip": 0}
                assert "could not be checked" in found["results"][0]["message"]
        world.plane.kubectl("delete", "pod", "gone", "-n", "team", "--now")


async def test_without_any_kind_of_report_findings_are_told_once(world, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SECRET_SECONDS", 0.2)
    config = KubeConfig.from_file(world.plane.kubeconfig)
    bad = await push_image(world.registry, "lonely", "1", "lonely")
    world.plane.kubectl("label", "namespace", "team", "policy.plimsoll.dev/include-")
    async with chat() as (url, told), KubeClient(config, agent="test") as api:
        await run_pod(api, bad, "lonely")
        world.plane.kubectl("label", "namespace", "team", "policy.plimsoll.dev/include=true")
        world.apply(policy("signed", key_policy(OURS.public.pem.decode())))
        file = tmp_path / "alerts.yaml"
        file.write_text(json.dumps({"receivers": [{"name": "chat", "slack": {"url": url}}]}))
        often = settings(world, alerts=file, background_seconds=0.1)
        # Nothing remembers what was sent, but what was found.
        monkeypatch.setattr(alerts_module, "_REPEAT", 0.0)
        async with running_webhook(world, often):
            rounds = 'plimsoll_webhook_running_failing{policy="signed"} 1.0'
            async with asyncio.timeout(30):
                while rounds not in await scraped(world):  # noqa: ASYNC110  asked over HTTP
                    await asyncio.sleep(0.1)
            first = await when(world)
            async with asyncio.timeout(30):
                while await when(world) == first:  # noqa: ASYNC110  asked over HTTP
                    await asyncio.sleep(0.1)
            assert len(told) == 1
        world.plane.kubectl("delete", "pod", "lonely", "-n", "team", "--now")


async def when(world):
    """When what runs was last looked at."""
    name = "plimsoll_webhook_running_round_timestamp_seconds "
    return next(line for line in (await scraped(world)).splitlines() if line.startswith(name))


async def test_one_of_several_leads_and_another_takes_over(world):
    config = as_webhook(world)
    async with KubeClient(config, agent="test") as api:
        time = 1000.0
        one, two = (
            Leader(api, "plimsoll-webhook-background", name, 15.0, clock=lambda: time)
            for name in ("one", "two")
        )
        await asyncio.gather(one.step(), two.step())
        assert [one.leading, two.leading].count(True) == 1
        first, second = (one, two) if one.leading else (two, one)
        await second.step()
        assert not second.leading
        # While the first renews, the second waits; once it is silent, it is followed.
        for _ in range(5):
            time += 10
            await first.step()
            await second.step()
            assert first.leading
            assert not second.leading
        time += 13
        assert not first.leading, "who cannot renew stops before another begins"
        await second.step()
        assert not second.leading
        time += 3
        await second.step()
        assert second.leading
        await first.step()
        assert not first.leading
