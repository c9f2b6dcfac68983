import json

import pytest

from plimsoll.api.steps import StepFailure
from plimsoll.operator.observe import job_views, unstarted

LABELS = {"plimsoll.dev/build": "app-1-abc", "plimsoll.dev/step": "plan"}


def job(*conditions, **labels):
    return {
        "metadata": {"name": "j", "labels": {**LABELS, **labels}},
        "status": {"conditions": list(conditions)},
    }


def condition(kind, **fields):
    return {"type": kind, "status": "True", **fields}


def pod(name="p", *, phase="Pending", conditions=(), created="2026-11-21T06:00:00Z", **state):
    containers = [{"name": "step", "image": "img", "state": state}] if state else []
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "labels": {"batch.kubernetes.io/job-name": "j"},
        },
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "containerStatuses": containers,
        },
    }


def ended(code, message="", reason="Error"):
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}


def view(job, *pods, **events):
    (only,) = job_views([job], pods, events)
    return only


def test_states():
    assert view(job()).phase == "waiting"
    assert view(job(), pod()).phase == "waiting"
    assert view(job(), pod(phase="Running")).phase == "running"
    assert view(job(condition("Complete"))).phase == "succeeded"
    assert view(job(), pod(phase="Succeeded", **ended(0, "r"))).phase == "succeeded"
    failed = view(job(condition("Failed", reason="DeadlineExceeded", message="too long")))
    assert (failed.phase, failed.reason, failed.trouble) == (
        "failed",
        "DeadlineExceeded",
        "too long",
    )
    assert view(job(condition("Failed", status="False"))).phase == "waiting"


def test_the_message_is_that_of_the_pod_that_decided():
    first = pod("a", phase="Failed", created="1", **ended(1, "first"))
    second = pod("b", phase="Succeeded", created="2", **ended(0, "result", "Completed"))
    done = view(job(condition("Complete")), second, first)
    assert (done.message, done.exit_code) == ("result", 0)
    third = pod("c", phase="Failed", created="3", **ended(3, "last"))
    failed = view(job(condition("Failed", reason="PodFailurePolicy")), third, first)
    assert (failed.message, failed.exit_code) == ("last", 3)


def test_out_of_memory_wins_over_what_the_job_says():
    killed = pod(phase="Failed", **ended(137, "", "OOMKilled"))
    seen = view(job(condition("Failed", reason="BackoffLimitExceeded")), killed)
    assert seen.reason == "OOMKilled"


def test_architectures_come_back_from_labels():
    assert view(job(**{"plimsoll.dev/arch": "arm-v7"})).arch == "arm/v7"


def test_jobs_that_are_being_deleted_count_as_gone():
    gone = job()
    gone["metadata"]["deletionTimestamp"] = "2026-11-21T06:00:00Z"
    assert job_views([gone], []) == ()


@pytest.mark.parametrize(
    ("pods", "events", "reason", "text"),
    [
        (
            [
                pod(
                    conditions=[
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "0/1 nodes are available",
                        }
                    ]
                )
            ],
            {},
            "Unschedulable",
            "0/1 nodes are available",
        ),
        (
            [pod(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling image"})],
            {},
            "ImagePullBackOff",
            "Back-off pulling image",
        ),
        (
            [pod(waiting={"reason": "ContainerCreating"})],
            {"p": [{"reason": "FailedMount", "message": 'secret "cosign" not found'}]},
            "FailedMount",
            'secret "cosign" not found',
        ),
        (
            [],
            {"j": [{"reason": "FailedCreate", "message": "exceeded quota"}]},
            "FailedCreate",
            "exceeded quota",
        ),
        ([pod(waiting={"reason": "ContainerCreating"})], {}, "", ""),
        (
            [pod(waiting={"reason": "ContainerCreating"})],
            {
                "p": [
                    {
                        "reason": "FailedMount",
                        "message": "failed to sync configmap cache: timed out",
                    }
                ]
            },
            "",
            "",
        ),
    ],
)
def test_what_keeps_a_pod_from_starting(pods, events, reason, text):
    seen = view(job(), *pods, **events)
    assert seen.trouble_reason == reason
    assert text in seen.trouble


def test_a_try_that_failed_is_told_in_its_own_words():
    failure = StepFailure(reason="HttpError", message="registry answered 503", retryable=True)
    message = json.dumps(failure.model_dump(by_alias=True))
    seen = view(job(), pod(phase="Failed", **ended(1, message)))
    assert "registry answered 503" in seen.trouble
    assert "{" not in seen.trouble
    log = view(job(), pod(phase="Failed", **ended(1, "Traceback\n" + "x" * 4000)))
    assert len(log.trouble) < 400


def test_only_scheduled_pods_are_asked_for_their_events():
    scheduled = pod("a", conditions=[{"type": "PodScheduled", "status": "True"}])
    assert unstarted([scheduled, pod("b"), pod("c", phase="Running")]) == ["a"]
