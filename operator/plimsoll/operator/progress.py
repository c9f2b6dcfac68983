"""One build on its way: plan, assemble per architecture, seal, promote. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

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
from plimsoll.operator.jobs import (
    job_name,
    request,
    request_config_map,
    step_job,
)
from plimsoll.operator.podspec import service_account
from plimsoll.operator.results import failure, lost
from plimsoll.operator.state import Create

R = TypeVar("R", PlanResult, AssembleResult, SealResult, PromoteResult)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.imagebuild import ImageBuild
    from plimsoll.api.imagebuildstatus import Build
    from plimsoll.api.steps import StepName
    from plimsoll.arch import Arch
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.sources import Configuration, Repositories
    from plimsoll.operator.state import Action, JobView, Observed


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is after this look.

    Attributes:
        build: with the results read so far.
        phase: ``Planning``, ``Assembling``, ``Sealing``, ``Promoting``, or empty when it ended.
        detail: what is waited for, for people.
        trouble_reason: set if something keeps a Job from going on.
        starting: a pod is waited for; nothing may tell why it does not start.
        promoted: result of the last step: the build succeeded.
    """

    build: Build
    phase: str = ""
    detail: str = ""
    trouble_reason: str = ""
    starting: bool = False
    actions: tuple[Action, ...] = ()
    failure: BuildFailure | None = None
    unchanged: bool = False
    promoted: PromoteResult | None = None


class Run:
    """Carries one build as far as its Jobs allow.

    Args:
        build: as the status has it.
        observed: the Jobs that exist.
    """

    def __init__(  # noqa: PLR0913, PLR0917  everything that a Job's manifest is made from
        self,
        desired: ImageBuild,
        build: Build,
        configuration: Configuration,
        repositories: Repositories | None,
        observed: Observed,
        settings: JobSettings,
    ) -> None:
        self._desired = desired
        self._build = build
        self._configuration = configuration
        self._repositories = repositories
        self._jobs = {job.name: job for job in observed.jobs if job.build == build.id}
        self._refused = observed.refused
        self._settings = settings

    def advance(self) -> Progress:
        """Read what ended, and say what to start."""
        for advance in (self._plan, self._assemble, self._seal):
            progress = advance()
            if progress is not None:
                return progress
        return self._promote()

    def _plan(self) -> Progress | None:
        if self._build.plan is None:
            view = self._view("plan")
            if view is None:
                return self._start()
            if not view.finished:
                return self._waiting("Planning", [view])
            result = _result(view, "plan", PlanResult)
            if isinstance(result, BuildFailure):
                return self._failed(result)
            self._build = self._build.model_copy(update={"plan": result})
        if self._build.plan is not None and self._build.plan.unchanged:
            return Progress(build=self._build, unchanged=True)
        return None

    def _start(self) -> Progress:
        if self._repositories is None:
            return self._waiting("Planning", [], detail="a package repository is missing")
        content = request(
            self._desired, self._build, self._configuration, self._repositories, self._settings
        )
        namespace = self._desired.metadata.namespace
        return self._waiting(
            "Planning",
            [],
            Create(service_account(namespace, self._settings.build_account)),
            Create(request_config_map(self._desired, content)),
            self._job("plan"),
        )

    def _assemble(self) -> Progress | None:
        if self._build.sealed is not None:
            return None
        done = {result.arch: result for result in self._build.assembled}
        waiting: list[JobView] = []
        actions: list[Action] = []
        failures: list[BuildFailure] = []
        for arch in self._configuration.archs:
            if arch.oci in done:
                continue
            view = self._view("assemble", arch)
            if view is None:
                actions.append(self._job("assemble", arch))
            elif not view.finished:
                waiting.append(view)
            else:
                result = _result(view, "assemble", AssembleResult)
                if isinstance(result, BuildFailure):
                    failures.append(result)
                else:
                    done[arch.oci] = result
        self._build = self._build.model_copy(
            update={"assembled": [done[name] for name in sorted(done)]}
        )
        if failures:
            return self._failed(next((f for f in failures if not f.retryable), failures[0]))
        if waiting or actions:
            return self._waiting("Assembling", waiting, *actions)
        return None

    def _seal(self) -> Progress | None:
        if self._build.sealed is not None:
            return None
        view = self._view("seal")
        if view is None:
            namespace = self._desired.metadata.namespace
            account = service_account(namespace, self._settings.seal_account)
            return self._waiting("Sealing", [], Create(account), self._job("seal"))
        if not view.finished:
            return self._waiting("Sealing", [view])
        result = _result(view, "seal", SealResult)
        if isinstance(result, BuildFailure):
            return self._failed(result)
        self._build = self._build.model_copy(update={"sealed": result})
        return None

    def _promote(self) -> Progress:
        view = self._view("promote")
        if view is None:
            return self._waiting("Promoting", [], self._job("promote"))
        if not view.finished:
            return self._waiting("Promoting", [view])
        result = _result(view, "promote", PromoteResult)
        if isinstance(result, BuildFailure):
            return self._failed(result)
        return Progress(build=self._build, promoted=result)

    def _view(self, step: StepName, arch: Arch | None = None) -> JobView | None:
        return self._jobs.get(job_name(self._build.id, step, arch))

    def _job(self, step: StepName, arch: Arch | None = None) -> Create:
        return Create(step_job(self._desired, self._build, step, self._settings, arch))

    def _failed(self, failure: BuildFailure) -> Progress:
        return Progress(build=self._build, failure=failure)

    def _waiting(
        self, phase: str, views: Sequence[JobView], *actions: Action, detail: str = ""
    ) -> Progress:
        troubled = [view for view in views if view.trouble]
        detail = detail or "; ".join(f"Job {view.name}: {view.trouble}" for view in troubled)
        if not detail:
            names = [view.name for view in views]
            names += [
                str(action.manifest["metadata"]["name"])
                for action in actions
                if isinstance(action, Create) and action.manifest["kind"] == "Job"
            ]
            detail = f"waiting for Job {', '.join(sorted(names))}"
        reason = troubled[0].trouble_reason if troubled else ""
        if actions and self._refused:
            reason, detail = "CreateRefused", self._refused
        return Progress(
            build=self._build,
            phase=phase,
            detail=detail,
            trouble_reason=reason,
            starting=bool(actions) or any(view.phase == "waiting" for view in views),
            actions=actions,
        )


def _result(view: JobView, step: StepName, model: type[R]) -> R | BuildFailure:
    """What an ended Job hands back."""
    name = f"{step}-{view.arch.replace('/', '-')}" if view.arch else step
    try:
        result = load(step, view.message)
    except ValidationError:
        result = None
    if view.phase == "failed":
        return failure(view, name, result if isinstance(result, StepFailure) else None)
    return result if isinstance(result, model) else lost(view, name)
