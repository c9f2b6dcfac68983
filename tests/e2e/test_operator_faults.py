"""The operator on the real cluster when things go wrong: it says what to change, loses nothing."""

from __future__ import annotations

import json
import shutil

import pytest

from scenario.shell import wait_for
from scenario.world import secret

pytestmark = pytest.mark.e2e


def test_a_package_that_does_not_exist(team):
    team.build["spec"]["image"]["contents"]["packages"] = ["base-files", "pyhton3"]
    team.apply(team.repo, team.build)
    body = team.until("Stalled", "True", "pyhton3", "python3")
    assert team.condition("Ready", body)["status"] == "False"
    team.build["spec"]["image"]["contents"]["packages"] = ["base-files", "python3"]
    team.apply(team.build)
    assert team.ready()["status"]["build"]["number"] == 2


def test_a_missing_secret_is_named_and_waited_for(team):
    team.build["spec"]["output"]["pushSecret"] = {"name": "push"}
    team.apply(team.repo, team.build)
    team.until("Reconciling", "True", "push", "not found")
    login = json.dumps({"auths": {}})
    text = secret(
        "push", team.namespace, {".dockerconfigjson": login}, "kubernetes.io/dockerconfigjson"
    )
    team.world.kubectl("apply", "-f", "-", stdin=text)
    assert team.ready()["status"]["build"]["number"] == 1


def test_no_node_for_the_jobs(team):
    team.build["spec"]["job"] = {"nodeSelector": {"pool": "none"}}
    team.apply(team.repo, team.build)
    team.until("Reconciling", "True", "no node takes its pod")
    team.build["spec"]["job"] = {"nodeSelector": None}
    team.apply(team.build)
    assert team.ready()["status"]["history"][1]["state"] == "Cancelled"


def test_too_little_memory(team):
    team.build["spec"]["job"] = {"resources": {"limits": {"memory": "40Mi"}}}
    team.apply(team.repo, team.build)
    team.until("Stalled", "True", "memory", seconds=240)


def test_a_registry_that_is_not_there(team):
    team.build["spec"]["output"]["repository"] = f"{team.world.registry[:-4]}1/team/hello"
    team.apply(team.repo, team.build)
    body = team.until("Reconciling", "True", "tried again at", seconds=240)
    assert body["status"]["build"]["failure"]["retryable"] is True
    assert body["status"]["failures"] == 1


def test_an_image_by_hand_and_by_annotation(team):
    team.apply(team.repo, team.build)
    first = team.ready()
    team.world.kubectl(
        "annotate", "ib", "hello", "-n", team.namespace, "plimsoll.dev/requested-at=now"
    )

    def answered():
        body = team.get()
        done = body["status"]["build"]["number"] == 2 and "finishedAt" in body["status"]["build"]
        return body if done else None

    second = wait_for("the second build", answered, seconds=180)
    assert second["status"]["lastHandledReconcileAt"] == "now"
    assert second["status"]["build"]["state"] == "Succeeded"
    images = [
        {a["arch"]: a["digest"] for a in body["status"]["architectures"]}
        for body in (first, second)
    ]
    assert images[0] == images[1], "the same inputs make the same image"
    assert len(set(second["status"]["tags"]) - set(first["status"]["tags"])) == 1


def test_a_claim_keeps_verified_packages(team, cluster, request):
    node = team.world.get("nodes")["items"][0]["metadata"]["labels"]["kubernetes.io/hostname"]
    folder = cluster.layout.state / team.namespace
    folder.mkdir()
    request.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
    terms = [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]
    shared = {"accessModes": ["ReadWriteMany"], "storageClassName": "none"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": team.namespace},
        "spec": {
            **shared,
            "capacity": {"storage": "1Gi"},
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": terms}]}},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "cache"},
        "spec": {
            **shared,
            "volumeName": team.namespace,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    team.build["spec"]["job"] = {"cacheClaim": {"name": "cache"}}
    team.apply(volume, claim, team.repo, team.build)
    request.addfinalizer(lambda: team.world.kubectl("delete", "pv", team.namespace, "--wait=false"))
    team.ready()
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) > 1_000_000


def test_the_operators_pod_goes_and_comes_back(team):
    team.apply(team.repo, team.build)
    wait_for(
        "the first Job",
        lambda: team.world.get("jobs", "-n", team.namespace)["items"],
        seconds=60,
    )
    selector = "app.kubernetes.io/component=operator"
    team.world.kubectl("delete", "pod", "-A", "-l", selector, "--wait=false", "--grace-period=1")
    body = team.ready()
    assert body["status"]["build"]["number"] == 1
    assert len(team.world.get("jobs", "-n", team.namespace)["items"]) == 4
