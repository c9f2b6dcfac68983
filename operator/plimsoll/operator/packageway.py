"""One package on its way: prepare, build, collect, test. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from plimsoll.api.imagebuildstatus import BuildFailure
from plimsoll.api.packagesteps import (
    PackageCollectResult,
    PackageKeysResult,
    PackagePlanResult,
    PackagePrepareResult,
    PackagePublishResult,
    load,
)
from plimsoll.api.steps import StepFailure
from plimsoll.operator.networkpolicy import policies
from plimsoll.operator.packagejobs import job_name
from plimsoll.operator.podspec import service_account
from plimsoll.operator.results import failure, last_lines, lost, placed, tested
from plimsoll.operator.state import Apply, Create

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.packagebuildstatus import PackageBuild, PackageState
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagesteps import PackageStepName
    from plimsoll.operator.packagejobs import PackageJobs
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.state import Action, JobView

R = TypeVar(
    "R",
    PackageKeysResult,
    PackagePlanResult,
    PackagePrepareResult,
    PackageCollectResult,
    PackagePublishResult,
)
JOB = "spec.packages.job"
#: Exit statuses of a container that was ended from outside.
_KILLED = frozenset({137, 143})


@dataclass(frozen=True, slots=True)
class Way:
    """How far a package is after this look.

    Attributes:
        build: with the results read so far.
        failure: why it goes no further.
        starting: a pod is waited for; nothing may tell why it does not start.
    """

    build: PackageBuild
    actions: tuple[Action, ...] = ()
    failure: BuildFailure | None = None
    starting: bool = False


class Walker:
    """Carries packages as far as their Jobs allow."""

    def __init__(
        self,
        desired: PackageRepo,
        jobs: PackageJobs,
        views: Mapping[str, JobView],
        settings: JobSettings,
    ) -> None:
        self._desired = desired
        self._jobs = jobs
        self._views = views
        self._settings = settings

    def advance(self, build: PackageBuild) -> Way:
        """Read what ended, and say what to start."""
        for step in (self._prepare, self._build, self._collect, self._test):
            way = step(build)
            if way.failure is not None or way.build.state in _WAITING:
                return way
            build = way.build
        return Way(_state(build, "Built"))

    def _prepare(self, build: PackageBuild) -> Way:
        if build.prepared is not None:
            return Way(_done(build))
        view = self._view(build, "prepare")
        if view is None:
            account = service_account(
                self._desired.metadata.namespace, self._settings.build_account
            )
            create = Create(self._jobs.prepare(build))
            return Way(_state(build, "Preparing"), (Create(account), create), starting=True)
        if not view.finished:
            return _waiting(build, "Preparing", view)
        result = read(view, "package-prepare", PackagePrepareResult, "prepare")
        if isinstance(result, BuildFailure):
            return Way(build, failure=result)
        return Way(_done(build.model_copy(update={"prepared": result})))

    def _build(self, build: PackageBuild) -> Way:
        """Until the outbox can be asked; what it said of itself does not matter once it was."""
        if build.collected is not None or self._view(build, "collect") is not None:
            return Way(_done(build))
        view = self._view(build, "build")
        if view is None:
            rules = [Apply(policy) for policy in policies(self._desired)]
            actions: list[Action] = [*rules, Create(self._jobs.build(build))]
            return Way(_state(build, "Building"), tuple(actions), starting=True)
        if view.phase == "failed":
            return Way(build, failure=_built(view))
        if view.phase == "succeeded":
            gone = BuildFailure(
                step="build",
                reason="OutputLost",
                message=f"Job {view.name} ended before its output was collected",
                retryable=True,
            )
            return Way(build, failure=gone)
        if not view.address:
            return _waiting(build, "Building", view)
        create = Create(self._jobs.collect(build, view.address))
        return Way(_state(build, "Collecting"), (create,), starting=True)

    def _collect(self, build: PackageBuild) -> Way:
        if build.collected is not None:
            return Way(_done(build))
        view = self._view(build, "collect")
        if view is None or not view.finished:
            return _waiting(build, "Collecting", view)
        result = read(view, "package-collect", PackageCollectResult, "collect")
        if isinstance(result, BuildFailure):
            return Way(build, failure=result)
        return Way(_done(build.model_copy(update={"collected": result})))

    def _test(self, build: PackageBuild) -> Way:
        if build.collected is None or not build.collected.tests:
            return Way(_state(build, "Built"))
        view = self._view(build, "test")
        if view is None:
            rules = [Apply(policy) for policy in policies(self._desired)]
            actions: list[Action] = [*rules, Create(self._jobs.test(build))]
            return Way(_state(build, "Testing"), tuple(actions), starting=True)
        if not view.finished:
            return _waiting(build, "Testing", view)
        if view.phase == "failed":
            names = [test.name for test in build.collected.tests]
            return Way(build, failure=tested(view, "test", names, JOB))
        return Way(_state(build, "Built"))

    def _view(self, build: PackageBuild, step: str) -> JobView | None:
        return self._views.get(job_name(build.id, step))


#: States in which a Job is waited for.
_WAITING = frozenset({"Preparing", "Building", "Collecting", "Testing"})


def _state(
    build: PackageBuild, state: PackageState, message: str = "", reason: str = ""
) -> PackageBuild:
    update = {"state": state, "message": message, "message_reason": reason}
    return build.model_copy(update=update)


def _done(build: PackageBuild) -> PackageBuild:
    """With this step behind it; the next says what the state is."""
    return _state(build, "Queued")


def _waiting(build: PackageBuild, state: PackageState, view: JobView | None) -> Way:
    if view is None:
        return Way(_state(build, state), starting=True)
    view = placed(view)
    message, reason = view.trouble, view.trouble_reason
    return Way(
        _state(build, state, f"Job {view.name}: {message}" if message else "", reason),
        starting=view.phase == "waiting",
    )


def read(view: JobView, step: PackageStepName, model: type[R], name: str) -> R | BuildFailure:
    """What an ended Job hands back."""
    try:
        result = load(step, view.message)
    except ValidationError:
        result = None
    if view.phase == "failed":
        return failure(view, name, result if isinstance(result, StepFailure) else None, JOB)
    return result if isinstance(result, model) else lost(view, name)


def _built(view: JobView) -> BuildFailure:
    """Why a package could not be built: the end of the log of its steps."""
    if view.container != "build" or view.reason in {"OOMKilled", "DeadlineExceeded"}:
        return failure(view, "build", None, JOB)
    said = last_lines(view.message) or "they said nothing"
    return BuildFailure(
        step="build",
        reason="BuildFailed",
        message=f"the steps failed with status {view.exit_code}:\n{said}",
        retryable=view.exit_code in _KILLED,
    )
