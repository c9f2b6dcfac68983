"""Rules in Rego and CUE, evaluated by the programs of their own projects; rules in the webhook."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
import yaml
from click.testing import CliRunner

from gotools import tool
from plimsoll.cli.main import cli
from plimsoll.signing.privatekey import generate_key
from plimsoll.webhook.rules.engines import Engines
from registries import crane_registry
from shared_data import shared
from webhooks import for_tests, key_policy, pod, push_index, push_signed, review, serving

pytestmark = pytest.mark.integration

ENTRY = [{"id": "a"}]
FOUND = {
    "keyatt": {"attestations": {"custom": ENTRY}},
    "keysignature": {"signatures": ENTRY},
    "keylesssignature": {"signatures": ENTRY},
    "keylessatt": {"attestations": {"customkeyless": ENTRY, "vulnkeyless": ENTRY}},
}


@pytest.fixture(scope="module")
def engines():
    return Engines(opa=tool("opa"), cue=tool("cue"))


def rules(path):
    """Every rule of a file with policies, by the name of its attestation."""
    (document,) = yaml.safe_load_all((shared("policy") / path).read_text())
    found = {}
    for authority in document["spec"]["authorities"]:
        for one in authority.get("attestations", []):
            if "policy" in one:
                found[one["name"]] = one["policy"]
    if "policy" in document["spec"]:
        found[""] = document["spec"]["policy"]
    return found


def about(**fields):
    return json.dumps(fields).encode()


CUSTOM = "https://cosign.sigstore.dev/attestation/v1"


@pytest.mark.parametrize(
    ("path", "name", "document", "holds"),
    [
        (
            "e2e/cip-key-with-attestations.yaml",
            "custom-match-predicate",
            about(predicateType=CUSTOM, predicate={"Data": "foobar key e2e test"}),
            True,
        ),
        (
            "e2e/cip-key-with-attestations.yaml",
            "custom-match-predicate",
            about(predicateType=CUSTOM, predicate={"Data": "something else"}),
            False,
        ),
        ("e2e/cip-include-spec.yaml", "", about(spec={"serviceAccount": "default"}), True),
        ("e2e/cip-include-spec.yaml", "", about(spec={"serviceAccount": "robot"}), False),
        (
            "e2e/cip-config-file-policy-fails.yaml",
            "",
            about(config={"linux/amd64": {"config": {"User": "55554"}}}),
            True,
        ),
        (
            "e2e/cip-config-file-policy-fails.yaml",
            "",
            about(config={"linux/amd64": {"config": {"User": "65532"}}}),
            False,
        ),
        (
            "e2e/cip-requires-two-signatures-and-two-attestations-rego.yaml",
            "",
            about(authorityMatches=FOUND),
            True,
        ),
        (
            "e2e/cip-requires-two-signatures-and-two-attestations-rego.yaml",
            "",
            about(
                authorityMatches={**FOUND, "keylessatt": {"attestations": {"vulnkeyless": ENTRY}}}
            ),
            False,
        ),
        (
            "e2e/cip-requires-two-signatures-and-two-attestations-rego.yaml",
            "customkeyless",
            about(
                predicateType=CUSTOM,
                predicate={"Data": "foobar e2e test", "Timestamp": "2026-01-01T00:00:00Z"},
            ),
            True,
        ),
        (
            "e2e/cip-requires-two-signatures-and-two-attestations-rego.yaml",
            "customkeyless",
            about(
                predicateType=CUSTOM,
                predicate={"Data": "foobar e2e test", "Timestamp": "2059-01-01T00:00:00Z"},
            ),
            False,
        ),
        (
            "e2e/cip-requires-two-signatures-and-two-attestations-rego.yaml",
            "customkeyless",
            about(predicateType=CUSTOM, predicate={"Data": "foobar e2e test"}),
            False,
        ),
    ],
)
def test_rules_of_policy_controller_mean_what_they_meant(engines, path, name, document, holds):
    rule = rules(path)[name]
    assert engines.check(rule["type"], rule["data"]) == ""
    reason = engines.judge(rule["type"], rule["data"], document)
    assert (reason == "") == holds, reason


def test_every_rule_of_policy_controller_is_understood(engines):
    seen = 0
    for path in sorted(shared("policy").rglob("*.yaml")):
        if {"crd", "trustroot", "config"} & set(path.parts):
            continue
        for document in yaml.safe_load_all(path.read_text()):
            for rule in _rules_in(document):
                seen += 1
                assert engines.check(rule["type"], rule["data"]) == "", path
    assert seen > 10


def _rules_in(value):
    if isinstance(value, dict):
        if value.get("type") in {"cue", "rego"} and "data" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _rules_in(item)


REPORTS = """package sigstore
isCompliant[response] {
  result = (input.predicate.n == 3)
  response := {"result": result, "error": "n is not three", "warning": ""}
}"""
THREE = about(predicate={"n": 3, "t": "2026-01-01T00:00:00Z"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("default isCompliant = false\nisCompliant { input.predicate.n == 3 }", ""),
        ("default isCompliant = false\nisCompliant { input.predicate.n == 4 }", "is not true"),
        ("isCompliant { input.predicate.absent }", "is not true"),
        ("import rego.v1\nisCompliant if input.predicate.n == 3", ""),
        ("import rego.v1\nisCompliant := 3", "is not true"),
        ("isCompliant { time.parse_rfc3339_ns(input.predicate.t) < time.now_ns() }", ""),
        ("isCompliant { any([true]); re_match(`^2026`, input.predicate.t) }", ""),
        (REPORTS.partition("\n")[2], ""),
        (REPORTS.partition("\n")[2].replace("== 3", "== 4"), "n is not three"),
        ("isCompliant[x] { x := 1 }", "no object"),
        ("other := true", "is not true"),
        ("isCompliant { 1 / (input.predicate.n - 3) == 1 }", "is not true"),
        ("isCompliant { x }", "could not be evaluated: line 2: var x is unsafe"),
        ("isCompliant {", "could not be evaluated"),
        ('isCompliant { http.send({"method": "get", "url": "http://a"}) }', "undefined function"),
        ('isCompliant { net.lookup_ip_addr("localhost") }', "undefined function"),
        ("isCompliant { opa.runtime() }", "undefined function"),
        ("isCompliant { count([x | x := numbers.range(1, 1e9)[_]]) > 3 }", "longer than 2 s"),
    ],
)
def test_rego(engines, text, reason):
    found = engines.judge("rego", f"package sigstore\n{text}", THREE)
    assert reason in found
    assert bool(found) == bool(reason)


def test_rego_of_another_package_admits_nothing(engines):
    assert engines.judge("rego", "package other\nisCompliant := true", THREE)


def test_rego_is_checked_without_being_run(engines):
    endless = "package sigstore\nisCompliant { count(numbers.range(1, 1e9)) > 3 }"
    assert engines.check("rego", endless) == ""
    assert "var x is unsafe" in engines.check("rego", "package sigstore\nisCompliant { x }")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("predicate: n: 3", ""),
        ("predicate: n: <4 & >1", ""),
        ('predicate: n: "3"', "conflicting values"),
        ("predicate: n: 4", "conflicting values"),
        ("predicate: {", "expected '}'"),
        ("predicate: n: other", "not found"),
        ('import "example.org/x"\npredicate: n: x.y', "imports are unavailable"),
        ("a: b\nb: a & {c: a}", "structural cycle"),
    ],
)
def test_cue(engines, text, reason):
    found = engines.judge("cue", text, THREE)
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize("document", [b"{", b"\xff"])
@pytest.mark.parametrize(
    ("language", "text"),
    [("rego", "package sigstore\nisCompliant := true"), ("cue", "predicate: n: 3")],
)
def test_what_is_no_document_satisfies_nothing(engines, language, text, document):
    assert engines.judge(language, text, document)


# --- in the webhook -------------------------------------------------------------------------------

KEY = generate_key()
PUBLIC = KEY.public.pem.decode()


@pytest.fixture(scope="module")
def host():
    with crane_registry() as registry:
        yield registry.host


def ruled(language, text, **flags):
    return key_policy(PUBLIC, policy={"type": language, "data": text, **flags})


async def test_the_webhook_asks_rules_about_pod_and_image(host, engines):
    image = await push_signed(host, "ruled", "1", KEY)
    label = "package sigstore\nisCompliant { input.config[_].config.Labels.marker == `ruled:1` }"
    async with serving(for_tests(host)) as webhook:
        webhook.policies.set(
            engines=engines,
            account=ruled("cel", "spec.serviceAccountName == 'robot'", includeSpec=True),
            team=ruled("cue", 'metadata: labels: team: "a"', includeObjectMeta=True),
            marker=ruled("rego", label, fetchConfigFile=True),
        )
        good = pod(image, serviceAccountName="robot")
        good["metadata"]["labels"] = {"team": "a"}
        answer = await webhook.send(review(good))
        assert answer["allowed"], answer
        for change, policy in (
            ({"spec": {**good["spec"], "serviceAccountName": "other"}}, "account"),
            ({"metadata": {**good["metadata"], "labels": {"team": "b"}}}, "team"),
        ):
            answer = await webhook.send(review({**good, **change}))
            assert not answer["allowed"], "the verdict on another pod is not taken for this one's"
            assert f'policy "{policy}": its rule is not satisfied' in answer["status"]["message"]
        assert (await webhook.send(review(good)))["allowed"]
        webhook.policies.set(
            engines=engines, marker=ruled("rego", label.replace("d:1", "d:2"), fetchConfigFile=True)
        )
        assert not (await webhook.send(review(good)))["allowed"]


async def test_a_rule_about_the_object_alone_asks_no_registry(engines):
    rule = {"type": "cel", "data": "spec.serviceAccountName == 'robot'", "includeSpec": True}
    spec = {
        "images": [{"glob": "**"}],
        "authorities": [{"static": {"action": "pass"}}],
        "policy": rule,
    }
    async with serving() as webhook:
        webhook.policies.set(engines=engines, account=spec)
        for account, allowed in (("robot", True), ("other", False), ("robot", True)):
            target = pod("registry.invalid/nowhere:1", serviceAccountName=account)
            answer = await webhook.send(review(target))
            assert answer["allowed"] is allowed, answer
        assert webhook.verifier.reads == 0


async def test_every_platform_of_an_index_is_told(host, engines):
    both = [await push_signed(host, "platforms", tag, KEY) for tag in ("a", "b")]
    index = await push_index(host, "platforms", "both", *both)
    text = "size(config) == 1 && config['linux/amd64'].os == 'linux'"
    async with serving(for_tests(host)) as webhook:
        # Both say amd64 of themselves, whatever the index says of them.
        webhook.policies.set(
            engines=engines,
            p={
                "images": [{"glob": "**"}],
                "authorities": [{"static": {"action": "pass"}}],
                "policy": {"type": "cel", "data": text, "fetchConfigFile": True},
            },
        )
        answer = await webhook.admit(index)
        assert answer["allowed"], answer


async def test_a_policy_with_rules_is_tried_without_a_cluster(host, tmp_path, monkeypatch):
    image = await push_signed(host, "tried", "1", KEY)
    folders = os.pathsep.join(str(tool(name).parent) for name in ("opa", "cue"))
    monkeypatch.setenv("PATH", folders)
    text = "package sigstore\nisCompliant { input.spec.serviceAccountName == `robot` }"
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "plimsoll.dev/v1alpha1",
                "kind": "ClusterImagePolicy",
                "metadata": {"name": "p"},
                "spec": ruled("rego", text, includeSpec=True),
            }
        )
    )
    resource = tmp_path / "pod.yaml"
    resource.write_text(yaml.safe_dump(pod(image, serviceAccountName="robot")))

    def tried(*options):
        arguments = ["policy", "test", "--policy", str(policy), "--image", image, *options]
        done = CliRunner().invoke(cli, arguments)
        return done.exit_code, done.output

    code, said = await asyncio.to_thread(tried, "--explain")
    assert code == 1
    assert '✗ policy "p" (enforce): fails' in said
    assert "✓ signature by key" in said
    assert "✗ policy (rego): isCompliant is not true" in said
    code, said = await asyncio.to_thread(tried, "--resource", str(resource), "--explain")
    assert code == 0, said
    assert "✓ policy (rego): is satisfied" in said
    resource.write_text("kind: Service\napiVersion: v1\n")
    code, said = await asyncio.to_thread(tried, "--resource", str(resource))
    assert code == 2
    assert "no kind that this webhook knows" in said
