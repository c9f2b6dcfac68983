"""Building packages: the operator's process against a real API server and Job controller.

There is no node: a test plays the kubelet and the steps; rights are those of the chart.
"""

import json
import socket
from pathlib import Path

import pytest

from apiserver import control_plane, until
from operator_process import Pods, rights, running_operator
from packages_world import PackagesWorld, Recipe
from plimsoll.api.packagesteps import dump
from plimsoll.api.steps import StepFailure
from plimsoll.api.steps import dump as dump_failure
from plimsoll.operator.state import JobView

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("control-plane")]


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    with control_plane(tmp_path_factory.mktemp("plane"), users=["operator"]) as plane:
        plane.kubectl("apply", "-f", str(ROOT / "crds"))
        plane.kubectl("apply", "-f", "-", stdin=rights())
        yield plane


@pytest.fixture
def operator(plane, tmp_path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with running_operator(plane, tmp_path / "operator.log", port) as operator:
        yield operator


@pytest.fixture
def namespace(plane, request):
    name = f"p{abs(hash(request.node.name)) % 10**8}"
    plane.kubectl("create", "namespace", name)
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")


class Node(Pods):
    """Does what the steps would do; ``PackagesWorld`` knows what they answer."""

    def __init__(self, plane, namespace):
        super().__init__(plane, namespace)
        self.world = PackagesWorld({})

    def apply(self, recipes, **spec):
        self.world.recipes = dict(recipes)
        body = {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "PackageRepo",
            "metadata": {"name": "ours", "namespace": self.namespace},
            "spec": {
                "packages": {
                    "sources": [{"name": "all", "configMap": {"name": "packages"}}],
                    "storage": {
                        "repository": "registry.example/packages",
                        "pushSecret": {"name": "push"},
                    },
                    **spec,
                }
            },
        }
        data = {f"{name}.yaml": repr(recipe) for name, recipe in recipes.items()}
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "packages", "namespace": self.namespace},
            "data": data,
        }
        for each in (config, body):
            self.plane.kubectl("apply", "-f", "-", stdin=json.dumps(each))

    def repo(self):
        return self.plane.get("prepo", "ours", "-n", self.namespace)

    def jobs(self, step=""):
        label = f"plimsoll.dev/step={step}" if step else "plimsoll.dev/step"
        items = self.plane.get("jobs", "-n", self.namespace, "-l", label)["items"]
        return {job["metadata"]["name"]: job for job in items}

    def condition(self, kind):
        found = self.repo().get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == kind), {"status": "", "message": ""})

    def work(self, but=()):
        """Let every pod do its step, once; ``but`` are steps that wait."""
        world = self.world
        world.body = self.repo()
        ours = ("-n", self.namespace, "-l", "plimsoll.dev/packagerepo-uid")
        for pod in self.plane.get("pods", *ours)["items"]:
            labels = pod["metadata"]["labels"]
            step, phase = labels["plimsoll.dev/step"], pod["status"].get("phase")
            name = labels["batch.kubernetes.io/job-name"]
            if phase not in {"Pending", "Running"} or step in but:
                continue
            if step == "build" and phase == "Pending":
                self.serve(pod, "10.1.2.3")
                continue
            collect = self.jobs("collect").get(name.removesuffix("build") + "collect", {})
            if step == "build" and not collect.get("status", {}).get("succeeded"):
                continue
            request = labels.get("plimsoll.dev/request", "")
            if request:
                content = self.plane.get("cm", request, "-n", self.namespace)
                world.requests[request] = json.loads(content["data"]["request.json"])
            job = self.plane.get("job", name, "-n", self.namespace)
            world.manifests[name] = job
            view = JobView(
                name=name,
                build=labels["plimsoll.dev/build"],
                step=step,
                arch=labels.get("plimsoll.dev/arch", ""),
                request=request,
            )
            result = world.result(view)
            self.end(pod, dump(result).decode() if result is not None else "")

    def work_until(self, done, what, but=()):
        def step():
            self.work(but)
            return done()

        return until(step, what)

    def finish(self):
        self.work_until(
            lambda: (
                self.condition("PackagesBuilt")["status"] == "True"
                and self.condition("Reconciling")["status"] == "False"
            ),
            "all packages to be built",
        )


@pytest.fixture
def node(plane, namespace):
    return Node(plane, namespace)


def test_from_apply_to_ready_and_a_change(plane, operator, node, namespace):
    node.apply({"lib": Recipe(), "tool": Recipe(needs=("lib",))})
    node.finish()
    status = node.repo()["status"]
    assert node.condition("Ready")["status"] == "True"
    assert (status["progress"], status["packages"]) == ("2/2", 2)
    (key,) = status["publicKeys"]
    secret = plane.get("secret", "ours-signing", "-n", namespace)
    (private,) = [name for name in secret["data"] if name.endswith(".rsa")]
    assert "ownerReferences" not in secret["metadata"]
    assert key["name"]
    assert private not in operator.log.read_text().replace(key["name"], "")
    policies = plane.get("networkpolicy", "-n", namespace)["items"]
    assert len(policies) == 3
    closed = next(p for p in policies if p["metadata"]["name"].endswith("-egress"))
    assert closed["spec"]["policyTypes"] == ["Egress"]
    assert "egress" not in closed["spec"]
    events = plane.get("events", "-n", namespace)["items"]
    assert {"PackagePublished", "PackagesBuilt"} <= {e["reason"] for e in events}
    before = set(node.jobs("build"))
    node.apply({"lib": Recipe(), "tool": Recipe(version=2, needs=("lib",))})
    node.work_until(
        lambda: (
            node.world.published.get(("tool", "amd64")) == node.world.inputs_hash("tool", "amd64")
        ),
        "the change to be built",
    )
    (new,) = set(node.jobs("build")) - before
    assert "-tool-" in new


def test_killed_in_the_middle_nothing_is_built_twice(operator, node):
    node.apply({"lib": Recipe(), "tool": Recipe(needs=("lib",))})
    node.work_until(lambda: node.jobs("collect"), "a package to be collected", but=("collect",))
    before = {name: job["metadata"]["uid"] for name, job in node.jobs().items()}
    operator.kill()
    node.work()
    operator.start()
    node.finish()
    after = {name: job["metadata"]["uid"] for name, job in node.jobs().items()}
    # Of plans only the last is kept.
    assert {each for each in before.items() if "-plan-" not in each[0]} <= after.items()
    assert len(node.jobs("build")) == 2


def test_a_failed_package_tells_the_end_of_its_log(plane, operator, node, namespace):
    node.apply({"lib": Recipe(), "tool": Recipe(needs=("lib",)), "other": Recipe()})
    node.work_until(lambda: len(node.jobs("build")) == 2, "the builds", but=("build",))
    (name,) = [name for name in node.jobs("build") if "-lib-" in name]
    pods = [
        p for p in node.pods() if p["metadata"]["labels"]["batch.kubernetes.io/job-name"] == name
    ]
    node.end(pods[0], "gcc -c x.c\nx.c:3: error: expected ';'\nmake: *** [x.o] Error 1\n", code=2)
    node.work_until(
        lambda: (
            node.condition("PackagesBuilt").get("reason") == "PackageFailed"
            and node.condition("Ready")["status"] == "True"
            and node.condition("Stalled")["status"] == "True"
        ),
        "the rest to be built",
    )
    (failed,) = node.repo()["status"]["builds"]
    assert "expected ';'" in failed["failure"]["message"]
    assert "make: ***" in node.condition("PackagesBuilt")["message"]
    assert "tool for amd64 waits for lib" in node.condition("PackagesBuilt")["message"]
    assert set(node.world.published) == {("other", "amd64")}
    events = plane.get("events", "-n", namespace)["items"]
    assert any("expected ';'" in e["message"] for e in events if e["reason"] == "PackageFailed")
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(image_of(namespace, "tool")))
    label = "plimsoll.dev/imagebuild-uid"
    (pod,) = until(
        lambda: plane.get("pods", "-n", namespace, "-l", label)["items"], "the image's plan"
    )
    absent = StepFailure(reason="PackageNotFound", message="no package tool", retryable=False)
    node.end(pod, dump_failure(absent).decode(), code=3)
    stalled = until(
        lambda: next(
            (
                found["message"]
                for found in plane.get("ib", "app", "-n", namespace)["status"]["conditions"]
                if found["type"] == "Stalled" and found["status"] == "True"
            ),
            "",
        ),
        "the image to be stalled",
    )
    assert "no package tool" in stalled
    assert "PackageRepo ours could not build lib-1-r0 for amd64" in stalled


def image_of(namespace, package):
    return {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ImageBuild",
        "metadata": {"name": "app", "namespace": namespace},
        "spec": {
            "image": {"contents": {"packages": [package]}},
            "repositories": [{"name": "ours"}],
            "output": {"repository": "registry.example/app"},
            "archs": ["amd64"],
        },
    }


def test_an_image_waits_for_the_repository_and_takes_its_keys(plane, operator, node, namespace):
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(image_of(namespace, "lib")))
    node.apply({"lib": Recipe()})
    label = "plimsoll.dev/imagebuild-uid"
    node.work_until(
        lambda: plane.get("cm", "-n", namespace, "-l", label)["items"],
        "the image to be planned",
    )
    (config,) = plane.get("cm", "-n", namespace, "-l", label)["items"]
    (source,) = json.loads(config["data"]["request.json"])["repositories"]
    assert source["url"] == "oci://registry.example/packages"
    assert list(source["keys"]) == [key["name"] for key in node.repo()["status"]["publicKeys"]]
    assert node.condition("Ready")["status"] == "True"
