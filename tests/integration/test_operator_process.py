"""The operator as a process against a real API server and a real Job controller.

There is no node: a test plays the kubelet and writes what the steps would leave in the pods.
Everything else is as in a cluster, with the rights that the operator needs and no others.
"""

import asyncio
import contextlib
import json
import signal
import socket
import threading
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from apiserver import control_plane, until
from operator_process import Pods, rights, running_operator
from plimsoll.api.steps import (
    AssembleResult,
    PlanResult,
    PromoteResult,
    SealResult,
    StepFailure,
    VariantPlan,
    dump,
)
from plimsoll.apk.index import IndexEntry
from plimsoll.apk.keys import SigningKey
from plimsoll.apk.writer import write_index
from plimsoll.http import Http
from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.kube.paths import path
from plimsoll.operator.carrier import Carrier
from plimsoll.operator.controller import ImageBuildController
from plimsoll.operator.faults import Faults
from plimsoll.operator.follow import Follower, Inspector
from plimsoll.operator.manager import Manager
from plimsoll.operator.metrics import Metrics
from plimsoll.operator.packagecontroller import PackageBuilder
from plimsoll.operator.recorder import Recorder
from plimsoll.operator.repositories import PackageRepoController
from plimsoll.operator.settings import JobSettings
from plimsoll.operator.slots import Slots
from plimsoll.operator.workqueue import Key

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("control-plane")]


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    with control_plane(tmp_path_factory.mktemp("plane"), users=["operator", "local"]) as plane:
        plane.kubectl("apply", "-f", str(ROOT / "crds"))
        plane.kubectl("apply", "-f", "-", stdin=rights())
        yield plane


class Packages:
    """A served APK repository whose index a test changes."""

    def __init__(self, folder, url):
        self.folder, self.url = folder, url
        self.key = SigningKey.generate("test.rsa.pub", bits=2048)

    def publish(self, *names, key=None):
        entries = [IndexEntry(name=name, version="1-r0", checksum=b"0" * 20) for name in names]
        for arch in ("x86_64", "aarch64"):
            target = self.folder / arch / "APKINDEX.tar.gz"
            target.parent.mkdir(exist_ok=True)
            fresh = target.with_suffix(".new")
            fresh.write_bytes(write_index(entries, "test", key or self.key))
            fresh.rename(target)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def packages(tmp_path):
    folder = tmp_path / "packages"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        served = Packages(folder, f"http://127.0.0.1:{server.server_port}")
        served.publish("python3")
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def operator(plane, tmp_path, unused_port):
    with running_operator(plane, tmp_path / "operator.log", unused_port) as operator:
        yield operator


@pytest.fixture
def unused_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


RESULTS = {
    "plan": lambda arch, version: PlanResult(
        inputs_hash=f"i{version}",
        unchanged=False,
        lock=f"sha256:l{version}",
        packages=3,
        tags=["latest"],
        variants=[
            VariantPlan(name="dev", lock=f"sha256:v{version}", packages=4, tags=["latest-dev"])
        ],
    ),
    "rescan": lambda arch, version: SealResult(digest="sha256:d", signed=True, attestations=[]),
    "assemble": lambda arch, version: AssembleResult(
        arch=arch, digest=f"sha256:{arch}{version}", size=1, sbom="sha256:s"
    ),
    "seal": lambda arch, version: SealResult(
        digest=f"sha256:d{version}", signed=True, attestations=[]
    ),
    "promote": lambda arch, version: PromoteResult(tags=["latest"]),
}
RESULTS["verify"] = RESULTS["assemble"]


class Kubelet(Pods):
    """Ends pods as the steps in them would."""

    def end(self, pod, result, code=0):
        super().end(pod, dump(result).decode(), code)

    def succeed(self, pod, version=1):
        labels = pod["metadata"]["labels"]
        step = labels["plimsoll.dev/step"]
        if step == "test":
            super().end(pod, "Python 3.14\n")
            return
        which = f"{version}{labels.get('plimsoll.dev/variant', '')}"
        self.end(pod, RESULTS[step](labels.get("plimsoll.dev/arch", ""), which))


@pytest.fixture
def namespace(plane, request):
    name = f"t{abs(hash(request.node.name)) % 10**8}"
    plane.kubectl("create", "namespace", name)
    until(
        lambda: plane.kubectl("get", "sa", "default", "-n", name, check=False).returncode == 0, name
    )
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def kubelet(plane, namespace):
    return Kubelet(plane, namespace)


@pytest.fixture
def team(plane, namespace, packages):
    """An ImageBuild with its PackageRepo."""
    repo = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "PackageRepo",
        "metadata": {"name": "base", "namespace": namespace},
        "spec": {
            "upstream": {
                "url": packages.url,
                "keys": [{"name": "test.rsa.pub", "data": packages.key.public_pem().decode()}],
                "refreshInterval": "10s",
            }
        },
    }
    build = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": "app", "namespace": namespace},
        "spec": {
            "image": {"contents": {"packages": ["python3"]}},
            "repositories": [{"name": "base"}],
            "output": {"repository": "registry.example/app"},
            "signing": {"keySecret": {"name": "cosign"}},
            "job": {"resources": {"limits": {"memory": "1Gi"}}},
        },
    }
    for body in (build, repo):
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    return namespace


def image_build(plane, namespace):
    return plane.get("ib", "app", "-n", namespace)


def condition(body, kind):
    for found in body.get("status", {}).get("conditions", []):
        if found["type"] == kind:
            return found
    return {"status": "", "reason": "", "message": ""}


def has(plane, namespace, kind, status, reason=None):
    found = condition(image_build(plane, namespace), kind)
    return found["status"] == status and reason in {None, found["reason"]}


def jobs(plane, namespace):
    items = plane.get("jobs", "-n", namespace)["items"]
    return {job["metadata"]["name"]: job for job in items}


def run_to_the_end(plane, namespace, kubelet, version=1):
    def step():
        for pod in kubelet.pods():
            kubelet.succeed(pod, version)
        return has(plane, namespace, "Ready", "True") and has(
            plane, namespace, "Reconciling", "False"
        )

    until(step, "Ready")


def event_reasons(plane, namespace):
    events = plane.get("events", "-n", namespace)["items"]
    return {
        event["reason"] for event in events if event["involvedObject"]["name"] in {"app", "base"}
    }


def fetch(operator, what):
    """What a probe answers; empty as long as nobody does."""
    with contextlib.suppress(OSError):
        url = f"http://127.0.0.1:{operator.port}/{what}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    return ""


def test_from_apply_to_ready(plane, operator, team, kubelet):
    run_to_the_end(plane, team, kubelet)
    body = image_build(plane, team)
    assert body["status"]["image"] == "registry.example/app@sha256:d1"
    assert body["status"]["observedGeneration"] == 1
    assert [a["arch"] for a in body["status"]["architectures"]] == ["amd64", "arm64"]
    made = jobs(plane, team)
    assert [name.split("-", 3)[3] for name in sorted(made)] == [
        "assemble-amd64",
        "assemble-arm64",
        "plan",
        "promote",
        "seal",
    ]
    owner = made[min(made)]["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["controller"]) == ("ImageBuild", True)
    repo = plane.get("prepo", "base", "-n", team)
    assert condition(repo, "IndexVerified")["status"] == "True"
    assert repo["status"]["packages"] == 2
    assert {"BuildStarted", "BuildSucceeded", "IndexChanged"} <= event_reasons(plane, team)
    assert "finalizers" not in body["metadata"]
    assert not [k for k in body["metadata"].get("annotations", {}) if "kopf" in k]


def test_variants_and_tests_before_any_tag_moves(plane, operator, team, kubelet):
    edit = {
        "spec": {
            "archs": ["amd64"],
            "variants": [
                {"name": "dev", "packages": ["bash"], "overrides": {"work-dir": "/src"}},
            ],
            "tests": [
                {"name": "version", "command": ["python3", "--version"]},
                {"name": "shell", "command": ["bash", "-c", "true"], "variants": ["dev"]},
            ],
            "verifyReproducible": True,
            "scan": {"databases": ["https://packages.example/security.json"]},
        }
    }
    plane.kubectl("patch", "ib", "app", "-n", team, "--type=merge", "-p", json.dumps(edit))

    def first_of(step):
        def found():
            for pod in kubelet.pods():
                if pod["metadata"]["labels"]["plimsoll.dev/step"] == step:
                    return pod
                kubelet.succeed(pod)
            return None

        return until(found, f"the pod of {step}")

    pod = first_of("test")
    policy = plane.get("networkpolicy", "-n", team)["items"][0]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    run_to_the_end(plane, team, kubelet)
    status = image_build(plane, team)["status"]
    (dev,) = status["variants"]
    assert (dev["name"], dev["digest"]) == ("dev", "sha256:d1dev")
    assert status["digest"] == "sha256:d1"
    made = [name.split("-", 3)[3] for name in jobs(plane, team)]
    steps = ["assemble-amd64", "promote", "seal", "test-amd64", "verify-amd64"]
    variants = ["assemble-v1-amd64", "promote-v1", "seal-v1", "test-v1-amd64", "verify-v1-amd64"]
    assert sorted(made) == sorted(["plan", *steps, *variants])

    # Nothing changed: only what is known of vulnerabilities is looked up again.
    later = {"spec": {"scan": {"databases": ["https://packages.example/more.json"]}}}
    plane.kubectl("patch", "ib", "app", "-n", team, "--type=merge", "-p", json.dumps(later))
    plan = first_of("plan")
    kubelet.end(plan, RESULTS["plan"]("", 1).model_copy(update={"unchanged": True}))
    pod = first_of("rescan")
    assert pod["spec"]["serviceAccountName"] == "plimsoll-seal"
    run_to_the_end(plane, team, kubelet)
    body = image_build(plane, team)
    assert condition(body, "BuildSucceeded")["reason"] == "Unchanged"

    # A test that fails leaves all tags, and says which it was.
    wrong = {"spec": {"tests": [{"name": "shell", "command": ["zsh"]}]}}
    plane.kubectl("patch", "ib", "app", "-n", team, "--type=merge", "-p", json.dumps(wrong))
    Pods.end(kubelet, first_of("test"), "exec: zsh: not found\n", 127)
    until(lambda: has(plane, team, "Stalled", "True", "TestFailed"), "the failed test")
    body = image_build(plane, team)
    assert "the test of shell failed with status 127" in condition(body, "Stalled")["message"]
    assert body["status"]["digest"] == "sha256:d1"

    # What the schema refuses.
    for spec, said in (
        ({"variants": [{"name": "default", "packages": ["a"]}]}, "default is the name"),
        ({"variants": [{"name": "dev"}]}, "expected packages"),
        ({"tests": [{"name": "a"}]}, "expected command"),
    ):
        patch = json.dumps({"spec": spec})
        done = plane.kubectl(
            "patch", "ib", "app", "-n", team, "--type=merge", "-p", patch, check=False
        )
        assert said in done.stderr


def test_killed_in_the_middle_nothing_is_built_twice(plane, operator, team, kubelet):
    (pod,) = until(kubelet.pods, "the plan's pod")
    kubelet.succeed(pod)
    until(lambda: len(kubelet.pods()) == 2, "the pods of both architectures")
    before = {name: job["metadata"]["uid"] for name, job in jobs(plane, team).items()}
    operator.kill(signal.SIGKILL)
    for pod in kubelet.pods():
        kubelet.succeed(pod)
    operator.start()
    run_to_the_end(plane, team, kubelet)
    after = {name: job["metadata"]["uid"] for name, job in jobs(plane, team).items()}
    assert before.items() <= after.items()
    assert len(after) == 5
    assert image_build(plane, team)["status"]["build"]["number"] == 1


def test_a_permanent_failure_stalls_at_once(plane, operator, team, kubelet):
    (pod,) = until(kubelet.pods, "the plan's pod")
    failure = StepFailure(reason="PackageNotFound", message="no pyhton3", retryable=False)
    kubelet.end(pod, failure, code=3)
    until(lambda: has(plane, team, "Stalled", "True", "PackageNotFound"), "Stalled")
    body = image_build(plane, team)
    assert condition(body, "Ready")["status"] == "False"
    assert "no pyhton3" in condition(body, "Ready")["message"]
    assert len(plane.get("pods", "-n", team)["items"]) == 1, "the Job did not try again"
    assert "BuildFailed" in event_reasons(plane, team)


def test_a_fault_that_may_pass_is_tried_again_by_the_job(plane, operator, team, kubelet):
    (pod,) = until(kubelet.pods, "the plan's pod")
    failure = StepFailure(reason="HttpError", message="answered 503", retryable=True)
    kubelet.end(pod, failure, code=1)
    until(
        lambda: "answered 503" in condition(image_build(plane, team), "Reconciling")["message"],
        "the fault to be said",
    )
    run_to_the_end(plane, team, kubelet)
    assert image_build(plane, team)["status"]["build"]["number"] == 1


def test_a_new_index_starts_a_build(plane, operator, team, packages, kubelet):
    run_to_the_end(plane, team, kubelet)
    packages.publish("python3", "nginx")
    until(
        lambda: image_build(plane, team)["status"]["build"]["reason"] == "Repository",
        "a build for the new index",
    )
    run_to_the_end(plane, team, kubelet, version=2)
    assert image_build(plane, team)["status"]["digest"] == "sha256:d2"


def test_an_index_by_another_key_stops_builds_with_a_sentence(plane, operator, packages, team):
    packages.publish("python3", key=SigningKey.generate("test.rsa.pub", bits=2048))
    plane.kubectl("annotate", "prepo", "base", "-n", team, "plimsoll.dev/requested-at=now")
    until(
        lambda: (
            condition(plane.get("prepo", "base", "-n", team), "IndexVerified")["status"] == "False"
        ),
        "the index to be refused",
    )
    repo = plane.get("prepo", "base", "-n", team)
    assert "wrong signature" in condition(repo, "Ready")["message"]
    plane.kubectl("annotate", "ib", "app", "-n", team, "plimsoll.dev/requested-at=now")
    until(
        lambda: (
            has(plane, team, "Reconciling", "True", "PackageRepoNotReady")
            or has(plane, team, "Reconciling", "True", "Planning")
        ),
        "the ImageBuild to say so",
    )


def test_what_the_schema_cannot_say_is_said_by_the_condition(plane, operator, team):
    users = {"spec": {"image": {"accounts": {"users": [{"username": "root", "uid": 0}]}}}}
    plane.kubectl("patch", "ib", "app", "-n", team, "--type=merge", "-p", json.dumps(users))
    until(lambda: has(plane, team, "Stalled", "True", "InvalidSpec"), "Stalled")
    assert "run-as: 0" in condition(image_build(plane, team), "Stalled")["message"]


def test_a_refused_job_is_told(plane, operator, team, namespace):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": namespace},
        "spec": {"hard": {"count/jobs.batch": "0"}},
        "status": {"hard": {"count/jobs.batch": "0"}, "used": {"count/jobs.batch": "0"}},
    }
    plane.kubectl("create", "-f", "-", stdin=json.dumps(quota))
    status = json.dumps({"status": quota["status"]})
    plane.kubectl(
        "patch",
        "resourcequota",
        "none",
        "-n",
        namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    )
    edit = {"spec": {"image": {"contents": {"packages": ["nginx"]}}}}
    plane.kubectl("patch", "ib", "app", "-n", team, "--type=merge", "-p", json.dumps(edit))
    until(
        lambda: "exceeded quota" in condition(image_build(plane, team), "Reconciling")["message"],
        "the refusal to be said",
    )
    plane.kubectl("delete", "resourcequota", "none", "-n", namespace)
    until(lambda: len(jobs(plane, team)) >= 1 and has(plane, team, "Reconciling", "True"), "a Job")


def test_what_the_operator_has_no_right_to_is_told(plane, operator, team):
    operator.kill()
    role = json.loads(rights())["items"][0]
    few = [rule for rule in role["rules"] if "configmaps" not in rule["resources"]]
    plane.kubectl("apply", "-f", "-", stdin=json.dumps({**role, "rules": few}))
    elsewhere = {"spec": {"image": None, "imageFrom": {"configMap": {"name": "image"}}}}
    plane.kubectl("patch", "ib", "app", "-n", team, "--type=merge", "-p", json.dumps(elsewhere))
    try:
        operator.start()
        until(lambda: has(plane, team, "Stalled", "True", "KubernetesApi"), "Stalled")
        message = condition(image_build(plane, team), "Stalled")["message"]
        assert 'configmaps "image" is forbidden' in message
        assert "rights of the chart" in message
        assert condition(image_build(plane, team), "Reconciling")["status"] == "False"
        until(lambda: "KubernetesApi" in event_reasons(plane, team), "the event")
        metric = 'plimsoll_operator_failing_objects{kind="ImageBuild"} 1.0'
        until(lambda: metric in fetch(operator, "metrics"), "the metric")
    finally:
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(role))
    plane.kubectl("annotate", "ib", "app", "-n", team, "plimsoll.dev/requested-at=now")
    until(lambda: has(plane, team, "Stalled", "False"), "it to go on")
    assert has(plane, team, "Reconciling", "True", "ConfigMapNotFound")


class Mistaken:
    """A controller with a mistake in it, which a newer version has not."""

    def __init__(self, right):
        self.right, self.mistake = right, TypeError("'NoneType' object is not iterable")

    async def reconcile(self, key):
        if self.mistake is not None:
            raise self.mistake
        return await self.right.reconcile(key)


@pytest.mark.parametrize(("kind", "name"), [("ImageBuild", "app"), ("PackageRepo", "base")])
async def test_a_mistake_of_the_operator_is_told(plane, team, kind, name):
    config = KubeConfig.from_file(plane.kubeconfig_of("operator"))
    metrics, key = Metrics(), Key(kind, team, name)
    settings = JobSettings(image="registry.example/plimsoll", builder_id="https://b/1")

    async def shown(aspect, status):
        async with asyncio.timeout(30):
            while True:
                body = await kube.get(path(kind, team, name))
                if condition(body, aspect)["status"] == status:
                    return body
                await asyncio.sleep(0.1)

    async with (
        KubeClient(config, agent="test") as kube,
        Http(allow_private=False, trusted_hosts=frozenset({"127.0.0.1"})) as http,
    ):
        recorder = Recorder(kube)
        carrier = Carrier(kind, kube, recorder, Slots())
        right = ImageBuildController(kube, carrier, settings, metrics)
        if kind == "PackageRepo":
            follower = Follower(kube, recorder, Inspector(http))
            packages = PackageBuilder(kube, carrier, settings, metrics)
            right = PackageRepoController(kube, follower, packages)
            # As if it had been looked at before.
            await right.reconcile(key)
        mistaken = Mistaken(right)
        faults = Faults(kube, recorder)
        manager = Manager({key.kind: mistaken}, faults, metrics, workers=1, resync=600)
        working = asyncio.create_task(manager.run())
        manager.notice(key)
        body = await shown("Stalled", "True")
        said = condition(body, "Stalled")
        assert said["reason"] == "InternalError"
        assert "'NoneType' object is not iterable" in said["message"]
        assert "its log says where" in said["message"]
        expected = "True" if kind == "PackageRepo" else "Unknown"
        assert condition(body, "Ready")["status"] == expected
        assert body["status"]["observedGeneration"] == body["metadata"]["generation"]
        mistaken.mistake = None
        body = await shown("Stalled", "False")
        moving = "False" if kind == "PackageRepo" else "True"
        assert condition(body, "Reconciling")["status"] == moving
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert "InternalError" in event_reasons(plane, team)


def test_deletion_takes_everything_along(plane, operator, team, kubelet):
    until(kubelet.pods, "the plan's pod")
    plane.kubectl("delete", "ib", "app", "-n", team, "--timeout=30s")
    until(lambda: not jobs(plane, team), "the Jobs to be gone")
    label = "app.kubernetes.io/managed-by=plimsoll-operator"
    until(lambda: not plane.get("cm", "-n", team, "-l", label)["items"], "the requests to be gone")


def test_one_namespace_with_rights_there_only(plane, operator, team, kubelet):
    operator.kill(signal.SIGTERM)
    plane.kubectl(
        "create",
        "rolebinding",
        "local",
        "-n",
        team,
        "--clusterrole=plimsoll-operator",
        "--user=local",
    )
    operator.user, operator.settings = "local", {"PLIMSOLL_NAMESPACES": team}
    operator.start()
    run_to_the_end(plane, team, kubelet)


def test_probes_and_a_clean_end(plane, operator):
    until(lambda: fetch(operator, "readyz"), "readiness")
    assert "queueDepth" in fetch(operator, "healthz")
    assert "plimsoll_operator_reconcile_seconds" in fetch(operator, "metrics")
    assert operator.kill(signal.SIGTERM) == 0
