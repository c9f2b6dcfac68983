from __future__ import annotations

import base64
import json

import pytest

from plimsoll.webhook.admission import read
from plimsoll.webhook.answers import answer
from plimsoll.webhook.decide import Decision
from plimsoll.webhook.evaluate import PolicyVerdict
from plimsoll.webhook.pin import patch
from webhooks import pod, review

DIGEST = f"sha256:{'0' * 64}"


def _answered(*args, **kwargs):
    document = json.loads(answer("u", *args, **kwargs))
    assert document["apiVersion"] == "admission.k8s.io/v1"
    assert document["kind"] == "AdmissionReview"
    assert document["response"].pop("uid") == "u"
    return document["response"]


def test_an_answer_says_why():
    verdict = PolicyVerdict("p", "plimsoll.dev", enforce=True, passed=False, reason="no key")
    decision = Decision(
        allowed=False,
        refusals=("ä", "b"),
        warnings=("w", "x" * 300),
        digests=(("app:1", DIGEST),),
        verdicts=(verdict,),
    )
    assert _answered(decision) == {
        "allowed": False,
        "status": {"code": 403, "reason": "Forbidden", "message": "ä\nb"},
        "warnings": ["w", "x" * 255 + "…"],
        "auditAnnotations": {
            "verdict": "denied",
            "images": f"app:1={DIGEST}",
            "policies": "p",
            "failures": "p: no key",
        },
    }


def test_an_answer_that_allows():
    assert _answered(Decision(allowed=True)) == {
        "allowed": True,
        "auditAnnotations": {"verdict": "allowed"},
    }


def test_what_was_not_decided_is_told_apart_in_the_audit_log():
    decision = Decision(allowed=False, refusals=("x",), undecided=True)
    assert _answered(decision)["auditAnnotations"] == {"verdict": "undecided"}


def test_an_answer_is_never_too_long():
    refusals = tuple(f"image {number} {'x' * 90}" for number in range(1000))
    decision = Decision(
        allowed=False, refusals=refusals, digests=tuple((line, DIGEST) for line in refusals)
    )
    response = _answered(decision, [])
    lines = response["status"]["message"].splitlines()
    assert lines[0] == refusals[0]
    assert lines[-1] == f"and {1000 - len(lines) + 1} more; the webhook's log has all of them"
    assert len(json.dumps(response)) < 30_000
    assert len(_answered(Decision(allowed=False, refusals=("y" * 50_000,)))["status"]["message"])


def _pinned(target, decision=None, **fields):
    asked = read(review(target, **fields))
    chosen = decision or Decision(
        allowed=True, digests=tuple((use.image, DIGEST) for use in asked.images)
    )
    return patch(asked, chosen)


def test_images_get_the_digest_that_was_judged():
    target = pod("app:1", f"other@{DIGEST}", "plain")
    target["spec"]["volumes"] = [{"name": "v", "image": {"reference": "data:2"}}]
    changes = _pinned(target)
    assert changes == [
        {"op": "replace", "path": "/spec/containers/0/image", "value": f"app:1@{DIGEST}"},
        {"op": "replace", "path": "/spec/containers/2/image", "value": f"plain@{DIGEST}"},
        {"op": "replace", "path": "/spec/volumes/0/image/reference", "value": f"data:2@{DIGEST}"},
    ]
    response = _answered(Decision(allowed=True), changes)
    assert response["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(response["patch"])) == changes


def test_nothing_is_changed_twice_or_without_a_verdict():
    assert not _pinned(pod(f"app:1@{DIGEST}"))
    assert not _pinned(pod("app:1"), Decision(allowed=True))
    refused = Decision(allowed=False, refusals=("x",), digests=(("app:1", DIGEST),))
    assert not _pinned(pod("app:1"), refused)
    workload = {"apiVersion": "apps/v1", "kind": "Deployment"}
    workload["spec"] = {"template": {"spec": {"containers": [{"name": "c", "image": "app:1"}]}}}
    assert not _pinned(workload)


@pytest.mark.parametrize("running", [True, False])
def test_an_ephemeral_container_that_runs_stays_as_it_is(running):
    before, after = pod("app:1"), pod("app:1")
    ephemeral = {"name": "e", "image": "debug:1"}
    after["spec"]["ephemeralContainers"] = [ephemeral]
    if running:
        before["spec"]["ephemeralContainers"] = [ephemeral]
    changes = _pinned(
        after, operation="UPDATE", subResource="ephemeralcontainers", oldObject=before
    )
    assert [change["path"] for change in changes] == (
        [] if running else ["/spec/ephemeralContainers/0/image"]
    )
