import json
import re

import pytest

from miniature_cluster import START
from operator_world import SETTINGS, World
from plimsoll.api.imagebuildstatus import Build, BuildInputs, VariantBuild
from plimsoll.arch import Arch
from plimsoll.operator.jobs import build_id, step_job
from plimsoll.operator.lanes import Task
from plimsoll.operator.podspec import service_account
from plimsoll.operator.settings import JobSettings
from plimsoll.operator.signingvolume import inline_documents

INPUTS = BuildInputs(generation=1, configuration="c", repositories="r", output="o")


def a_build(**changes):
    build = Build(
        id="app-1-abcdef",
        number=1,
        reason="Configuration",
        state="Running",
        started_at=START,
        inputs=INPUTS,
    )
    return build.model_copy(update=changes)


def make(world, step="plan", settings=SETTINGS, arch=None):
    return step_job(world.desired, a_build(), Task(step, "", arch), settings)


def pod_of(job):
    return job["spec"]["template"]["spec"]


@pytest.mark.parametrize("step", ["plan", "seal", "promote"])
def test_pods_satisfy_the_restricted_standard_and_hold_no_token(step):
    pod = pod_of(make(World(), step))
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert container["command"] == ["plimsoll", "step", step], "no shell"
    allowed = {"configMap", "emptyDir", "secret", "persistentVolumeClaim"}
    assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])


def secrets(job):
    return {v["secret"]["secretName"] for v in pod_of(job)["volumes"] if "secret" in v}


def test_only_seal_sees_the_key_and_runs_as_who_may():
    world = World()
    for step in ("plan", "promote"):
        assert secrets(make(world, step)) == {"push"}
        assert pod_of(make(world, step))["serviceAccountName"] == "plimsoll-build"
    seal = make(world, "seal")
    assert secrets(seal) == {"push", "cosign"}
    assert pod_of(seal)["serviceAccountName"] == "plimsoll-seal"
    assert pod_of(seal)["containers"][0]["args"][-2:] == ["--key", "/etc/plimsoll/signing"]


def test_without_secrets_none_is_mounted():
    job = make(World(signing=None, output={"repository": "registry.example/app"}), "seal")
    assert secrets(job) == set()
    assert "--key" not in pod_of(job)["containers"][0]["args"]
    names = {e["name"] for e in pod_of(job)["containers"][0]["env"]}
    assert "DOCKER_CONFIG" not in names


def test_faults_that_stay_end_a_job_at_once():
    rules = make(World())["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailJob"]
    assert 3 in rules[1]["onExitCodes"]["values"]
    assert pod_of(make(World()))["restartPolicy"] == "Never"


def test_what_the_spec_says_about_jobs():
    world = World(
        job={
            "resources": {"requests": {"cpu": 2}, "limits": {"memory": "2Gi"}},
            "nodeSelector": {"pool": "build"},
            "tolerations": [{"key": "build", "operator": "Exists"}],
            "priorityClassName": "low",
            "timeout": "1h30m",
            "cacheClaim": {"name": "cache"},
        }
    )
    job = make(world)
    pod = pod_of(job)
    assert job["spec"]["activeDeadlineSeconds"] == 5400
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "2"},
        "limits": {"memory": "2Gi"},
    }
    assert pod["nodeSelector"] == {"pool": "build"}
    assert pod["tolerations"] == [{"key": "build", "operator": "Exists"}]
    assert pod["priorityClassName"] == "low"
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}} in pod["volumes"]


def test_what_the_settings_say_about_jobs():
    settings = JobSettings(
        image="i", builder_id="b", pull_secrets=("a",), priority_class="p", pull_policy="Always"
    )
    pod = pod_of(make(World(), settings=settings))
    assert pod["imagePullSecrets"] == [{"name": "a"}]
    assert pod["priorityClassName"] == "p"
    assert pod["containers"][0]["imagePullPolicy"] == "Always"


def test_names_fit_into_labels_whatever_the_imagebuild_is_called():
    world = World()
    world.body["metadata"]["name"] = "a." * 120 + "z"
    identity = build_id(world.desired, 12345, INPUTS)
    build = a_build(id=identity, variants=[VariantBuild(name=f"v{'x' * 38}{n}") for n in range(8)])
    names = {
        Task("assemble", variant, arch).job_name(build)
        for arch in Arch
        for variant in ("", *(each.name for each in build.variants))
    }
    assert len(names) == 9 * len(Arch)
    for name in names:
        assert len(name) <= 63
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)


def test_names_depend_on_what_is_built_and_for_whom():
    world = World()
    same = build_id(world.desired, 1, INPUTS)
    assert build_id(world.desired, 1, INPUTS) == same
    assert build_id(world.desired, 2, INPUTS) != same
    assert build_id(world.desired, 1, INPUTS.model_copy(update={"configuration": "x"})) != same
    world.body["metadata"]["uid"] = "other"
    assert build_id(world.desired, 1, INPUTS) != same


def test_objects_belong_to_the_imagebuild_and_say_so():
    metadata = make(World(), "assemble", arch=Arch.ARMV7)["metadata"]
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ImageBuild", "0b5e", True)
    assert metadata["labels"]["plimsoll.dev/arch"] == "arm-v7"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "plimsoll-operator"
    assert "app.kubernetes.io/instance" not in metadata["labels"]
    assert metadata["annotations"]["plimsoll.dev/imagebuild"] == "app"


def test_accounts_have_no_token():
    account = service_account("team", "plimsoll-build")
    assert account["automountServiceAccountToken"] is False


def test_manifests_are_json():
    assert json.loads(json.dumps(make(World())))["kind"] == "Job"


KEYLESS = {
    "signingConfig": {"inline": "{}"},
    "trustedRoot": {"configMap": {"name": "sigstore", "key": "root.json"}},
}


def test_only_seal_gets_the_token_that_says_who_signs():
    world = World(signing={"keyless": KEYLESS})
    for step in ("plan", "promote"):
        assert not [v for v in pod_of(make(world, step))["volumes"] if "projected" in v]
    seal = make(world, "seal")
    assert secrets(seal) == {"push"}
    (volume,) = (v for v in pod_of(seal)["volumes"] if "projected" in v)
    assert volume["projected"]["sources"] == [
        {
            "configMap": {
                "name": "app-1-abcdef",
                "items": [{"key": "signing_config.json", "path": "signing_config.json"}],
            }
        },
        {
            "configMap": {
                "name": "sigstore",
                "items": [{"key": "root.json", "path": "trusted_root.json"}],
            }
        },
        {
            "serviceAccountToken": {
                "audience": "sigstore",
                "expirationSeconds": 600,
                "path": "token",
            }
        },
    ]
    pod = pod_of(seal)
    assert pod["automountServiceAccountToken"] is False, "no token for the API server"
    assert pod["serviceAccountName"] == "plimsoll-seal"
    assert pod["containers"][0]["args"][-2:] == ["--keyless", "/etc/plimsoll/signing"]


def test_only_seal_gets_the_settings_of_a_key_management_service():
    kms = {"key": "hashivault://seal", "settings": {"name": "vault"}}
    world = World(signing={"kms": kms})
    for step in ("plan", "promote"):
        assert not [v for v in pod_of(make(world, step))["volumes"] if "projected" in v]
    pod = pod_of(make(world, "seal"))
    (volume,) = (v for v in pod["volumes"] if "projected" in v)
    assert volume["projected"]["sources"] == [
        {
            "configMap": {
                "name": "app-1-abcdef",
                "items": [{"key": "kms_reference", "path": "kms_reference"}],
            }
        },
        {"secret": {"name": "vault"}},
        {"serviceAccountToken": {"expirationSeconds": 600, "path": "token"}},
    ]
    assert pod["containers"][0]["args"][-2:] == ["--kms", "/etc/plimsoll/signing"]
    assert "VAULT" not in json.dumps(pod), "settings are files, never the environment"
    assert inline_documents(world.desired.spec.signing) == {"kms_reference": "hashivault://seal"}


def test_what_stands_in_the_imagebuild_is_handed_over_with_the_request():
    signing = World(signing={"keyless": KEYLESS}).desired.spec.signing
    assert inline_documents(signing) == {"signing_config.json": "{}"}
    assert inline_documents(World().desired.spec.signing) == {}
