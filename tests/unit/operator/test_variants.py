"""Variants, tests, and scanning again: what a build does beside making one image."""

from dataclasses import replace

import pytest

from operator_world import World, repository
from plimsoll.api.imagebuild import ImageBuildSpec
from plimsoll.api.steps import AssembleResult, BuildRequest, dump
from plimsoll.operator.podspec import STEP_LABEL

DEV = {"name": "dev", "packages": ["bash"], "overrides": {"entrypoint": {"command": "/bin/bash"}}}
VERSION = {"name": "version", "command": ["python3", "--version"]}
SERVES = {"name": "serves", "args": ["--check", "$(HOME)"], "environment": {"PORT": "$(X)80"}}


@pytest.fixture
def world():
    return World(variants=[DEV], tests=[VERSION, SERVES])


def reasons(world):
    return [event.reason for event in world.events]


def steps(world):
    return [name.split("-", 3)[3] for name in world.created]


def request(world):
    return BuildRequest.model_validate_json(
        world.config_maps[world.status.build.id]["data"]["request.json"]
    )


def succeed_until(world, step):
    """Go on until the Jobs of a step are open."""
    for _ in range(20):
        world.look()
        if world.open(step):
            return
        for job in world.open():
            world.succeed(job)
    raise AssertionError(f"{step} is never reached")


def arguments(world, name):
    (found,) = [job for job in world.manifests if job.endswith(name)]
    return world.manifests[found]["spec"]["template"]["spec"]["containers"][0]["args"]


def pod_of(world, name):
    (found,) = [job for job in world.manifests if job.endswith(name)]
    return world.manifests[found]["spec"]["template"]["spec"]


def test_the_request_says_what_a_variant_is(world):
    world.look()
    (dev,) = request(world).variants
    assert dev.image.contents.packages == ["python3", "bash"]
    assert dev.image.entrypoint.command == "/bin/bash"
    assert dev.image.accounts.run_as == "65532"
    assert dev.tags == ["latest-dev"]
    assert request(world).image.contents.packages == ["python3"]
    of_dev = request(world).of_variant("dev")
    assert (of_dev.image, of_dev.output.tags) == (dev.image, ["latest-dev"])


def test_no_tag_moves_before_every_image_is_tested_and_sealed(world):
    world.build()
    assert world.condition("Ready") == ("True", "ImageAvailable")
    assert steps(world) == [
        "plan",
        "assemble-amd64",
        "assemble-arm64",
        "assemble-v1-amd64",
        "assemble-v1-arm64",
        "test-amd64",
        "test-arm64",
        "test-v1-amd64",
        "test-v1-arm64",
        "seal",
        "seal-v1",
        "promote",
        "promote-v1",
    ]
    status = world.status
    assert status.image == "registry.example/app@sha256:index-1"
    (dev,) = status.variants
    assert dev.image == "registry.example/app@sha256:index-dev-1"
    assert (dev.tags, dev.packages, dev.lock) == (["latest-dev"], 20, "sha256:lock-dev-1")
    assert [a.digest for a in dev.architectures] == ["sha256:amd64-dev-1", "sha256:arm64-dev-1"]
    assert status.tags == ["latest"]


def test_images_that_are_the_same_are_sealed_one_after_the_other():
    world = World(variants=[{"name": "same", "packages": [], "tags": ["stable"]}, DEV])
    succeed_until(world, "assemble")
    for job in world.open():
        world.succeed(job)
        if world.variant(job) == "-same":
            plain = AssembleResult(arch=job.arch, digest=f"sha256:{job.arch}-1", size=1, sbom="s")
            world.jobs[job.name] = replace(world.jobs[job.name], message=dump(plain).decode())
    world.look()
    assert sorted(job.name.split("-", 3)[3] for job in world.open("seal")) == ["seal", "seal-v2"]
    for job in world.open():
        world.succeed(job)
    world.look()
    assert [job.name.split("-", 3)[3] for job in world.open()] == ["seal-v1"]
    world.build()
    assert world.condition("Ready")[0] == "True"


def test_each_step_knows_the_image_that_it_is_for(world):
    world.build()
    assemble = arguments(world, "assemble-v1-arm64")
    assert assemble[2:] == [
        *("--plan-lock", "sha256:lock-dev-1"),
        *("--variant", "dev", "--arch", "arm64"),
    ]
    seal = arguments(world, "seal-v1")
    assert [word for word in seal if "sha256:amd64-dev-1" in word]
    assert not [word for word in seal if "sha256:amd64-1" in word]
    promote = arguments(world, "promote-v1")
    assert promote[2:] == ["--digest", "sha256:index-dev-1", "--tag", "latest-dev"]
    assert "--variant" not in arguments(world, "seal")


def test_results_survive_the_jobs_that_made_them(world):
    for step in ("assemble", "test", "seal", "promote"):
        succeed_until(world, step)
        world.look()
        done = [name for name, job in world.jobs.items() if job.step != step]
        for name in done:
            del world.jobs[name]
    world.build()
    assert len(world.created) == len(set(world.created)) == 13
    assert world.condition("Ready")[0] == "True"


def test_a_test_runs_the_image_itself_and_holds_nothing(world):
    succeed_until(world, "test")
    pod = pod_of(world, "test-v1-arm64")
    (first,), (last,) = pod["initContainers"], pod["containers"]
    assert first["image"] == last["image"] == "registry.example/app@sha256:arm64-dev-1"
    assert first["command"] == ["python3", "--version"]
    assert "command" not in last
    assert last["args"] == ["--check", "$$(HOME)"], "Kubernetes expands nothing"
    assert last["env"] == [{"name": "PORT", "value": "$$(X)80"}]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    assert pod["volumes"] == []
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "plimsoll-build"
    assert pod["dnsPolicy"] == "None"
    assert pod["imagePullSecrets"] == [{"name": "push"}]
    assert "runAsUser" not in pod["securityContext"], "it runs as the image says"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert first["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    (policy,) = world.policies.values()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    selected = policy["spec"]["podSelector"]["matchLabels"]
    (job,) = [m for n, m in world.manifests.items() if n.endswith("test-v1-arm64")]
    assert selected.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert selected[STEP_LABEL] == "test"


def test_an_image_that_runs_as_root_is_tested_as_root():
    world = World(image={"contents": {"packages": ["python3"]}}, tests=[VERSION])
    succeed_until(world, "test")
    assert "runAsNonRoot" not in pod_of(world, "test-amd64")["securityContext"]
    assert "initContainers" not in pod_of(world, "test-amd64")


def test_tests_for_some_variants_and_architectures():
    world = World(
        variants=[DEV],
        tests=[
            {**VERSION, "variants": ["dev"]},
            {**SERVES, "variants": ["default"], "archs": ["amd64"]},
        ],
    )
    world.build()
    assert [name for name in steps(world) if "test" in name] == [
        "test-amd64",
        "test-v1-amd64",
        "test-v1-arm64",
    ]


def test_a_failed_test_leaves_the_tags_and_says_which(world):
    world.build()
    world.repositories["wolfi"] = repository("sha256:2")
    succeed_until(world, "test")
    (job,) = [j for j in world.open("test") if j.name.endswith("test-v1-amd64")]
    world.jobs[job.name] = replaced(job, container="test-1", message="port 80\nrefused\n")
    world.settle()
    assert world.condition("BuildSucceeded") == ("False", "TestFailed")
    message = world.message("Stalled")
    assert "test-dev-amd64" in message
    assert "the test of serves failed with status 1:\nport 80\nrefused" in message
    assert not [name for name in steps(world)[13:] if "seal" in name or "promote" in name]
    assert world.status.digest == "sha256:index-1"
    assert world.condition("Ready")[0] == "True"
    assert not world.open(), "the other tests are stopped"


def replaced(job, **changes):
    return replace(job, phase="failed", exit_code=1, reason="BackoffLimitExceeded", **changes)


def test_no_node_for_an_architecture(world):
    succeed_until(world, "test")
    (job,) = [j for j in world.open("test") if j.name.endswith("test-arm64")]
    trouble = {"trouble": "no node takes its pod", "trouble_reason": "Unschedulable"}
    world.jobs[job.name] = replace(job, **trouble)
    world.look()
    assert world.condition("Reconciling") == ("True", "Testing")
    assert "kubernetes.io/arch of its node must be that of arm64" in world.message("Reconciling")
    assert "NoNodeForArchitecture" in reasons(world)


def test_another_test_or_variant_is_another_build(world):
    world.build()
    for spec in ({"tests": [VERSION]}, {"variants": []}, {"variants": [DEV, {**DEV, "name": "x"}]}):
        number = world.status.build.number
        world.edit(**spec)
        world.look()
        assert world.condition("Ready") == ("Unknown", "Building")
        world.build(version=number + 1)
        assert world.status.build.number == number + 1
        assert world.condition("Ready")[0] == "True"
    assert [v.name for v in world.status.variants] == ["dev", "x"]


def test_a_spec_without_them_has_the_hash_it_always_had():
    world, other = World(), World(variants=[], tests=[])
    world.look()
    other.look()
    hashes = {w.status.build.inputs.configuration for w in (world, other)}
    assert len(hashes) == 1


def test_a_variant_removed_while_tags_move_is_promoted_as_it_was_built(world):
    succeed_until(world, "promote")
    world.edit(variants=[])
    for job in world.open():
        world.succeed(job)
    world.look()
    assert [v.name for v in world.status.variants] == ["dev"]
    world.build(version=2)
    assert world.status.variants == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"tests": [{**VERSION, "variants": ["fips"]}]}, ["tests version", "'fips'", "default"]),
        ({"tests": [{**VERSION, "archs": ["amd46"]}]}, ["amd46"]),
        ({"variants": [{"name": "x", "overrides": {"archs": ["amd64"]}}]}, ["variants x", "archs"]),
        ({"variants": [{"name": "x", "overrides": {"include": "a"}}]}, ["variants x", "include"]),
    ],
)
def test_a_wrong_spec_says_what_to_change(spec, words):
    world = World(**spec)
    world.look()
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    for word in words:
        assert word in world.message("Stalled")


def test_the_models_refuse_what_the_schema_refuses():
    base = {"image": {}, "output": {"repository": "r.example/a"}}
    with pytest.raises(ValueError, match="name"):
        ImageBuildSpec.model_validate({**base, "variants": [{"name": "Dev", "packages": ["a"]}]})
    with pytest.raises(ValueError, match="command"):
        ImageBuildSpec.model_validate({**base, "tests": [{"name": "a", "command": []}]})


# --- assembled twice ------------------------------------------------------------------------------


def test_images_that_are_the_same_twice_are_sealed():
    world = World(variants=[DEV], verifyReproducible=True, job={"cacheClaim": {"name": "cache"}})
    succeed_until(world, "verify")
    assert not world.open("seal")
    first, again = (pod_of(world, f"{step}-v1-arm64") for step in ("assemble", "verify"))
    assert first["containers"][0]["args"] == again["containers"][0]["args"]
    assert again["containers"][0]["command"] == ["plimsoll", "step", "assemble"]
    assert "persistentVolumeClaim" in str(first)
    assert "persistentVolumeClaim" not in str(again), "nothing is kept"
    world.build()
    assert steps(world).count("verify-v1-arm64") == 1
    assert world.condition("Ready")[0] == "True"


def test_an_image_that_is_another_the_second_time_is_not_signed():
    world = World(verifyReproducible=True)
    succeed_until(world, "verify")
    for job in world.open("verify"):
        world.succeed(job, version=2 if job.arch == "arm64" else 1)
    world.settle()
    assert world.condition("Stalled") == ("True", "NotReproducible")
    message = world.message("Stalled")
    assert "verify-arm64" in message
    assert "plimsoll diff registry.example/app@sha256:arm64-1" in message
    assert "seal" not in steps(world)


# --- scanning again ------------------------------------------------------------------------------

SCAN = {"databases": ["https://packages.example/security.json"], "failOn": ["critical"]}


def unchanged(world):
    world.look()
    (plan,) = world.open("plan")
    world.succeed(plan, unchanged=True)
    world.look()


def test_what_did_not_change_is_scanned_again():
    world = World(scan=SCAN, variants=[DEV])
    world.build()
    world.repositories["wolfi"] = repository("sha256:2")
    unchanged(world)
    assert world.condition("Reconciling") == ("True", "Rescanning")
    assert world.condition("Ready")[0] == "True"
    assert steps(world)[-2:] == ["rescan", "rescan-v1"]
    digests = {
        tuple(pod["containers"][0]["args"][2:4])
        for pod in (world.manifests[j.name]["spec"]["template"]["spec"] for j in world.open())
    }
    assert digests == {("--digest", "sha256:index-1"), ("--digest", "sha256:index-dev-1")}
    for job in world.open():
        pod = world.manifests[job.name]["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == "plimsoll-seal"
        assert pod["containers"][0]["args"][-2:] == ["--key", "/etc/plimsoll/signing"]
        assert "cosign" in {v.get("secret", {}).get("secretName") for v in pod["volumes"]}
        world.succeed(job)
    world.settle()
    assert world.condition("BuildSucceeded") == ("True", "Unchanged")
    assert world.condition("Reconciling") == ("False", "Idle")


def test_what_is_known_by_now_fails_the_build_and_not_the_image():
    world = World(scan=SCAN)
    world.build()
    world.repositories["wolfi"] = repository("sha256:2")
    unchanged(world)
    (job,) = world.open("rescan")
    world.fail(job, retryable=False, message="CVE-2026-1 in libfoo", reason="Vulnerable")
    world.settle()
    assert world.condition("BuildSucceeded") == ("False", "Vulnerable")
    assert world.condition("Stalled") == ("True", "Vulnerable")
    assert world.condition("Ready")[0] == "True"
    assert "rescan: CVE-2026-1 in libfoo" in world.message("Stalled")
    assert reasons(world)[-1] == "BuildFailed"


def test_another_way_to_scan_scans_the_image_that_is_there():
    world = World()
    world.build()
    world.edit(scan=SCAN)
    unchanged(world)
    assert world.condition("Ready")[0] == "True", "it is the same image"
    (job,) = world.open("rescan")
    world.succeed(job)
    world.settle()
    number = world.status.build.number
    world.edit(scan={**SCAN, "failOn": []})
    world.look()
    assert world.status.build.number == number + 1
    unchanged(world)
    (job,) = world.open("rescan")
    world.succeed(job)
    world.edit(scan=None)
    world.settle()
    assert world.status.build.number == number + 1, "not scanning needs no build"


def test_without_a_scan_nothing_runs_after_the_plan():
    world = World()
    world.build()
    world.repositories["wolfi"] = repository("sha256:2")
    unchanged(world)
    assert world.condition("BuildSucceeded") == ("True", "Unchanged")
    assert not world.open()
