"""What an image costs the registry and the webhook; ``bench`` has the times."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from fault_proxy import fault_proxy, forward
from plimsoll.signing.privatekey import generate_key
from registries import crane_registry
from webhooks import for_tests, key_policy, push_signed, serving

pytestmark = pytest.mark.integration

SPDX = {"spdxVersion": "SPDX-2.3", "packages": [{"name": "base", "versionInfo": "1"}]}


@pytest.fixture(scope="module")
def registry():
    with crane_registry() as running:
        yield running


@pytest.fixture(scope="module")
def key():
    return generate_key()


@dataclass
class Waves:
    """Which requests waited for the answers of others: the round trips one after another."""

    pause: float = 0.25
    ended: int = 0
    requests: list[tuple[int, str]] = field(default_factory=list)

    async def __call__(self, proxy, request):
        wave = self.ended + 1
        self.requests.append((wave, f"{request.method} {request.path}"))
        # All that was asked at the same time is asked before the first of it is answered.
        await asyncio.sleep(self.pause)
        answer = await forward(proxy, request)
        self.ended = max(self.ended, wave)
        return answer


async def admitted_behind(registry, policy, image):
    """Ask about one image that is new; the requests to the registry by wave."""
    waves = Waves()
    async with fault_proxy(registry.host) as proxy:
        proxy.on("GET", "/", waves)
        proxy.on("HEAD", "/", waves)
        async with serving(for_tests(proxy.host)) as webhook:
            webhook.policies.set(signed=policy)
            answer = await webhook.admit(image.replace(registry.host, proxy.host))
            assert answer["allowed"], answer
    return [what for _, what in waves.requests], waves.ended


async def test_a_new_image_costs_four_round_trips(registry, key):
    await push_signed(registry.host, "trips", "1", key)
    policy = key_policy(key.public.pem.decode())
    policy["authorities"][0]["signatureFormat"] = "bundle"
    requests, waves = await admitted_behind(registry, policy, f"{registry.host}/trips:1")
    # What the tag names, what refers to it, the signature's manifest and its blob.
    assert len(requests) == 4, requests
    assert waves == 4


async def test_more_evidence_costs_no_more_round_trips_one_after_another(registry, key):
    await push_signed(registry.host, "waves", "1", key, SPDX)
    policy = key_policy(key.public.pem.decode(), require={"signature": True, "sbom": True})
    requests, waves = await admitted_behind(registry, policy, f"{registry.host}/waves:1")
    assert waves == 4
    # Both legacy tags, and another manifest and blob, at the same time as the others.
    assert len(requests) == 8, requests


async def test_what_no_policy_asks_for_is_not_read(registry, key):
    await push_signed(registry.host, "unread", "1", key, SPDX)
    policy = key_policy(key.public.pem.decode())
    policy["authorities"][0]["signatureFormat"] = "bundle"
    requests, _ = await admitted_behind(registry, policy, f"{registry.host}/unread:1")
    assert len(requests) == 4, requests


async def test_a_thousand_pods_of_a_new_image_cost_one_verification(registry, key):
    image = await push_signed(registry.host, "thousand", "1", key)
    async with serving(for_tests(registry.host)) as webhook:
        webhook.policies.set(signed=key_policy(key.public.pem.decode()))
        answers = await asyncio.gather(*(webhook.admit(image) for _ in range(1000)))
        assert all(answer["allowed"] for answer in answers)
        assert webhook.verifier.reads == 1
        # By tag, each pod asks what the tag names now, and nobody verifies anything again.
        assert (await webhook.admit(f"{registry.host}/thousand:1"))["allowed"]
        assert webhook.verifier.reads == 1


async def test_a_hundred_containers_are_judged_at_once(registry, key):
    images = await asyncio.gather(
        *(push_signed(registry.host, f"many/{number}", "1", key) for number in range(100))
    )
    async with serving(for_tests(registry.host)) as webhook:
        webhook.policies.set(signed=key_policy(key.public.pem.decode()))
        assert (await webhook.admit(*images))["allowed"]
        assert webhook.verifier.reads == 100
        # One that nobody signed among them is enough.
        webhook.policies.set(signed=key_policy(generate_key().public.pem.decode()))
        answer = await webhook.admit(*images)
        assert not answer["allowed"]
        told = answer["status"]["message"].splitlines()
        assert all("refused by policy" in line for line in told[:-1])
        assert told[-1] == f"and {100 - len(told) + 1} more; the webhook's log has all of them"


async def test_five_hundred_policies_cost_no_more_reading_than_one(registry, key):
    image = await push_signed(registry.host, "policies", "1", key)
    pem = key.public.pem.decode()
    async with serving(for_tests(registry.host)) as webhook:
        webhook.policies.set(
            **{f"p{number}": key_policy(pem) for number in range(50)},
            **{f"other{number}": key_policy(pem, f"r{number}.example/**") for number in range(450)},
        )
        assert (await webhook.admit(image))["allowed"]
        assert webhook.verifier.reads == 1
