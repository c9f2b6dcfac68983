"""What an ended Job says of itself. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from plimsoll.api.imagebuildstatus import BuildFailure
from plimsoll.api.steps import EXIT_PERMANENT, StepFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.operator.state import JobView

_LOG_LINES = 12
_LOG_LIMIT = 800


def failure(
    view: JobView, step: str, told: StepFailure | None, job: str = "spec.job"
) -> BuildFailure:
    """Why a Job failed.

    Args:
        view: the Job.
        step: what it was, with its architecture.
        told: what its step said.
        job: the field of the spec that says how Jobs run.
    """
    if view.reason == "OOMKilled":
        return BuildFailure(
            step=step,
            reason="OutOfMemory",
            message=f"Job {view.name} ran out of memory: raise {job}.resources.limits.memory",
            retryable=False,
        )
    if view.reason == "DeadlineExceeded":
        last = f"; it last said: {told.message}" if told else ""
        return BuildFailure(
            step=step,
            reason="DeadlineExceeded",
            message=f"Job {view.name} took longer than {job}.timeout allows{last}",
            retryable=True,
        )
    if told is not None:
        return BuildFailure(
            step=step, reason=told.reason, message=told.message, retryable=told.retryable
        )
    said = " ".join((view.message or view.trouble).split())[-500:]
    return BuildFailure(
        step=step,
        reason=view.reason or "StepFailed",
        message=f"Job {view.name} failed: {said or 'it left no message; see the log of its pod'}",
        retryable=view.exit_code not in {2, EXIT_PERMANENT},
    )


def tested(view: JobView, step: str, names: Sequence[str], job: str) -> BuildFailure:
    """Which test failed, and the end of what it said.

    Args:
        view: a Job whose containers are called by the number of their test.
        step: as for ``failure``.
        names: of the tests.
        job: as for ``failure``.
    """
    if view.reason in {"OOMKilled", "DeadlineExceeded"} or not view.container:
        return failure(view, step, None, job)
    number = view.container.removeprefix("test-")
    known = number.isdigit() and int(number) < len(names)
    name = names[int(number)] if known else view.container
    said = last_lines(view.message) or "it said nothing"
    return BuildFailure(
        step=step,
        reason="TestFailed",
        message=f"the test of {name} failed with status {view.exit_code}:\n{said}",
        retryable=False,
    )


def placed(view: JobView) -> JobView:
    """A Job whose pod runs code of packages and finds no node, with the likely reason."""
    if view.trouble_reason != "Unschedulable" or view.step not in {"build", "test"}:
        return view
    return replace(
        view,
        trouble_reason="NoNodeForArchitecture",
        trouble=f"{view.trouble}; the label kubernetes.io/arch of its node must be that of "
        f"{view.arch}",
    )


def lost(view: JobView, step: str) -> BuildFailure:
    """A Job succeeded, and nobody knows with what."""
    return BuildFailure(
        step=step,
        reason="ResultLost",
        message=f"Job {view.name} succeeded, but its result could not be read",
        retryable=True,
    )


def last_lines(text: str) -> str:
    """The end of a log, as whole lines."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()][-_LOG_LINES:]
    kept = "\n".join(lines)
    if len(kept) <= _LOG_LIMIT:
        return kept
    cut = kept[-_LOG_LIMIT:]
    return cut.partition("\n")[2] or cut
