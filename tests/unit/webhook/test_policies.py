from __future__ import annotations

import pytest

from plimsoll.oci.reference import Reference
from plimsoll.signing.privatekey import generate_key
from plimsoll.webhook.admission import read
from plimsoll.webhook.authorities import Secrets
from plimsoll.webhook.needs import Needs, needs_of
from plimsoll.webhook.policies import compile_policy
from plimsoll.webhook.policyset import PolicySet
from webhooks import key_policy, pod, review

_NONE = Secrets("plimsoll-system", {})
_KEY = generate_key().public.pem.decode()
_OTHER = generate_key().public.pem.decode()


def _authority(**fields):
    return {"images": [{"glob": "**"}], "authorities": [{"key": {"data": _KEY}, **fields}]}


_KEYLESS = {"keyless": {"trustRootRef": "r", "identities": [{"issuer": "i", "subject": "s"}]}}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"images": [{"glob": "**"}], "authorities": [_KEYLESS]},
            "authorities[0].keyless.trustRootRef: TrustRoot r: TrustRoot r does not exist",
        ),
        # One authority that could pass does not hide the one that is not understood.
        (
            {"images": [{"glob": "**"}], "authorities": [{"key": {"data": _KEY}}, _KEYLESS]},
            "authorities[1].keyless",
        ),
        (
            {"images": [{"glob": "**"}], "authorities": [{"key": {"kms": "gcpkms://x"}}]},
            "authorities[0].key.kms",
        ),
        (_authority(ctlog={"url": "https://rekor.example"}), "authorities[0].ctlog.url: nobody"),
        (_authority(rfc3161timestamp={"trustRootRef": "t"}), "authorities[0].rfc3161timestamp"),
        (
            _authority(
                attestations=[
                    {"name": "a", "predicateType": "spdx", "policy": {"type": "cue", "data": "x"}}
                ]
            ),
            "attestations[0].policy: rules in cue are not evaluated here",
        ),
        (
            {**_authority(), "policy": {"type": "rego", "data": "x"}},
            "spec.policy: rules in rego are not evaluated here",
        ),
        (_authority(source=[{"oci": "https://x"}]), "authorities[0].source[0].oci"),
    ],
)
def test_what_cannot_be_checked_yet_refuses(spec, text):
    policy = compile_policy("p", spec, _NONE)
    assert text in policy.fault


@pytest.mark.parametrize(
    ("spec", "concerns_other"),
    [
        (None, True),
        ({}, True),
        ({"images": "x"}, True),
        ({"images": [{"glob": "["}]}, True),
        ({"images": [{"glob": "ghcr.io/**"}]}, False),
        ({"images": [{"glob": "ghcr.io/**"}], "nonsense": 1, "mode": "enforced"}, False),
    ],
)
def test_an_invalid_policy_refuses_what_it_matches_or_everything(spec, concerns_other):
    policy = compile_policy("p", spec, _NONE)
    assert policy.fault.startswith("validation failed: ")
    assert policy.enforce
    assert policy.concerns(("ghcr.io/a:1",))
    assert policy.concerns(("other.example/a:1",)) == concerns_other


def test_keys_come_from_the_policy_or_a_secret():
    spec = {"images": [{"glob": "**"}], "authorities": [{"key": {"secretRef": {"name": "k"}}}]}
    assert needs_of(spec) == Needs(secrets=frozenset({"k"}))
    by_data = compile_policy("p", key_policy(_KEY), _NONE)
    for entries in ({"cosign.pub": _KEY.encode(), "cosign.key": b"x"}, {"any": _KEY.encode()}):
        policy = compile_policy("p", spec, Secrets("plimsoll-system", {"k": entries}))
        assert not policy.fault
        assert policy.authorities[0].trusted == by_data.authorities[0].trusted
    faults = {
        "does not exist": {},
        "has no entry cosign.pub": {"k": {"a": b"", "b": b""}},
        "no PEM block": {"k": {"cosign.pub": b"x"}},
        "never hand out a private key": {"k": {"k": generate_key().to_pem(b"")}},
    }
    for text, data in faults.items():
        fault = compile_policy("p", spec, Secrets("plimsoll-system", data)).fault
        assert "spec.authorities[0].key.secretRef" in fault
        assert text in fault


def test_secrets_of_other_namespaces_are_out_of_reach():
    reference = {"name": "k", "namespace": "kube-system"}
    spec = {"images": [{"glob": "**"}], "authorities": [{"key": {"secretRef": reference}}]}
    known = Secrets("plimsoll-system", {"k": {"cosign.pub": _KEY.encode()}})
    assert "only Secrets of namespace plimsoll-system" in compile_policy("p", spec, known).fault
    reference["namespace"] = "plimsoll-system"
    assert not compile_policy("p", spec, known).fault


def test_the_fingerprint_changes_with_all_that_a_verdict_rests_on():
    base = key_policy(_KEY)
    secret = {"images": [{"glob": "**"}], "authorities": [{"key": {"secretRef": {"name": "k"}}}]}
    made = [
        compile_policy("p", base, _NONE),
        compile_policy("q", base, _NONE),
        compile_policy("p", base, _NONE, group="policy.sigstore.dev"),
        compile_policy("p", key_policy(_OTHER), _NONE),
        compile_policy("p", {**base, "require": {"sbom": True}}, _NONE),
        compile_policy("p", {**base, "mode": "warn"}, _NONE),
        *(
            compile_policy("p", secret, Secrets("n", {"k": {"cosign.pub": key.encode()}}))
            for key in (_KEY, _OTHER)
        ),
    ]
    assert len({policy.fingerprint for policy in made}) == len(made)
    assert compile_policy("p", base, _NONE).fingerprint == made[0].fingerprint


def test_policies_are_chosen_by_image_kind_and_labels():
    match = [
        {
            "resource": "pods",
            "selector": {
                "matchLabels": {"app": "p"},
                "matchExpressions": [
                    {"key": "tier", "operator": "NotIn", "values": ["test"]},
                    {"key": "app", "operator": "In", "values": ["p", "q"]},
                    {"key": "off", "operator": "DoesNotExist"},
                    {"key": "app", "operator": "Exists"},
                ],
            },
        }
    ]
    specs = {
        "all": key_policy(_KEY),
        "hub": key_policy(_KEY, "*"),
        "pods": key_policy(_KEY, match=match),
        "jobs": key_policy(_KEY, match=[{"group": "batch", "resource": "jobs"}]),
    }
    policies = PolicySet(compile_policy(name, spec, _NONE) for name, spec in specs.items())
    target = pod("x")

    def chosen(image):
        found = policies.matching(Reference.parse(image), read(review(target)))
        return [policy.name for policy in found]

    assert chosen("nginx") == ["all", "hub", "pods"]
    assert chosen("ghcr.io/a") == ["all", "pods"]
    for labels in (
        {"app": "r"},
        {"app": "p", "tier": "test"},
        {"app": "p", "off": ""},
        {},
    ):
        target["metadata"]["labels"] = labels
        assert chosen("ghcr.io/a") == ["all"]


def test_only_evidence_that_can_matter_is_read():
    policy = compile_policy("p", key_policy(_KEY, require={"provenance": True}), _NONE)
    assert policy.formats == {"bundle", "legacy"}
    assert policy.predicate_types == {
        "https://sigstore.dev/cosign/sign/v1",
        "https://slsa.dev/provenance/v1",
        "https://slsa.dev/provenance/v0.2",
    }
    spec = key_policy(_KEY)
    spec["authorities"][0]["attestations"] = [{"name": "s", "predicateType": "spdx"}]
    spec["authorities"][0]["signatureFormat"] = "bundle"
    policy = compile_policy("p", spec, _NONE)
    assert (policy.formats, policy.predicate_types) == ({"bundle"}, {"https://spdx.dev/Document"})
