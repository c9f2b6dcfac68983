"""From Jobs, pods and events as the API server gives them to what they mean. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from plimsoll.api.steps import EXIT_PERMANENT, StepFailure
from plimsoll.arch import Arch
from plimsoll.operator.podspec import ARCH_LABEL, BUILD_LABEL, REQUEST_LABEL, STEP_LABEL
from plimsoll.operator.state import JobPhase, JobView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Body = dict[str, Any]

#: Reasons of a container that waits for something that somebody must do.
_WAITING_FOR_HELP = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
#: Events of a pod that say why it does not start.
_TELLING_EVENTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"})
#: What a kubelet says of a ConfigMap or Secret that it has not heard of yet: it asks again at once.
_PASSING = re.compile(r"failed to sync (configmap|secret) cache")
_JOB_NAME = "batch.kubernetes.io/job-name"


def job_views(
    jobs: Iterable[Body], pods: Iterable[Body], events: Mapping[str, Sequence[Body]] | None = None
) -> tuple[JobView, ...]:
    """Every Job with what its pods tell.

    Args:
        jobs: Job objects of one ImageBuild.
        pods: pods of these Jobs.
        events: events by the name of the pod (or Job) that they are about.
    """
    by_job: dict[str, list[Body]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        by_job.setdefault(labels.get(_JOB_NAME, ""), []).append(pod)
    return tuple(
        _view(job, by_job.get(job["metadata"]["name"], []), events or {})
        for job in sorted(jobs, key=lambda j: str(j["metadata"]["name"]))
        if not job["metadata"].get("deletionTimestamp")
    )


def unstarted(pods: Iterable[Body]) -> list[str]:
    """Names of pods that were scheduled and whose containers do not run yet."""
    names = []
    for pod in pods:
        scheduled = _condition(pod, "PodScheduled")
        if (
            pod.get("status", {}).get("phase") == "Pending"
            and scheduled is not None
            and scheduled.get("status") == "True"
        ):
            names.append(pod["metadata"]["name"])
    return names


def _view(job: Body, pods: list[Body], events: Mapping[str, Sequence[Body]]) -> JobView:
    labels = job["metadata"].get("labels") or {}
    name = job["metadata"]["name"]
    slug = labels.get(ARCH_LABEL, "")
    pods = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    phase, reason, detail = _phase(job, pods)
    ended = [(pod, end) for pod in pods if (end := _terminated(pod)) is not None]
    wanted = "Succeeded" if phase == "succeeded" else "Failed"
    matching = [end for pod, end in ended if pod.get("status", {}).get("phase") == wanted]
    last = matching[-1] if matching else (ended[-1][1] if ended else {})
    if last.get("reason") == "OOMKilled" and phase != "succeeded":
        reason = "OOMKilled"
    trouble_reason, trouble = "", ""
    if phase in {"waiting", "running"}:
        trouble_reason, trouble = _trouble(name, pods, events, last)
    elif phase == "failed" and not last:
        trouble = detail
    return JobView(
        name=name,
        build=labels.get(BUILD_LABEL, ""),
        step=labels.get(STEP_LABEL, ""),
        arch=Arch.parse(slug).oci if slug else "",
        phase=phase,
        message=str(last.get("message") or ""),
        exit_code=last.get("exitCode"),
        reason=reason,
        trouble=trouble,
        trouble_reason=trouble_reason,
        container=str(last.get("container") or ""),
        request=labels.get(REQUEST_LABEL, ""),
        address=next((address for pod in reversed(pods) if (address := _address(pod))), ""),
    )


def _phase(job: Body, pods: list[Body]) -> tuple[JobPhase, str, str]:
    for kind, phase in (("Complete", "succeeded"), ("Failed", "failed")):
        condition = _condition(job, kind)
        if condition is not None and condition.get("status") == "True":
            found: JobPhase = "succeeded" if phase == "succeeded" else "failed"
            return found, str(condition.get("reason") or ""), str(condition.get("message") or "")
    # A Job is told to be complete seconds after its only pod has succeeded.
    if any(pod.get("status", {}).get("phase") == "Succeeded" for pod in pods):
        return "succeeded", "", ""
    running = any(
        pod.get("status", {}).get("phase") == "Running"
        or any(status.get("state", {}).get("running") for status in _containers(pod))
        for pod in pods
    )
    return ("running" if running else "waiting"), "", ""


def _trouble(
    job: str, pods: list[Body], events: Mapping[str, Sequence[Body]], last: Body
) -> tuple[str, str]:
    """Reason and sentence for what keeps a Job from going on."""
    for pod in reversed(pods):
        if pod.get("status", {}).get("phase") == "Pending" and (found := _pending(pod, events)):
            return found
    for event in () if pods else events.get(job, ()):
        if event.get("reason") == "FailedCreate":
            return "FailedCreate", f"its pod cannot be made: {event.get('message', '')}"
    if last.get("exitCode") and last["exitCode"] not in {2, EXIT_PERMANENT}:
        return "Retrying", f"a try failed and another follows: {_said(str(last.get('message')))}"
    return "", ""


def _pending(pod: Body, events: Mapping[str, Sequence[Body]]) -> tuple[str, str] | None:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "Unschedulable":
        return "Unschedulable", f"no node takes its pod: {scheduled.get('message', '')}"
    for container in _containers(pod):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _WAITING_FOR_HELP:
            text = waiting.get("message") or container.get("image", "")
            return str(waiting["reason"]), f"its container does not start: {text}"
    for event in events.get(pod["metadata"]["name"], ()):
        text = str(event.get("message", ""))
        if event.get("reason") in _TELLING_EVENTS and not _PASSING.search(text):
            return str(event["reason"]), f"its pod does not start: {text}"
    return None


def _terminated(pod: Body) -> Body | None:
    """How a pod's containers ended: the first that failed speaks, then the last that ended."""
    ended = [
        {**state, "container": status.get("name", "")}
        for status in _containers(pod)
        if (state := status.get("state", {}).get("terminated"))
    ]
    return next((end for end in ended if end.get("exitCode")), ended[-1] if ended else None)


def _containers(pod: Body) -> list[Body]:
    status = pod.get("status", {})
    return [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]


def _address(pod: Body) -> str:
    """Address of a pod that is ready."""
    ready = _condition(pod, "Ready")
    if ready is None or ready.get("status") != "True":
        return ""
    return str(pod["status"].get("podIP") or "")


def _condition(body: Body, kind: str) -> Body | None:
    for condition in body.get("status", {}).get("conditions") or []:
        if condition.get("type") == kind:
            return dict(condition)
    return None


def _said(text: str, limit: int = 300) -> str:
    """What a step said: the sentence of its failure, or the end of its log."""
    try:
        return StepFailure.model_validate_json(text).message
    except ValidationError:
        text = " ".join(text.split())
        return text if len(text) <= limit else f"…{text[-limit:]}"
