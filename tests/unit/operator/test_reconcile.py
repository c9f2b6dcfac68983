from dataclasses import replace
from datetime import timedelta

import pytest

from miniature_cluster import START
from operator_world import World, repository
from plimsoll.api.meta import REQUESTED_AT
from plimsoll.api.steps import BuildRequest


@pytest.fixture
def world():
    return World()


@pytest.fixture
def built(world):
    world.build()
    assert world.condition("Ready") == ("True", "ImageAvailable")
    return world


def steps(world):
    return [name.split("-", 3)[3] for name in world.created]


def reasons(world):
    return [event.reason for event in world.events]


def test_first_sight_is_unknown_and_a_build_starts(world):
    plan = world.look()
    assert world.condition("Ready") == ("Unknown", "Building")
    assert world.condition("Reconciling") == ("True", "Planning")
    assert world.condition("Stalled")[0] == "False"
    assert world.condition("BuildSucceeded") == ("Unknown", "Running")
    assert world.status.observed_generation == 1
    assert [a.manifest["kind"] for a in plan.actions] == ["ServiceAccount", "ConfigMap", "Job"]
    assert steps(world) == ["plan"]
    assert reasons(world) == ["BuildStarted"]


def test_the_request_says_everything(world):
    world.look()
    (config_map,) = world.config_maps.values()
    assert config_map["immutable"] is True
    request = BuildRequest.model_validate_json(config_map["data"]["request.json"])
    assert request.build_id == config_map["metadata"]["name"]
    assert request.archs == ["amd64", "arm64"]
    assert request.repositories[0].keys == {"os.rsa.pub": "PEM"}
    assert request.image.accounts.run_as == "65532"
    assert request.attest.sbom
    assert request.attest.provenance
    assert request.started == START
    assert request.previous_inputs_hash == ""


def test_the_way_to_an_image(world):
    world.look()
    world.succeed(world.open()[0])
    world.look()
    assert steps(world) == ["plan", "assemble-amd64", "assemble-arm64"]
    assert world.condition("Reconciling") == ("True", "Assembling")
    amd64, arm64 = world.open()
    world.succeed(amd64)
    world.look()
    assert len(world.created) == 3, "seal waits for both architectures"
    world.succeed(arm64)
    world.look()
    assert steps(world)[-1] == "seal"
    assert world.condition("Ready")[0] == "Unknown"
    world.succeed(world.open()[0])
    world.look()
    assert steps(world)[-1] == "promote"
    world.succeed(world.open()[0])
    world.settle()
    status = world.status
    assert status.image == "registry.example/app@sha256:index-1"
    assert [a.arch for a in status.architectures] == ["amd64", "arm64"]
    assert (status.packages, status.tags, status.lock) == (12, ["latest"], "sha256:lock-1")
    assert world.condition("Ready") == ("True", "ImageAvailable")
    assert world.condition("Signed") == ("True", "Signed")
    assert world.condition("BuildSucceeded") == ("True", "Succeeded")
    assert world.condition("Reconciling") == ("False", "Idle")
    assert status.history[0].digest == "sha256:index-1"
    assert reasons(world) == ["BuildStarted", "BuildSucceeded"]


def test_results_go_from_step_to_step(built):
    def arguments(step):
        manifest = next(m for name, m in built.manifests.items() if name.endswith(step))
        return manifest["spec"]["template"]["spec"]["containers"][0]["args"]

    assert "sha256:lock-1" in arguments("assemble-arm64")
    assert arguments("assemble-arm64")[-2:] == ["--arch", "arm64"]
    assert sum(a == "--assembled" for a in arguments("seal")) == 2
    assert arguments("promote")[-4:] == ["--digest", "sha256:index-1", "--tag", "latest"]


def test_nothing_happens_without_a_reason(built):
    built.wait(days=30)
    plan = built.look()
    assert plan.actions == ()
    assert plan.events == ()
    assert plan.requeue_after is None
    assert len(built.created) == 5


@pytest.mark.parametrize("crash", ["status", "actions"])
def test_a_crash_at_any_point_builds_nothing_twice(world, crash):
    for _ in range(12):
        world.look(crash=crash)
        world.look()
        for job in world.open():
            world.succeed(job)
    world.settle()
    assert steps(world) == ["plan", "assemble-amd64", "assemble-arm64", "seal", "promote"]
    assert world.condition("Ready")[0] == "True"


def test_results_survive_the_jobs_that_made_them(world):
    world.look()
    world.succeed(world.open()[0])
    world.look()
    for job in world.open():
        world.succeed(job)
    world.look()
    for name in list(world.jobs):
        if "seal" not in name:
            del world.jobs[name]
    world.build()
    assert len(world.created) == 5
    assert world.condition("Ready")[0] == "True"


def test_one_architecture_failing_fails_the_whole(world):
    world.look()
    world.succeed(world.open()[0])
    world.look()
    amd64, arm64 = world.open()
    world.fail(arm64, retryable=False, message="no such package: pyhton3", reason="NotFound")
    world.settle()
    assert world.condition("Ready") == ("False", "NotFound")
    assert world.condition("Stalled") == ("True", "NotFound")
    assert world.condition("Reconciling")[0] == "False"
    assert "assemble-arm64: no such package: pyhton3" in world.message("BuildSucceeded")
    assert amd64.name not in world.jobs, "the other architecture is stopped"
    assert arm64.name in world.jobs, "the failed Job stays for its log"
    assert reasons(world) == ["BuildStarted", "BuildFailed"]
    world.wait(days=1)
    world.settle()
    assert len(world.created) == 3


def test_a_permanent_failure_wins_over_one_that_may_pass(world):
    world.look()
    world.succeed(world.open()[0])
    world.look()
    amd64, arm64 = world.open()
    world.fail(amd64, retryable=True)
    world.fail(arm64, retryable=False)
    world.settle()
    assert world.status.build.failure.step == "assemble-arm64"


def test_a_failure_that_may_pass_is_tried_again_later_and_later(world):
    delays = []
    for _ in range(7):
        world.look()
        world.fail(world.open()[0], retryable=True, message="registry answered 503")
        plan = world.look()
        assert world.condition("Ready") == ("False", "Broken")
        assert world.condition("Reconciling") == ("True", "RetryScheduled")
        assert world.condition("Stalled")[0] == "False"
        delays.append(plan.requeue_after)
        count = len(world.created)
        world.wait(seconds=plan.requeue_after.total_seconds() - 1)
        world.look()
        assert len(world.created) == count
        world.wait(seconds=1)
    assert delays == [timedelta(minutes=m) for m in (1, 2, 4, 8, 16, 30, 30)]
    world.look()
    assert world.condition("Ready") == ("False", "Broken"), "known until the try has ended"
    world.build()
    assert world.status.failures == 0
    assert world.condition("Ready")[0] == "True"


def test_a_changed_spec_clears_stalled_and_starts(world):
    world.look()
    world.fail(world.open()[0], retryable=False)
    world.settle()
    world.edit(job={"timeout": "1h"})
    world.look()
    assert world.condition("Stalled")[0] == "False"
    assert world.status.build.number == 2
    assert world.status.build.reason == "Configuration"


def test_what_makes_no_difference_to_the_image_starts_nothing(built):
    built.edit(job={"timeout": "1h"}, retention={"builds": 2})
    built.settle()
    assert len(built.created) == 5
    assert built.condition("Ready")[0] == "True"
    assert built.status.observed_generation == 2


def test_a_changed_spec_replaces_a_running_build(world):
    world.look()
    world.succeed(world.open()[0])
    world.look()
    old = [job.name for job in world.open()]
    world.edit(archs=["amd64"])
    world.look()
    assert not set(old) & world.jobs.keys(), "its Jobs are stopped"
    assert world.status.build.number == 2
    assert world.status.history[0].state == "Cancelled"
    assert reasons(world)[-2:] == ["BuildCancelled", "BuildStarted"]
    world.build(version=2)
    assert [a.arch for a in world.status.architectures] == ["amd64"]


def test_a_build_whose_tags_are_about_to_move_is_finished_first(built):
    built.edit(archs=["amd64"])
    for _ in range(3):
        built.look()
        for job in built.open():
            built.succeed(job, version=2)
    built.look()
    assert built.open()[0].step == "promote"
    built.edit(archs=["arm64"])
    built.look()
    assert [job.step for job in built.open()] == ["promote"]
    built.succeed(built.open()[0])
    built.settle()
    assert built.status.digest == "sha256:index-2"
    assert built.status.build.number == 3
    assert built.condition("Ready") == ("Unknown", "Building")


def test_a_failed_rebuild_leaves_ready_and_the_image_alone(built):
    built.annotate(REQUESTED_AT, "now")
    built.look()
    assert built.condition("Ready")[0] == "True"
    built.fail(built.open()[0], retryable=False)
    built.settle()
    assert built.condition("Ready") == ("True", "ImageAvailable")
    assert built.condition("BuildSucceeded") == ("False", "Broken")
    assert built.condition("Stalled")[0] == "True"
    assert built.status.digest == "sha256:index-1"


def test_a_new_index_plans_again_and_an_unchanged_plan_builds_nothing(built):
    built.repositories["wolfi"] = repository("sha256:2")
    built.look()
    assert built.status.build.reason == "Repository"
    request = BuildRequest.model_validate_json(
        built.config_maps[built.status.build.id]["data"]["request.json"]
    )
    assert request.previous_inputs_hash == "inputs-1"
    assert not request.force
    built.succeed(built.open()[0], unchanged=True)
    built.settle()
    assert steps(built)[5:] == ["plan"]
    assert built.condition("BuildSucceeded") == ("True", "Unchanged")
    assert built.condition("Ready")[0] == "True"
    assert built.status.digest == "sha256:index-1"
    assert reasons(built)[-1] == "BuildUnchanged"


def test_another_configuration_is_built_even_if_its_packages_are_the_same(built):
    built.edit(output={"repository": "registry.example/app", "tags": ["stable"]})
    built.look()
    assert built.condition("Ready") == ("Unknown", "Building")
    (content,) = [
        m["data"]["request.json"]
        for m in built.config_maps.values()
        if m["metadata"]["name"] == built.status.build.id
    ]
    assert BuildRequest.model_validate_json(content).previous_inputs_hash == ""


def test_a_request_is_answered_once_and_builds_in_any_case(built):
    built.annotate(REQUESTED_AT, "2026-11-21T07:00:00Z")
    built.look()
    assert built.status.build.reason == "Requested"
    assert built.status.build.force
    assert built.status.last_handled_reconcile_at == "2026-11-21T07:00:00Z"
    built.build(version=2)
    assert built.status.build.number == 2
    assert built.status.digest == "sha256:index-2"


def test_suspend_lets_the_running_build_end_and_starts_no_other(world):
    world.look()
    world.edit(suspend=True)
    world.build()
    assert world.condition("Ready")[0] == "True"
    assert world.condition("Reconciling") == ("False", "Suspended")
    world.annotate(REQUESTED_AT, "now")
    world.repositories["wolfi"] = repository("sha256:2")
    world.settle()
    assert world.status.build.number == 1
    world.edit(suspend=False)
    world.look()
    assert world.status.build.number == 2


def test_suspended_from_the_start():
    world = World(suspend=True)
    plan = world.look()
    assert plan.actions == ()
    assert world.condition("Ready") == ("False", "Suspended")


def test_a_missing_repository_is_named_and_waited_for(world):
    found = world.repositories.pop("wolfi")
    plan = world.look()
    assert world.created == []
    assert world.condition("Ready") == ("False", "PackageRepoNotFound")
    assert world.condition("Reconciling") == ("True", "PackageRepoNotFound")
    assert "wolfi" in world.message("Ready")
    assert plan.requeue_after is not None
    world.look()
    assert reasons(world) == ["PackageRepoNotFound"], "said once"
    world.repositories["wolfi"] = found
    world.build()
    assert world.condition("Ready")[0] == "True"


def test_a_repository_that_does_not_verify_is_waited_for(world):
    world.repositories["wolfi"] = repository(ready=False)
    world.look()
    assert world.condition("Reconciling") == ("True", "PackageRepoNotReady")
    assert "wrong signature" in world.message("Ready")


def test_a_repository_that_is_being_looked_at_is_no_reason_to_warn(world):
    status = world.repositories["wolfi"].status.model_copy(update={"conditions": []})
    world.repositories["wolfi"] = world.repositories["wolfi"].model_copy(update={"status": status})
    world.look()
    assert world.condition("Reconciling") == ("True", "PackageRepoNotReady")
    assert reasons(world) == []


def test_a_repository_lost_later_leaves_the_image_alone(built):
    built.repositories.clear()
    built.settle()
    assert built.condition("Ready")[0] == "True"
    assert built.condition("Reconciling")[1] == "PackageRepoNotFound"


def test_a_repository_lost_between_status_and_jobs_is_waited_for(world):
    world.look(crash="actions")
    found = dict(world.repositories)
    world.repositories.clear()
    plan = world.look()
    assert plan.actions == ()
    world.repositories.update(found)
    world.build()
    assert world.condition("Ready")[0] == "True"
    assert world.status.build.number == 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"archs": ["amd46"]}, ["amd46", "did you mean"]),
        ({"archs": ["host"]}, ["host"]),
        ({"schedule": {"cron": "every night"}}, ["spec.schedule.cron", "five fields"]),
        ({"schedule": {"cron": "99 3 * * *"}}, ["spec.schedule.cron"]),
        (
            {"schedule": {"cron": "17 3 * * *", "timeZone": "Europe/Atlantis"}},
            ["spec.schedule.timeZone", "Atlantis"],
        ),
        ({"image": {"include": "base.yaml"}}, ["include"]),
    ],
)
def test_a_wrong_spec_says_what_to_change(spec, words):
    world = World(**spec)
    world.look()
    assert world.condition("Ready") == ("False", "InvalidSpec")
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert world.created == []
    for word in words:
        assert word in world.message("Stalled")
    assert reasons(world) == ["InvalidSpec"]


def test_a_wrong_spec_stops_the_running_build(world):
    world.look()
    world.edit(archs=["amd46"])
    world.look()
    assert world.jobs == {}
    assert world.condition("Stalled")[0] == "True"
    world.edit(archs=["amd64"])
    world.build()
    assert world.condition("Ready")[0] == "True"


CONFIGURATION = """\
contents:
  packages: [python3]
paths:
  - {path: /app, type: directory, permissions: 0o755}
"""


def from_config_map():
    return World(image=None, imageFrom={"configMap": {"name": "config"}})


def test_configuration_of_a_config_map():
    world = from_config_map()
    world.look()
    assert world.condition("Reconciling") == ("True", "ConfigMapNotFound")
    world.config_map = {"other.yaml": ""}
    world.look()
    assert "other.yaml" in world.message("Ready")
    world.config_map = {"image.yaml": CONFIGURATION}
    world.build()
    assert world.condition("Ready")[0] == "True"
    (content,) = world.config_maps.values()
    request = BuildRequest.model_validate_json(content["data"]["request.json"])
    assert request.image.paths[0].permissions == 0o755
    world.config_map = {"image.yaml": CONFIGURATION.replace("python3", "nginx")}
    world.look()
    assert world.status.build.number == 2
    assert world.status.build.message == "the image configuration changed"
    world.build(version=2)
    world.config_map = None
    plan = world.look()
    assert world.condition("Ready")[0] == "True", "what it said is not known to have changed"
    assert plan.requeue_after is not None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("contents: {package: [a]}", ["contents.package", "unknown field"]),
        ("contents: [", ["image.yaml:2:1"]),
        ("- a", ["ConfigMap config"]),
        ("contents: {packages: [a]}\npaths: [{path: /x, type: symlink}]", ["needs a source"]),
    ],
)
def test_a_wrong_configuration_says_where(text, words):
    world = from_config_map()
    world.config_map = {"image.yaml": text}
    world.look()
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    for word in words:
        assert word in world.message("Stalled")


def test_trouble_with_a_pod_is_said(world):
    world.look()
    (job,) = world.open()
    world.jobs[job.name] = replace(
        job, trouble="no node takes its pod: 0/1", trouble_reason="Unschedulable"
    )
    plan = world.look()
    assert "no node takes its pod: 0/1" in world.message("Reconciling")
    assert plan.requeue_after == timedelta(seconds=10)
    assert plan.events[0].reason == "Unschedulable"
    assert world.look().events == ()


@pytest.mark.parametrize(
    ("ended", "reason", "stalled"),
    [
        ({"reason": "OOMKilled", "exit_code": 137}, "OutOfMemory", True),
        ({"reason": "DeadlineExceeded"}, "DeadlineExceeded", False),
        ({"reason": "BackoffLimitExceeded", "message": "Traceback"}, "BackoffLimitExceeded", False),
        ({"exit_code": 3, "message": "no JSON"}, "StepFailed", True),
    ],
)
def test_ways_to_fail(world, ended, reason, stalled):
    world.look()
    (job,) = world.open()
    world.jobs[job.name] = replace(job, phase="failed", **ended)
    world.settle()
    assert world.condition("BuildSucceeded") == ("False", reason)
    assert (world.condition("Stalled")[0] == "True") is stalled


def test_a_lost_result_is_tried_again(world):
    world.look()
    (job,) = world.open()
    world.jobs[job.name] = replace(job, phase="succeeded", message="")
    world.settle()
    assert world.condition("BuildSucceeded") == ("False", "ResultLost")
    assert world.status.retry_at is not None


def test_schedule_with_zone_and_jitter():
    world = World(schedule={"cron": "30 8 * * *", "timeZone": "Europe/Berlin", "jitter": "10m"})
    world.build()
    due = world.status.next_schedule
    first = START.replace(hour=7, minute=30)
    assert first <= due <= first + timedelta(minutes=10)
    plan = world.look()
    assert plan.requeue_after == due - world.now
    world.now = due - timedelta(seconds=1)
    world.look()
    assert world.status.build.number == 1
    world.now = due
    world.look()
    assert world.status.build.number == 2
    assert world.status.build.reason == "Schedule"
    world.build(version=2)
    assert world.status.next_schedule == due + timedelta(days=1)


def test_missed_nights_are_made_up_for_once():
    world = World(schedule={"cron": "0 3 * * *"})
    world.build()
    world.wait(days=9)
    world.build(version=2)
    assert world.status.build.number == 2


def test_retention_removes_the_oldest_builds():
    world = World(retention={"builds": 2})
    for version in range(1, 5):
        world.annotate(REQUESTED_AT, str(version))
        world.build(version=version)
    assert len(world.status.history) == 2
    kept = {record.id for record in world.status.history}
    assert {job.build for job in world.jobs.values()} == kept
    assert world.config_maps.keys() == kept
    assert world.condition("Ready")[0] == "True"


def test_unsigned_images_are_asked_for_nothing_to_sign():
    world = World(signing=None)
    world.look()
    (content,) = world.config_maps.values()
    attest = BuildRequest.model_validate_json(content["data"]["request.json"]).attest
    assert (attest.signature, attest.sbom, attest.provenance) == (False, False, False)


def test_a_deleted_object_is_left_alone(built):
    built.body["metadata"]["deletionTimestamp"] = START.isoformat()
    built.edit(archs=["amd64"])
    plan = built.look()
    assert plan.actions == ()
