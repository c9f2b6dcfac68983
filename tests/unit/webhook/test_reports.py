from __future__ import annotations

import pytest

from plimsoll.webhook.reports import (
    KINDS,
    MAX_RESULTS,
    Row,
    Workload,
    failures,
    name_of,
    report,
)

OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-1", "uid": "u-1"}
WORKLOAD = Workload("team", "apps/v1", "ReplicaSet", "app-1", "u-1")
PASS, FAIL = Row("p", "a@sha256:1", "pass"), Row("p", "b@sha256:2", "fail", "no signature")


def made(rows, old=None, seconds=100, kind=KINDS[0]):
    return report(kind, WORKLOAD, rows, old, seconds)


def stored(body):
    return {**body, "metadata": {**body["metadata"], "resourceVersion": "7"}}


def test_a_report_is_about_the_controller_of_pods():
    pod = {"metadata": {"namespace": "team", "name": "app-1-x", "uid": "p"}}
    assert Workload.of_pod(pod) == Workload("team", "v1", "Pod", "app-1-x", "p")
    pod["metadata"]["ownerReferences"] = [{**OWNER, "kind": "Node"}]
    assert Workload.of_pod(pod).kind == "Pod"
    pod["metadata"]["ownerReferences"].append({**OWNER, "controller": True})
    assert Workload.of_pod(pod) == WORKLOAD


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.group)
def test_a_report_says_what_was_found(kind):
    body = made([PASS, FAIL], kind=kind)
    assert body["apiVersion"] == f"{kind.group}/{kind.version}"
    assert body["kind"] == kind.kind
    assert body["metadata"]["name"] == name_of(WORKLOAD) == "plimsoll-u-1"
    assert body["metadata"]["ownerReferences"] == [OWNER]
    assert body["scope"] == {**OWNER, "namespace": "team"}
    assert body["summary"] == {"pass": 1, "fail": 1, "warn": 0, "error": 0, "skip": 0}
    first = body["results"][0]
    assert first["result"] == "fail"
    assert first["severity"] == "high"
    assert first["message"] == "no signature"
    assert first["properties"] == {"image": "b@sha256:2"}
    assert first["timestamp"] == {"seconds": 100, "nanos": 0}
    assert failures(body) == {("p", "b@sha256:2")}


def test_what_says_the_same_is_not_written_again():
    old = stored(made([PASS, FAIL]))
    assert made([FAIL, PASS, PASS], old, 200) is None


def test_what_stays_keeps_its_time():
    old = stored(made([PASS, FAIL]))
    body = made([PASS, Row("q", "a@sha256:1", "warn", "x"), FAIL], old, 200)
    assert body["metadata"]["resourceVersion"] == "7"
    times = {(one["policy"], one["result"]): one["timestamp"] for one in body["results"]}
    assert {key: value["seconds"] for key, value in times.items()} == {
        ("p", "fail"): 100,
        ("q", "warn"): 200,
        ("p", "pass"): 100,
    }


def test_a_report_is_bounded_and_keeps_what_matters():
    rows = [Row(f"p{n}", "a", "pass") for n in range(2 * MAX_RESULTS)]
    rows += [Row("last", "z", "fail", "m" * 10_000)]
    body = made(rows)
    assert len(body["results"]) == MAX_RESULTS
    assert body["results"][0]["policy"] == "last"
    assert len(body["results"][0]["message"]) == 500
    assert body["summary"]["pass"] == 2 * MAX_RESULTS
    assert made(rows, stored(body), 200) is None


def test_nothing_is_known_of_a_report_that_is_not_there_or_is_not_ours():
    assert failures(None) == set()
    assert failures({"results": [{"result": "fail"}]}) == {("", "")}
    assert failures({"results": None}) == set()
