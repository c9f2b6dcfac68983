import json

import pytest

from packages_world import SETTINGS, PackagesWorld, Recipe
from plimsoll.api.packagebuildstatus import PackageBuild
from plimsoll.api.packagesteps import OUTPUT_FOLDER, PackagePrepareResult
from plimsoll.operator.networkpolicy import policies
from plimsoll.operator.packagejobs import PackageJobs


@pytest.fixture(scope="module")
def made():
    """Manifests of all Jobs of a package with everything that can be mounted."""
    world = PackagesWorld(
        {"lib": Recipe(tests=2)},
        sources=[
            {"name": "all", "configMap": {"name": "packages"}},
            {"name": "tree", "git": {"url": "https://git.example/x", "secretRef": {"name": "git"}}},
        ],
        credentials=[{"name": "login"}],
        signing={"keySecret": {"name": "new"}, "previousKeySecrets": [{"name": "old"}]},
        job={
            "resources": {"limits": {"memory": "1Gi"}},
            "tolerations": [{"operator": "Exists"}],
            "nodeSelector": {"pool": "build"},
            "timeout": "10m",
        },
    )
    world.run()
    return {
        name.rsplit("-", 1)[1]: manifest
        for name, manifest in world.manifests.items()
        if name in world.created
    }


def pod_of(job):
    return job["spec"]["template"]["spec"]


def containers(job):
    pod = pod_of(job)
    return [*pod.get("initContainers", []), *pod["containers"]]


def secrets(job):
    return {v["secret"]["secretName"] for v in pod_of(job)["volumes"] if "secret" in v}


def test_every_pod_is_restricted_and_holds_no_token(made):
    assert set(made) == {"keys", "plan", "prepare", "build", "collect", "test", "publish"}
    for job in made.values():
        pod = pod_of(job)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(pod)
        for container in containers(job):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "privileged" not in security


def test_who_sees_which_secret(made):
    assert secrets(made["keys"]) == {"new", "old"}
    assert secrets(made["plan"]) == {"push", "git"}
    assert secrets(made["prepare"]) == {"push", "login"}
    assert secrets(made["collect"]) == {"push"}
    assert secrets(made["publish"]) == {"push", "new", "old"}
    assert secrets(made["build"]) == secrets(made["test"]) == set()


def test_who_signs_runs_as_who_may(made):
    accounts = {step: pod_of(job)["serviceAccountName"] for step, job in made.items()}
    signing = {step for step, account in accounts.items() if account == "plimsoll-seal"}
    assert signing == {"keys", "publish"}


def test_code_of_packages_runs_as_its_own_user_on_its_own_nodes(made):
    for step in ("build", "test"):
        pod = pod_of(made[step])
        assert pod["securityContext"]["runAsUser"] == 1000
        assert "fsGroup" not in pod["securityContext"], "folders would be setgid in packages"
        assert pod["nodeSelector"] == {"pool": "build", "kubernetes.io/arch": "amd64"}
        assert pod["imagePullSecrets"] == [{"name": "push"}]
        assert pod["dnsPolicy"] == "None"
        assert all("env" not in c for c in containers(made[step]))
    assert pod_of(made["prepare"])["nodeSelector"] == {"pool": "build"}


def test_the_build_cannot_read_what_opens_its_outbox(made):
    steps, outbox = containers(made["build"])
    assert steps["volumeMounts"] == [{"name": "output", "mountPath": OUTPUT_FOLDER}]
    assert "args" not in steps
    assert "command" not in steps
    assert outbox["volumeMounts"][0]["readOnly"] is True
    token = outbox["args"][outbox["args"].index("--token") + 1]
    assert token not in json.dumps(steps)
    assert token in made["collect"]["spec"]["template"]["spec"]["containers"][0]["args"]


def test_builds_and_tests_are_not_tried_again(made):
    for step in ("build", "test"):
        assert made[step]["spec"]["backoffLimit"] == 0
        actions = [r["action"] for r in made[step]["spec"]["podFailurePolicy"]["rules"]]
        assert actions == ["Ignore"], "what is evicted does not count"
    assert made["collect"]["spec"]["backoffLimit"] == 2
    assert made["test"]["spec"]["activeDeadlineSeconds"] == 600
    assert made["build"]["spec"]["activeDeadlineSeconds"] == 1200, "the outbox waits, too"


def test_names_are_short_enough_for_labels():
    name = "a-package-with-a-very-long-name-as-some-have-them"
    world = PackagesWorld({name: Recipe()}, archs=["arm/v7"])
    world.body["metadata"]["name"] = "b" * 200
    world.run()
    assert world.created
    for job in world.manifests.values():
        assert len(job["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in job["metadata"]["labels"].values())
    assert all(len(name) <= 253 for name in [*world.policies, *world.secrets])


def test_a_configuration_may_ask_for_more(made):

    world = PackagesWorld({}, job={"resources": {"limits": {"memory": "1Gi"}}, "timeout": "10m"})
    spec = world.desired.spec.packages
    prepared = PackagePrepareResult(
        guest="sha256:g",
        user=1000,
        token="t" * 32,
        timeout=7200,
        network=True,
        resources={"cpu": "4", "memory": "8Gi"},
    )
    build = PackageBuild(
        id="i", name="gcc", arch="amd64", version="1-r0", inputs_hash="h", state="Building",
        plan="sha256:p", request="r", prepared=prepared,
    )  # fmt: skip
    job = PackageJobs(world.desired, spec, SETTINGS).build(build)
    steps = containers(job)[0]
    assert steps["resources"] == {
        "requests": {"cpu": "4", "memory": "8Gi"},
        "limits": {"memory": "8Gi"},
    }
    assert job["spec"]["activeDeadlineSeconds"] == 7200 + 600
    assert job["metadata"]["labels"]["plimsoll.dev/network"] == "public"
    assert "dnsPolicy" not in pod_of(job)


def chosen(policy, labels):
    """Whether a policy selects a pod."""
    selector = policy["spec"]["podSelector"]
    if any(labels.get(k) != v for k, v in selector.get("matchLabels", {}).items()):
        return False
    return all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )


def test_network_policies_close_what_runs_code_of_packages(made):
    world = PackagesWorld({})
    rules = policies(world.desired)
    for step, job in made.items():
        labels = job["spec"]["template"]["metadata"]["labels"]
        mine = [rule["spec"] for rule in rules if chosen(rule, labels)]
        egress = [rule for rule in mine if "Egress" in rule["policyTypes"]]
        assert any("Ingress" in rule["policyTypes"] for rule in mine), step
        assert bool(egress) is (step in {"build", "test"}), step
        assert not any(rule.get("egress") for rule in mine)
        entries = [entry for rule in mine for entry in rule.get("ingress", [])]
        assert len(entries) == (step == "build")
    (entry,) = next(r["spec"]["ingress"] for r in rules if "ingress" in r["spec"])
    (peer,) = entry["from"]
    assert chosen({"spec": peer}, made["collect"]["spec"]["template"]["metadata"]["labels"])
    assert not chosen({"spec": peer}, made["build"]["spec"]["template"]["metadata"]["labels"])
    assert all(rule["metadata"]["ownerReferences"][0]["uid"] == "77aa" for rule in rules)


def test_an_open_network_has_no_private_addresses():
    world = PackagesWorld({}, network=True)
    (rule,) = [r for r in policies(world.desired) if r["metadata"]["name"].endswith("-public")]
    blocks = [peer["ipBlock"] for peer in rule["spec"]["egress"][0]["to"]]
    assert "169.254.0.0/16" in blocks[0]["except"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} <= set(blocks[0]["except"])
    assert not chosen(rule, {"plimsoll.dev/packagerepo-uid": "77aa", "plimsoll.dev/step": "build"})
