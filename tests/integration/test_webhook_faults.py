"""What breaks must refuse, in time, and say what it was; what is hostile must gain nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time

import pytest

from fault_proxy import corrupt, drip, endless, fault_proxy, forward, hang, status
from plimsoll.oci.reference import Reference
from registries import crane_registry, free_port
from webhooks import Cosign, for_tests, key_policy, pod, push_image, review, serving

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def registry():
    with crane_registry() as running:
        yield running


@pytest.fixture(scope="module")
def cosign(tmp_path_factory):
    return Cosign.with_key(tmp_path_factory.mktemp("key"))


@contextlib.asynccontextmanager
async def behind_proxy(registry, cosign, **settings):
    """A signed image, the webhook, and a proxy in between."""
    image = Reference.parse(await push_image(registry.host, "app", "1", "a"))
    await asyncio.to_thread(cosign.sign, str(image))
    async with fault_proxy(registry.host) as proxy:
        changes = {"timeout": 2.0, "margin": 0.5, **settings}
        async with serving(for_tests(proxy.host, **changes)) as webhook:
            webhook.policies.set(signed=key_policy(cosign.public_key))
            yield proxy, webhook, str(image).replace(registry.host, proxy.host)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (status(500), "500"),
        (status(503), "503"),
        (status(429), "429"),
        (status(403), "does not allow us"),
        (status(401), "wants a login"),
        (status(200, body=b"<html>"), ""),
    ],
    ids=["500", "503", "429", "403", "401", "garbage"],
)
@pytest.mark.parametrize("path", ["/referrers/", "/manifests/", "/blobs/"])
async def test_a_registry_that_fails_refuses(registry, cosign, action, text, path):
    async with behind_proxy(registry, cosign) as (proxy, webhook, image):
        proxy.on("GET", path, action)
        answer = await webhook.admit(image)
        assert not answer["allowed"]
        assert text in answer["status"]["message"]
        # What was not known is not remembered.
        proxy.rules.clear()
        if "could not be checked" in answer["status"]["message"]:
            assert (await webhook.admit(image))["allowed"]


@pytest.mark.parametrize("action", [hang, drip(0.2), endless], ids=["hang", "drip", "endless"])
@pytest.mark.parametrize("path", ["/referrers/", "/manifests/", "/blobs/"])
async def test_a_slow_registry_is_named_before_the_api_server_gives_up(
    registry, cosign, action, path
):
    async with behind_proxy(registry, cosign) as (proxy, webhook, image):
        proxy.on("GET", path, action)
        begin = time.monotonic()
        answer = await webhook.admit(image)
        assert time.monotonic() - begin < 2.0
        assert not answer["allowed"]
        if action is hang:
            message = answer["status"]["message"]
            assert 'could not be checked for policy "signed": no answer within 1.5 s' in message
            assert f"registry {proxy.host}" in message


async def test_an_image_that_passed_stays_admitted_while_the_registry_is_away(registry, cosign):
    async with behind_proxy(registry, cosign) as (proxy, webhook, image):
        assert (await webhook.admit(image))["allowed"]
        proxy.on("GET", "/", status(500))
        proxy.on("HEAD", "/", status(500))
        assert (await webhook.admit(image))["allowed"]
        # A tag must be looked up, which is not possible now.
        tag = f"{proxy.host}/app:1"
        assert "could not be checked" in (await webhook.admit(tag))["status"]["message"]


async def test_a_remembered_pass_ends(registry, cosign):
    async with behind_proxy(registry, cosign, success_seconds=0.0) as (proxy, webhook, image):
        assert (await webhook.admit(image))["allowed"]
        proxy.on("GET", "/", status(500))
        assert not (await webhook.admit(image))["allowed"]


async def test_a_signature_made_after_a_refusal_counts_soon(registry, cosign):
    image = await push_image(registry.host, "late", "1", "late")
    settings = for_tests(registry.host, failure_seconds=0.05)
    async with serving(settings) as webhook:
        webhook.policies.set(signed=key_policy(cosign.public_key))
        assert not (await webhook.admit(image))["allowed"]
        await asyncio.to_thread(cosign.sign, image)
        async with asyncio.timeout(5):
            while not (await webhook.admit(image))["allowed"]:
                pass


async def test_bytes_that_are_not_the_digest_are_no_evidence(registry, cosign):
    async with behind_proxy(registry, cosign) as (proxy, webhook, image):
        proxy.on("GET", "/blobs/", corrupt)
        assert not (await webhook.admit(image))["allowed"]


async def test_one_slow_registry_does_not_hold_up_another(registry, cosign):
    async with behind_proxy(registry, cosign) as (proxy, webhook, image):
        proxy.on("GET", "/", hang)
        slow = asyncio.create_task(webhook.admit(image))
        await proxy.hanging.wait()
        begin = time.monotonic()
        # Not trusted at all: a loopback address from a stranger.
        other = f"localhost:{free_port()}/app@{Reference.parse(image).digest}"
        answer = await webhook.admit(other)
        assert not answer["allowed"]
        assert "refused to connect" in answer["status"]["message"]
        assert time.monotonic() - begin < 1
        assert not (await slow)["allowed"]


async def test_a_warning_policy_does_not_refuse_because_the_registry_is_away(registry, cosign):
    async with behind_proxy(registry, cosign) as (proxy, webhook, image):
        proxy.on("GET", "/", status(500))
        webhook.policies.set(signed=key_policy(cosign.public_key, mode="warn"))
        answer = await webhook.admit(image)
        assert answer["allowed"]
        assert 'could not be checked for policy "signed"' in answer["warnings"][0]
        webhook.policies.set(
            signed=key_policy(cosign.public_key, mode="warn"),
            strict=key_policy(cosign.public_key),
        )
        assert not (await webhook.admit(image))["allowed"]


async def test_an_image_that_does_not_exist(registry, cosign):
    async with serving(for_tests(registry.host)) as webhook:
        webhook.policies.set(signed=key_policy(cosign.public_key))
        message = (await webhook.admit(f"{registry.host}/none:1"))["status"]["message"]
        assert "could not be checked" in message
        assert "none" in message
        message = (await webhook.admit("Not A Reference"))["status"]["message"]
        assert "no image reference" in message


async def test_a_caller_that_leaves_does_not_take_the_others_with_it(registry, cosign):
    asked, goes_on = asyncio.Event(), asyncio.Event()

    async def wait(proxy, request):
        asked.set()
        await goes_on.wait()
        return await forward(proxy, request)

    async with behind_proxy(registry, cosign, timeout=20.0) as (proxy, webhook, image):
        proxy.on("GET", "/referrers/", wait)
        first = asyncio.create_task(webhook.admit(image))
        await asked.wait()
        second = asyncio.create_task(webhook.admit(image))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        goes_on.set()
        assert (await second)["allowed"]
        assert proxy.count("GET", "/referrers/") == 1


async def test_requests_that_are_no_reviews(registry):
    async with serving(for_tests(registry.host)) as webhook:
        for body in (b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":1,"a":2}'):
            async with webhook.session.post(webhook.url, data=body) as answer:
                assert answer.status == 400, body[:10]
        async with webhook.session.post(webhook.url, data=io.BytesIO(bytes(4 << 20))) as answer:
            assert answer.status == 413
        async with webhook.session.get(webhook.url) as answer:
            assert answer.status == 405
        twice = (
            b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u"}}'
        )
        answer = await webhook.send(twice)
        assert answer["uid"] == "u"
        assert not answer["allowed"]
        target = pod("nginx")
        target["kind"] = "Rollout"
        target["apiVersion"] = "argoproj.io/v1alpha1"
        answer = await webhook.send(review(target))
        assert (
            "Rollout.argoproj.io is no kind that this webhook knows" in answer["status"]["message"]
        )


async def test_a_process_that_ends_lets_connections_go(registry, cosign):
    async with behind_proxy(registry, cosign) as (_, webhook, image):
        for ending in (False, True):
            if ending:
                webhook.ending.set()
            data = json.dumps(review(pod(image)))
            async with webhook.session.post(webhook.url, data=data) as answer:
                assert (await answer.json())["response"]["allowed"]
                assert (answer.headers.get("Connection") == "close") is ending


async def test_before_the_policies_are_loaded_everything_is_refused(registry):
    async with serving(for_tests(registry.host)) as webhook:
        webhook.policies.ready = False
        answer = await webhook.admit("nginx")
        assert not answer["allowed"]
        assert "not loaded" in answer["status"]["message"]
