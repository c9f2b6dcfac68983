"""One look at a PackageRepo that is built here, step by step. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from plimsoll.api.imagebuildstatus import BuildFailure
from plimsoll.api.meta import CANCEL, REQUESTED_AT
from plimsoll.api.packagesteps import PackagePlanResult
from plimsoll.operator import planning, publishing
from plimsoll.operator.packageinputs import inputs
from plimsoll.operator.packagejobs import PackageJobs, job_name
from plimsoll.operator.packagekeys import look_at_keys
from plimsoll.operator.packagerequest import request, request_config_map
from plimsoll.operator.packagetidy import moved, record
from plimsoll.operator.packageway import Walker, read
from plimsoll.operator.podspec import service_account
from plimsoll.operator.state import Create, Event
from plimsoll.operator.trigger import retry_delay

if TYPE_CHECKING:
    from plimsoll.api.packagebuildstatus import PackageBuild, PackageRecord
    from plimsoll.api.packagestatus import PackagePlan, PackageRepoStatus
    from plimsoll.operator.packageinputs import Inputs
    from plimsoll.operator.packagelook import PackagesLook
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.sources import Repositories
    from plimsoll.operator.state import Action, JobView, PackagesObserved

RUNNING = frozenset({"Preparing", "Building", "Collecting", "Testing"})
#: Most failed packages that are remembered; more are tried again.
_MOST_BUILDS = 500
_EVENT = 900
_CANCELLED = BuildFailure(
    step="build", reason="Cancelled", message=f"{CANCEL} names it", retryable=False
)


class Session:
    """Each step replaces the status that the next one sees.

    Args:
        look: so far.
        found: what packages are built from.
        others: where build dependencies come from; ``None`` as long as one is missing.
        observed: the world.
        settings: how Jobs run.
    """

    def __init__(
        self,
        look: PackagesLook,
        found: Inputs,
        others: Repositories | None,
        observed: PackagesObserved,
        settings: JobSettings,
    ) -> None:
        self._look = look
        self._inputs = found
        self._others = others
        self._observed = observed
        self._views: dict[str, JobView] = {job.name: job for job in observed.jobs}
        self._settings = settings
        self._jobs = PackageJobs(look.desired, found.spec, settings)

    def run(self) -> PackagesLook:
        """Advance what runs; then start what may start."""
        url = f"oci://{self._inputs.spec.storage.repository}"
        self._look = self._look.having(moved(self._status, url))
        if self._keys():
            self._plan()
            self._publications()
            self._packages()
            self._begin()
        return replace(self._look, inputs=self._inputs)

    @property
    def _status(self) -> PackageRepoStatus:
        return self._look.desired.status

    def _update(self, **changes: object) -> None:
        self._look = self._look.having(self._status.model_copy(update=changes))

    def _act(self, *actions: Action) -> None:
        look = self._look
        self._look = replace(look, actions=(*look.actions, *actions), starting=True)

    def _wait(self, view: JobView) -> None:
        look = self._look
        if view.trouble:
            said = f"Job {view.name}: {view.trouble}"
            look = replace(look, trouble=said, trouble_reason=view.trouble_reason)
        self._look = replace(look, starting=look.starting or view.phase == "waiting")

    def _tell(self, *events: Event) -> None:
        self._look = replace(self._look, events=(*self._look.events, *events))

    def _keys(self) -> bool:
        desired, now = self._look.desired, self._look.now
        keys = look_at_keys(desired, self._inputs, self._jobs, self._views, self._settings, now)
        self._look = self._look.having(keys.status)
        if keys.actions:
            self._act(*keys.actions)
        if keys.view is not None:
            self._wait(keys.view)
        if keys.known:
            # The keys are part of what is built from.
            self._inputs = inputs(self._look.desired, self._observed)
        return keys.known

    def _plan(self) -> None:
        plan = self._status.plan
        if plan is None or plan.state != "Running":
            return
        asked = self._look.desired.metadata.annotations.get(REQUESTED_AT)
        if plan.configuration != self._inputs.hash or plan.requested_at != asked:
            self._update(plan=_ended(plan, "Cancelled", self._look))
            return
        view = self._views.get(job_name(plan.id, "plan"))
        if view is None:
            self._start_plan(plan)
            return
        if not view.finished:
            self._wait(view)
            return
        result = read(view, "package-plan", PackagePlanResult, "plan")
        if isinstance(result, BuildFailure):
            self._plan_failed(plan, result)
            return
        desired, now = self._look.desired, self._look.now
        before = self._status.builds
        self._look = self._look.having(planning.merge(desired, self._status, result, now))
        kept = {build.id for build in self._status.builds}
        dropped = [build for build in before if build.id not in kept and build.started_at]
        self._remember(*(record(build, "Superseded", self._look.now) for build in dropped))

    def _plan_failed(self, plan: PackagePlan, failure: BuildFailure) -> None:
        failures, now = self._status.failures + 1, self._look.now.replace(microsecond=0)
        ended = _ended(plan, "Failed", self._look).model_copy(update={"failure": failure})
        retry = now + retry_delay(failures) if failure.retryable else None
        self._update(plan=ended, failures=failures, retry_at=retry)
        self._tell(Event("Warning", "PlanFailed", failure.message[:_EVENT]))

    def _start_plan(self, plan: PackagePlan) -> None:
        if self._others is None:
            return
        failed = planning.known_failures(self._status)
        desired = self._look.desired
        content = request(desired, plan, self._inputs, self._others, failed, self._settings)
        namespace = desired.metadata.namespace
        self._act(
            Create(service_account(namespace, self._settings.build_account)),
            Create(request_config_map(desired, plan.id, content)),
            Create(self._jobs.plan(plan)),
        )

    def _publications(self, but: frozenset[str] = frozenset()) -> None:
        for publish in publishing.active(self._status):
            if publish.id in but:
                continue
            look = self._look
            done = publishing.advance(
                look.desired,
                publish,
                self._jobs,
                self._inputs,
                self._views,
                self._settings,
                look.now,
            )
            self._look = replace(
                look.having(done.status),
                trouble=done.trouble or look.trouble,
                trouble_reason=done.trouble_reason or look.trouble_reason,
                starting=look.starting or done.starting,
                actions=(*look.actions, *done.actions),
                events=(*look.events, *done.events),
            )

    def _packages(self, only: frozenset[str] | None = None) -> None:
        walker = Walker(self._look.desired, self._jobs, self._views, self._settings)
        cancelled = self._look.desired.metadata.annotations.get(CANCEL)
        builds: list[PackageBuild] = []
        failed: list[PackageBuild] = []
        for build in self._status.builds:
            if only is not None and build.id not in only:
                pass
            elif build.state in {"Queued", *RUNNING} and build.id == cancelled:
                build = self._failed(build, _CANCELLED)  # noqa: PLW2901  one build, a look later
                failed.append(build)
            elif build.state in RUNNING:
                way = walker.advance(build)
                build = way.build  # noqa: PLW2901  one build, a look later
                self._look = replace(self._look, starting=self._look.starting or way.starting)
                if way.actions:
                    self._act(*way.actions)
                if way.failure is not None:
                    build = self._failed(build, way.failure)  # noqa: PLW2901  as above
                    failed.append(build)
            elif self._is_due(build):
                build = planning.retried(self._look.desired, build)  # noqa: PLW2901  as above
            if self._is_outdated(build):
                build = planning.retried(self._look.desired, build)  # noqa: PLW2901  as above
            builds.append(build)
        self._update(builds=builds[-_MOST_BUILDS:])
        if any(build.retry_at is None for build in failed):
            self._update(plan_again=True)
        self._remember(*(record(build, "Failed", self._look.now) for build in failed))

    def _is_outdated(self, build: PackageBuild) -> bool:
        """Whether the spec changed while something stands in the way of a package.

        Jobs cannot be changed, so that may be what the new spec is to end.
        """
        generation = self._look.desired.metadata.generation
        return build.state in RUNNING and bool(build.message) and build.generation != generation

    def _is_due(self, build: PackageBuild) -> bool:
        due = build.retry_at is not None and self._look.now >= build.retry_at
        return due and build.state == "Failed" and not self._look.desired.spec.suspend

    def _failed(self, build: PackageBuild, failure: BuildFailure) -> PackageBuild:
        now = self._look.now.replace(microsecond=0)
        retry = now + retry_delay(build.attempt) if failure.retryable else None
        said = (
            failure.message if len(failure.message) <= _EVENT else f"…{failure.message[-_EVENT:]}"
        )
        what = f"{build.name}-{build.version} for {build.arch}"
        self._tell(Event("Warning", "PackageFailed", f"{what}, {failure.step}: {said}"))
        return build.model_copy(
            update={
                "state": "Failed",
                "message": "",
                "message_reason": "",
                "failure": failure,
                "failed_at": now,
                "retry_at": retry,
            }
        )

    def _begin(self) -> None:
        """Start a plan; or else publications and packages."""
        desired, now = self._look.desired, self._look.now
        if self._status.plan is not None and self._status.plan.state == "Running":
            return
        if self._others is not None and not desired.spec.suspend:
            reason = planning.why(desired, self._inputs, self._others, now)
            if reason is not None:
                if not publishing.active(self._status):
                    self._look = self._look.having(
                        planning.start(desired, self._inputs, self._others, reason, now)
                    )
                    self._plan()
                return
        running = frozenset(publish.id for publish in publishing.active(self._status))
        self._look = self._look.having(publishing.start(desired, self._status, now))
        self._publications(but=running)
        if not desired.spec.suspend:
            self._start_packages()

    def _start_packages(self) -> None:
        most, now = self._inputs.spec.parallelism, self._look.now.replace(microsecond=0)
        room = self._observed.room
        total = sum(build.state in RUNNING for build in self._status.builds)
        busy: dict[str, int] = {}
        for build in self._status.builds:
            busy[build.arch] = busy.get(build.arch, 0) + (build.state in RUNNING)
        started = set()
        for build in self._status.builds:
            if build.state != "Queued" or busy[build.arch] >= most:
                continue
            if room is not None and total >= room:
                # Others may end without a sign to us.
                self._look = replace(self._look, starting=True)
                break
            busy[build.arch] += 1
            total += 1
            started.add(build.id)
        if started:
            generation = self._look.desired.metadata.generation
            begun = {"state": "Preparing", "started_at": now, "generation": generation}
            self._update(
                builds=[
                    build.model_copy(update=begun) if build.id in started else build
                    for build in self._status.builds
                ]
            )
            self._packages(only=frozenset(started))

    def _remember(self, *records: PackageRecord) -> None:
        known = {record.id for record in records}
        old = [record for record in self._status.history if record.id not in known]
        self._update(history=[*records, *old])


def _ended(plan: PackagePlan, state: str, look: PackagesLook) -> PackagePlan:
    at = look.now.replace(microsecond=0)
    return plan.model_copy(update={"state": state, "finished_at": at})
