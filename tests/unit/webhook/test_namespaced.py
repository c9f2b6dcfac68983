"""Policies of namespaces only tighten; exceptions count where, for what and as long as allowed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from plimsoll.api.policycheck import PolicyInvalidError
from plimsoll.oci.reference import Reference
from plimsoll.signing.privatekey import generate_key
from plimsoll.webhook.exceptions import compile_exception
from plimsoll.webhook.policies import compile_policy
from plimsoll.webhook.policyset import PolicySet
from webhooks import Secrets, key_policy, pod, review, serving

NONE = Secrets("plimsoll-system", {})
KEY = generate_key().public.pem.decode()
PASS = {"images": [{"glob": "**"}], "authorities": [{"static": {"action": "pass"}}]}
FAIL = {"images": [{"glob": "**"}], "authorities": [{"static": {"action": "fail"}}]}
DIGEST = "sha256:" + "a" * 64
IMAGE = f"registry.example/app@{DIGEST}"


def cluster(name, spec):
    return compile_policy(name, spec, NONE)


def own(name, spec, namespace="team"):
    return compile_policy(f"{namespace}/{name}", spec, NONE, namespace=namespace)


def exception(namespace="security", **changes):
    spec = {
        "policies": ["strict"],
        "images": [{"glob": IMAGE}],
        "namespaces": ["team"],
        "reason": "vendor image",
        "until": "2999-01-01T00:00:00Z",
        **changes,
    }
    return compile_exception(namespace, "vendor", spec)


async def ask(*policies, image=IMAGE, exceptions=(), kind=pod, **fields):
    async with serving() as webhook:
        webhook.policies.policies = PolicySet(policies, 1, exceptions)
        return await webhook.send(review(kind(image), **fields))


@pytest.mark.parametrize(
    ("policies", "allowed"),
    [
        ([cluster("c", PASS)], True),
        ([cluster("c", PASS), own("n", FAIL)], False),
        ([cluster("c", FAIL), own("n", PASS)], False),
        ([cluster("c", PASS), own("n", PASS)], True),
        ([cluster("c", PASS), own("n", FAIL, "other")], True),
        ([cluster("c", PASS), own("n", FAIL | {"mode": "warn"})], True),
        # Nobody lets an image in that no policy of the cluster speaks of.
        ([own("n", PASS)], False),
        ([cluster("c", PASS), own("n", {"nonsense": 1})], False),
        ([cluster("c", PASS), own("n", {"nonsense": 1}, "other")], True),
    ],
)
async def test_a_policy_of_a_namespace_can_only_tighten(policies, allowed):
    assert (await ask(*policies))["allowed"] is allowed


async def test_a_refusal_names_the_namespaced_policy():
    message = (await ask(cluster("c", PASS), own("n", FAIL)))["status"]["message"]
    assert "kubectl get imagepolicy -n team n -o yaml" in message


async def test_what_cannot_be_decided_is_refused_though_only_a_mild_policy_asks():
    mild = own("n", {**key_policy(KEY), "mode": "warn"})
    answer = await ask(mild, image=f"localhost:1/app@{DIGEST}")
    assert not answer["allowed"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"key": {"secretRef": {"name": "k"}}}, "key.secretRef is not read for a namespace"),
        (
            {"source": [{"oci": "r.example/x", "signaturePullSecrets": [{"name": "s"}]}]},
            "signaturePullSecrets are not read for a namespace",
        ),
    ],
)
def test_a_namespace_cannot_reach_into_the_webhooks_own(change, text):
    spec = {"images": [{"glob": "**"}], "authorities": [{"key": {"data": KEY}, **change}]}
    assert text in own("n", spec).fault
    assert text not in cluster("c", spec).fault


def test_a_namespace_reads_other_places_with_the_logins_of_its_pods():
    spec = key_policy(KEY)
    spec["authorities"][0]["source"] = [{"oci": "r.example/x"}]
    assert own("n", spec).sources[0].as_pod
    assert not cluster("c", spec).sources[0].as_pod


async def test_audit_says_nothing_to_who_makes_the_pod():
    answer = await ask(cluster("c", FAIL | {"mode": "audit"}))
    assert answer["allowed"]
    assert "warnings" not in answer
    assert answer["auditAnnotations"]["failures"].startswith("c: ")
    assert not (await ask(cluster("c", FAIL | {"mode": "audit"}), cluster("d", FAIL)))["allowed"]


STRICT = cluster("strict", FAIL)


async def test_an_exception_admits_and_says_so():
    answer = await ask(STRICT, exceptions=[exception()])
    assert answer["allowed"]
    (warning,) = answer["warnings"]
    assert 'excepted from policy "strict" by security/vendor until 2999-01-01' in warning
    assert "vendor image" in warning


@pytest.mark.parametrize(
    "given",
    [
        exception(policies=["other"]),
        exception(images=[{"glob": "registry.example/other**"}]),
        exception(images=[{"glob": "registry.example/app:1"}]),
        exception(namespaces=["other"]),
        exception(namespaces=None),
        exception(until="2001-01-01T00:00:00Z"),
    ],
)
async def test_each_part_of_an_exception_restricts(given):
    image = f"registry.example/app:1@{DIGEST}"
    assert not (await ask(STRICT, image=image, exceptions=[given]))["allowed"]


async def test_an_exception_is_from_what_it_names_only():
    two = [STRICT, cluster("second", FAIL)]
    assert not (await ask(*two, exceptions=[exception()]))["allowed"]
    tightened = [STRICT, own("strict", FAIL)]
    assert not (await ask(*tightened, exceptions=[exception()]))["allowed"]


def test_an_exception_is_for_its_own_namespace_by_default():
    given = exception(namespace="team", namespaces=None)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert given.covers(STRICT, Reference.parse(IMAGE), "team", now)
    assert not given.covers(STRICT, Reference.parse(IMAGE), "other", now)


@pytest.mark.parametrize("field", ["policies", "images", "reason", "until"])
def test_what_an_exception_must_say(field):
    with pytest.raises(PolicyInvalidError, match=field):
        exception(**{field: None})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"images": [{"glob": "["}]}, "spec.images"),
        ({"images": [{}]}, "spec.images"),
        ({"until": "2030-01-01T00:00:00"}, "no time zone"),
        ({"policies": []}, "spec.policies"),
        ({"extra": 1}, "unknown field: spec.extra"),
    ],
)
def test_what_an_exception_cannot_say(change, text):
    with pytest.raises(PolicyInvalidError, match=text):
        exception(**change)
