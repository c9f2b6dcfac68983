"""What the Jobs of one step of a build have handed back. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from plimsoll.api.imagebuildstatus import BuildFailure
from plimsoll.api.steps import (
    AssembleResult,
    PlanResult,
    PromoteResult,
    SealResult,
    StepFailure,
    load,
)
from plimsoll.operator.results import failure, lost, tested
from plimsoll.operator.variants import tests_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plimsoll.api.base import Model
    from plimsoll.api.imagebuild import ImageBuild
    from plimsoll.api.imagebuildstatus import Build, Lane
    from plimsoll.api.steps import StepName
    from plimsoll.operator.lanes import Task
    from plimsoll.operator.state import JobView

#: Step → what is said of a build that is at it, and what its Jobs hand back; nothing for a test.
PHASES: dict[StepName, tuple[str, type[Model] | None]] = {
    "plan": ("Planning", PlanResult),
    "rescan": ("Rescanning", SealResult),
    "assemble": ("Assembling", AssembleResult),
    "verify": ("Verifying", AssembleResult),
    "test": ("Testing", None),
    "seal": ("Sealing", SealResult),
    "promote": ("Promoting", PromoteResult),
}


@dataclass(slots=True)
class Gathered:
    """What the Jobs of one step are at.

    Attributes:
        results: of those that succeeded.
        failures: of those that failed.
        waiting: those that have not ended.
        missing: what has no Job yet.
    """

    results: dict[Task, Model | None] = field(default_factory=dict)
    failures: list[BuildFailure] = field(default_factory=list)
    waiting: list[JobView] = field(default_factory=list)
    missing: list[Task] = field(default_factory=list)


def gather(
    desired: ImageBuild, build: Build, views: Mapping[str, JobView], tasks: Iterable[Task]
) -> Gathered:
    """Look at the Jobs of some tasks.

    Args:
        desired: the object.
        build: that the Jobs are of.
        views: the Jobs that exist, by name.
        tasks: of one step.
    """
    gathered = Gathered()
    for task in tasks:
        view = views.get(task.job_name(build))
        if view is None:
            gathered.missing.append(task)
        elif not view.finished:
            gathered.waiting.append(view)
        else:
            result = _result(desired, view, task)
            if isinstance(result, BuildFailure):
                gathered.failures.append(result)
            else:
                gathered.results[task] = result
    return gathered


def _result(desired: ImageBuild, view: JobView, task: Task) -> Model | BuildFailure | None:
    """What an ended Job hands back; a test hands back nothing."""
    _, model = PHASES[task.step]
    if model is None:
        if view.phase == "succeeded":
            return None
        tests = tests_of(desired.spec, task.variant, task.arch) if task.arch else []
        return tested(view, task.name, [test.name for test in tests], "spec.job")
    try:
        result = load(task.step, view.message)
    except ValidationError:
        result = None
    if view.phase == "failed":
        told = result if isinstance(result, StepFailure) else None
        return failure(view, task.name, told)
    return result if isinstance(result, model) else lost(view, task.name)


def differs(build: Build, lane: Lane, task: Task, again: AssembleResult) -> BuildFailure | None:
    """Why an image that was assembled twice cannot be trusted to be what its inputs make."""
    (first,) = [one for one in lane.assembled if one.arch == again.arch]
    if (first.digest, first.sbom) == (again.digest, again.sbom):
        return None
    repository = build.inputs.output
    said = f"assembled twice from the same lock, it was {first.digest} and {again.digest}"
    if first.digest == again.digest:
        said = "assembled twice from the same lock, its SBOMs differed"
    return BuildFailure(
        step=task.name,
        reason="NotReproducible",
        message=f"{said}; see: plimsoll diff {repository}@{first.digest} "
        f"{repository}@{again.digest}",
        retryable=False,
    )
