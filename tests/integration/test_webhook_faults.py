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
from plimsoll.signing.privatekey import generate_key
from registries import crane_registry, free_port
from webhooks import Cosign, for_tests, key_policy, pod, push_image, push_signed, review, serving

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


@contextlib.asynccontextmanager
async def signed_by_us(registry, **settings):
    """The same with an image that we have signed, which takes less time."""
    image = await push_signed(registry.host, "quick", "1", _KEY)
    async with fault_proxy(registry.host) as proxy:
        changes = {"timeout": 2.0, "margin": 0.5, **settings}
        async with serving(for_tests(proxy.host, **changes)) as webhook:
            webhook.policies.set(signed=key_policy(_KEY.public.pem.decode()))
            yield proxy, webhook, image.replace(registry.host, proxy.host)


_KEY = generate_key()
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_DEEP = b'{"schemaVersion":2,"annotations":' + b'{"a":' * 5000 + b"1" + b"}" * 5001


@pytest.mark.parametrize(
    "body",
    [
        b'{"schemaVersion":2,"manifests":[],"manifests":[]}',
        _DEEP,
        b'{"schemaVersion":2,"manifests":' + b"[" * 100_000,
        b'{"schemaVersion":2,"manifests":NaN}',
        b'{"schemaVersion":2,"manifests":{"a":1}}',
        b'{"schemaVersion":2,"manifests":[' + b'{"size":-1},' * 10 + b"{}]}",
        b'{"schemaVersion":2,"padding":"' + b"x" * (9 << 20) + b'","manifests":[]}',
        b"\xff\xfe{}",
        b"null",
    ],
    ids=["twice", "deep", "open", "nan", "shape", "negative", "huge", "utf-16", "null"],
)
@pytest.mark.parametrize(
    ("path", "kind"), [("/referrers/", _INDEX), ("/manifests/sha256", _MANIFEST)]
)
async def test_a_hostile_document_admits_nothing_and_harms_nobody(registry, body, path, kind):
    """The image is signed: what hides that must be told, and must not be remembered for long."""
    async with signed_by_us(registry, failure_seconds=0.0) as (proxy, webhook, image):
        proxy.on("GET", path, status(200, {"Content-Type": kind}, body))
        begin = time.monotonic()
        answer = await webhook.admit(image)
        assert time.monotonic() - begin < 2
        assert not answer["allowed"]
        assert image in answer["status"]["message"]
        assert "defect" not in answer["status"]["message"]
        proxy.rules.clear()
        assert (await webhook.admit(image))["allowed"]


async def test_a_long_list_of_signatures_is_not_read_to_its_end(registry):
    """A list that is within the limits of a list, but not of what is read."""
    async with signed_by_us(registry) as (proxy, webhook, image):
        entry = {
            "mediaType": _MANIFEST,
            "digest": "sha256:" + "1" * 64,
            "size": 100,
            "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        }
        entries = [{**entry, "digest": f"sha256:{number:064x}"} for number in range(1900)]
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}
        body = json.dumps(index).encode()
        proxy.on("GET", "/referrers/", status(200, {"Content-Type": _INDEX}, body))
        begin = time.monotonic()
        answer = await webhook.admit(image)
        assert time.monotonic() - begin < 2
        assert not answer["allowed"]
        assert proxy.count("GET", "/manifests/") <= 64 + 2


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
