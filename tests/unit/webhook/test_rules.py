"""Rules in CEL, and what bounds the process of any rule."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from plimsoll.signing.results import (
    Identity,
    Verdict,
    VerifiedAttestation,
    VerifiedSignature,
)
from plimsoll.signing.statement import build_statement
from plimsoll.webhook import outcomes
from plimsoll.webhook.authorities import Secrets
from plimsoll.webhook.evaluate import evaluate, examine
from plimsoll.webhook.explain import explain
from plimsoll.webhook.needs import needs_of
from plimsoll.webhook.policies import compile_policy
from plimsoll.webhook.rules import engines as module
from plimsoll.webhook.rules.document import Surroundings, object_fingerprint
from plimsoll.webhook.rules.engines import DOCUMENT_LIMIT, Engines
from plimsoll.webhook.rules.process import EngineError, run
from plimsoll.webhook.rules.text import RemoteText, Texts

KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOz9FcbJM/oOkC26Wfo9paG2tYGBL
usDLHze93DzgLaAPDsyJrygpVnL9M6SOyfyXEsjpBTUu6uFZqHua8hwAlA==
-----END PUBLIC KEY-----
"""
ENGINES = Engines()
DIGEST = f"sha256:{'1' * 64}"
KIND = "https://example.org/review/v1"
WHO = Identity(kind="key", id="f" * 64)


def authority(rule=None, **fields):
    attestation = {"name": "review", "predicateType": KIND}
    if rule is not None:
        attestation["policy"] = rule
    return {"name": "ci", "key": {"data": KEY}, "attestations": [attestation], **fields}


def spec(*authorities, **fields):
    return {"images": [{"glob": "**"}], "authorities": list(authorities), **fields}


def compiled(body, **options):
    options = {"engines": ENGINES, "texts": Texts("plimsoll-system"), **options}
    return compile_policy("p", body, Secrets("plimsoll-system", {}), **options)


def attested(predicate, source="here", kind=KIND):
    return VerifiedAttestation(
        identity=WHO,
        digest=DIGEST,
        predicate_type=kind,
        predicate=predicate,
        source=source,
        payload=build_statement(DIGEST, kind, predicate),
    )


def proven(*attestations, signed=0):
    one = VerifiedSignature(identity=WHO, digest=DIGEST, source="there")
    return {"ci": Verdict(digest=DIGEST, attestations=attestations, signatures=(one,) * signed)}


# --- CEL ------------------------------------------------------------------------------------------

DOCUMENT = json.dumps({"_type": "t", "predicate": {"n": 3, "l": [{"name": "a"}, {}]}}).encode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("predicate.n == 3 && _type == 't'", ""),
        ("input.predicate.n > 2", ""),
        ("predicate.l.exists(x, has(x.name) && x.name.matches('^[a-c]$'))", ""),
        ("predicate.n == 4", "it is false"),
        ("predicate.l.all(x, has(x.name))", "it is false"),
        ("predicate.n", "it gives int, not true"),
        ("'true'", "it gives str, not true"),
        ("predicate.absent == 1", "it cannot be evaluated"),
        ("absent == 1", "it cannot be evaluated"),
        ("predicate.n.startsWith('x')", "it cannot be evaluated"),
        ("1 +", "it is no CEL"),
        ("(" * 100_000, "could not be evaluated"),
        ("[" * 5000, "no CEL"),
    ],
)
def test_an_expression_holds_or_says_why_not(text, reason):
    found = ENGINES.judge("cel", text, DOCUMENT)
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"null", b"\xff", b'{"a":1e999}'])
def test_what_is_no_document_satisfies_nothing(document):
    assert ENGINES.judge("cel", "predicate.n == 3", document)


def test_a_document_has_a_limit():
    assert "more than a rule" in ENGINES.judge("cel", "true", b" " * (DOCUMENT_LIMIT + 1))


@pytest.mark.parametrize("language", ["rego", "cue"])
def test_a_language_that_is_not_there_refuses(language):
    assert "not in this image" in ENGINES.lack(language)
    assert "not in this image" in ENGINES.judge(language, "x", b"{}")
    policy = compiled(spec(authority({"type": language, "data": "x"})))
    assert "spec.authorities[0].attestations[0].policy.type: rules in" in policy.fault
    assert not evaluate(policy, proven(attested({"n": 3}))).passed


# --- bounds ---------------------------------------------------------------------------------------


def python(code, seconds=60.0):
    return run([sys.executable, "-I", "-S", "-c", code], b"given", seconds)


def test_time_is_bounded():
    with pytest.raises(EngineError, match="longer than 0"):
        python("while True: pass", 0.3)


def test_memory_is_bounded():
    ended = python("x = bytearray(2 << 30)")
    assert ended.status
    assert "MemoryError" in ended.errors


def test_what_is_said_is_bounded():
    with pytest.raises(EngineError, match="said too much"):
        python(
            "import os, signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
            "while True: os.write(1, b'x' * 65536)"
        )


def test_the_environment_says_nothing(monkeypatch):
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    said = python("import os, sys; print(dict(os.environ)); print(sys.stdin.read())").output
    assert b"SECRET_OF_OURS" not in said
    assert b"given" in said


def test_a_program_that_is_none_is_an_error():
    with pytest.raises(EngineError, match="cannot be started"):
        run(["/nonexistent"], b"", 1.0)
    assert "cannot be started" in Engines(opa=Path("/nonexistent")).judge("rego", "x", b"{}")


def test_a_rule_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.3)
    endless = "[1,2,3,4,5,6,7,8,9]"
    for name in "abcdefghi":
        endless = f"[1,2,3,4,5,6,7,8,9].map({name}, {endless})"
    assert "longer than 0.3 s" in ENGINES.judge("cel", f"{endless}.size() == 9", b"{}")


# --- in policies ----------------------------------------------------------------------------------


def cel(text, **fields):
    return {"type": "cel", "data": text, **fields}


def test_an_attestation_must_satisfy_its_rule():
    policy = compiled(spec(authority(cel("predicate.n == 3 && predicateType == '" + KIND + "'"))))
    assert not policy.fault
    assert evaluate(policy, proven(attested({"n": 3}))).passed
    assert evaluate(policy, proven(attested({"n": 2}), attested({"n": 3}))).passed, "any will do"
    refused = evaluate(policy, proven(attested({"n": 2})))
    assert not refused.passed
    assert 'attestation "review"' in refused.reason
    assert "does not satisfy its rule: it is false" in refused.reason
    assert "found none" in evaluate(policy, proven()).reason
    other = attested({"n": 3}, kind="https://example.org/other")
    assert not evaluate(policy, proven(other)).passed, "another type satisfies nothing"


class Counting:
    """Counts what it is asked, and takes its time."""

    def __init__(self, seconds=0.0, answer="no"):
        self.asked, self.seconds, self.answer = 0, seconds, answer

    def lack(self, _):
        return ""

    def check(self, _, __):
        return ""

    def judge(self, *_):
        self.asked += 1
        time.sleep(self.seconds)
        return self.answer


def test_rules_are_asked_no_longer_than_needed(monkeypatch):
    ten = [attested({"n": number}) for number in range(10)]
    enough = Counting(answer="")
    assert evaluate(compiled(spec(authority(cel("x"))), engines=enough), proven(*ten)).passed
    assert enough.asked == 1
    every = Counting(answer="")
    both = spec(authority(cel("x")), policy=cel("y"))
    assert evaluate(compiled(both, engines=every), proven(*ten)).passed
    assert every.asked == 11, "the policy's own rule may count them"
    monkeypatch.setattr(outcomes, "RULE_SECONDS", 0.1)
    slow = Counting(seconds=0.06)
    refused = evaluate(compiled(spec(authority(cel("x"))), engines=slow), proven(*ten))
    assert not refused.passed
    assert "took too long" in refused.reason
    assert slow.asked <= 3


def test_a_predicate_that_is_json_in_a_text_is_decoded():
    policy = compiled(spec(authority(cel("predicate.n == 3"))))
    one = VerifiedAttestation(
        identity=WHO,
        digest=DIGEST,
        predicate_type=KIND,
        predicate={"n": 3},
        payload=build_statement(DIGEST, KIND, '{"n": 3}'),
    )
    assert evaluate(policy, proven(one)).passed


def test_a_policy_is_asked_about_what_all_authorities_found():
    text = (
        "size(authorityMatches.ci.attestations.review) == 1 && "
        "authorityMatches.ci.attestations.review[0].predicateType == '" + KIND + "' && "
        "authorityMatches.always.static"
    )
    always = {"name": "always", "static": {"action": "pass"}}
    never = {"name": "never", "static": {"action": "fail"}}
    policy = compiled(spec(authority(), always, never, policy=cel(text)))
    assert evaluate(policy, proven(attested({"n": 3}))).passed
    two = evaluate(policy, proven(attested({"n": 3}), attested({"n": 4})))
    assert two.reason == "its rule is not satisfied: it is false"
    absent = compiled(spec(always, policy=cel("!('never' in authorityMatches)")))
    assert evaluate(absent, {}).passed


def test_signatures_are_told_with_who_made_them():
    who = Identity(
        kind="certificate",
        id="i#s",
        subject="s",
        issuer="i",
        claims={"githubWorkflowRef": "refs/heads/main"},
    )
    signature = VerifiedSignature(identity=who, digest=DIGEST, source="x")
    text = (
        "authorityMatches.ci.signatures.all(s, s.subject == 's' && s.issuer == 'i' && "
        "s.githubWorkflowRef == 'refs/heads/main' && s.id == 'x')"
    )
    policy = compiled(spec({"name": "ci", "key": {"data": KEY}}, policy=cel(text)))
    verdict = Verdict(digest=DIGEST, signatures=(signature,))
    assert evaluate(policy, {"ci": verdict}).passed


OBJECT = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"labels": {"team": "a"}},
    "spec": {"serviceAccountName": "robot"},
}
PASS = {"static": {"action": "pass"}}


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("includeSpec", "spec.serviceAccountName == 'robot'"),
        ("includeObjectMeta", "metadata.labels.team == 'a'"),
        ("includeTypeMeta", "typemeta.kind == 'Pod' && typemeta.apiVersion == 'v1'"),
        ("fetchConfigFile", "config['linux/amd64'].config.User == '65532'"),
    ],
)
def test_a_policy_is_told_only_what_it_asks_for(field, text):
    around = Surroundings({"linux/amd64": {"config": {"User": "65532"}}}, OBJECT)
    asks = compiled(spec(PASS, policy=cel(text, **{field: True})))
    assert evaluate(asks, {}, surroundings=around).passed
    silent = compiled(spec(PASS, policy=cel(text)))
    assert not evaluate(silent, {}, surroundings=around).passed
    other = Surroundings({"linux/amd64": {"config": {"User": "0"}}}, {"spec": {}, "metadata": {}})
    assert not evaluate(asks, {}, surroundings=other).passed


def test_a_verdict_rests_on_what_the_rule_is_told():
    rule = compiled(spec(PASS, policy=cel("true", includeSpec=True))).rule
    others = [OBJECT, {**OBJECT, "spec": {}}, {**OBJECT, "metadata": {}}]
    assert len({object_fingerprint(rule, one) for one in others}) == 2
    silent = compiled(spec(PASS, policy=cel("true"))).rule
    assert {object_fingerprint(silent, one) for one in others} == {""}


@pytest.mark.parametrize(
    ("rule", "texts", "fault"),
    [
        ({"type": "cel", "data": "1 +"}, {}, "spec.policy: it is no rule in cel"),
        (
            {"type": "cel", "configMapRef": {"name": "rules", "key": "a"}},
            {"config_maps": {"rules": {"a": "true"}}},
            "",
        ),
        (
            {"type": "cel", "configMapRef": {"name": "rules", "key": "b"}},
            {"config_maps": {"rules": {"a": "true"}}},
            "has no entry b",
        ),
        ({"type": "cel", "configMapRef": {"name": "x", "key": "b"}}, {}, "does not exist"),
        (
            {"type": "cel", "configMapRef": {"name": "x", "key": "b", "namespace": "other"}},
            {"config_maps": {"x": {"b": "true"}}},
            "only ConfigMaps of namespace plimsoll-system are read",
        ),
        (
            {"type": "cel", "remote": {"url": "https://a.example/r", "sha256sum": "a" * 64}},
            {"remote": {"a" * 64: RemoteText("true")}},
            "",
        ),
        (
            {"type": "cel", "remote": {"url": "https://a.example/r", "sha256sum": "a" * 64}},
            {"remote": {"a" * 64: RemoteText(fault="a.example does not answer")}},
            "spec.policy.remote: a.example does not answer",
        ),
        (
            {"type": "cel", "remote": {"url": "https://a.example/r", "sha256sum": "a" * 64}},
            {},
            "not fetched yet",
        ),
    ],
)
def test_where_a_rule_stands(rule, texts, fault):
    policy = compiled(spec(PASS, policy=rule), texts=Texts("plimsoll-system", **texts))
    assert fault in policy.fault
    assert bool(policy.fault) == bool(fault)


def test_what_a_policy_takes_from_elsewhere():
    remote = {"url": "https://a.example/r", "sha256sum": "a" * 64}
    body = spec(
        authority({"type": "cel", "configMapRef": {"name": "m", "key": "k"}}),
        {"key": {"kms": "hashivault://k"}},
        policy={"type": "cel", "remote": remote},
    )
    needs = needs_of(body)
    assert needs.config_maps == {"m"}
    assert needs.remote == {("https://a.example/r", "a" * 64)}
    assert needs.kms == {"hashivault://k"}
    assert "not asked for" in compiled(body).fault


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("configMapRef", {"name": "m", "key": "k"}),
        ("remote", {"url": "https://a.example/r", "sha256sum": "a" * 64}),
    ],
)
def test_a_namespace_brings_its_own_rules_only(field, value):
    texts = Texts("plimsoll-system", {"m": {"k": "true"}}, {"a" * 64: RemoteText("true")})
    rule = {"type": "cel", field: value}
    policy = compiled(spec(PASS, policy=rule), namespace="team", texts=texts)
    assert f"spec.policy.{field} is not" in policy.fault
    inline = compiled(spec(PASS, policy=cel("true")), namespace="team")
    assert not inline.fault


def test_a_key_of_a_service_is_not_asked_for_a_namespace():
    policy = compiled(spec({"key": {"kms": "hashivault://k"}}), namespace="team")
    assert "key.kms is not asked for a namespace" in policy.fault


# --- why ------------------------------------------------------------------------------------------


def test_the_tree_says_what_was_tried():
    policy = compiled(spec(authority(cel("predicate.n == 3")), policy=cel("false")))
    bad, good = attested({"n": 2}, "a"), attested({"n": 3}, "b")
    refused = list(explain("img", [examine(policy, proven(bad))]))
    assert refused[0] == "image img"
    assert refused[1] == '└─ ✗ policy "p" (enforce): fails'
    assert '   ├─ ✗ authority "ci" (keys): does not vouch' in refused
    assert any("a: it is false" in line for line in refused)
    assert refused[-1] == "   └─ policy (cel): not asked, as something else is missing"
    judged = list(explain("img", [examine(policy, proven(bad, good))]))
    assert '   ├─ ✓ authority "ci" (keys): vouches' in judged
    assert judged[-1] == "   └─ ✗ policy (cel): it is false"


def test_the_tree_of_a_policy_that_cannot_be_honoured():
    policy = compiled(spec(authority({"type": "rego", "data": "x"})))
    lines = list(explain("img", [examine(policy, proven(attested({"n": 3})))]))
    assert "cannot be honoured" in lines[-1]
    assert list(explain("img", [])) == ["image img", "└─ no policy matches"]


def test_nothing_of_strangers_steers_a_terminal():
    one = attested({"n": 3}, "x\x1b[31m\ny")
    policy = compiled(spec(authority(cel("false"))))
    text = "\n".join(explain("img", [examine(policy, proven(one))]))
    assert "\x1b" not in text
