"""One build on its way: plan, assemble per image and architecture, test, seal, promote. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from plimsoll.api.steps import (
    AssembleResult,
    PlanResult,
    PromoteResult,
)
from plimsoll.operator.gathering import PHASES, differs, gather
from plimsoll.operator.jobs import request, request_config_map, step_job
from plimsoll.operator.lanes import Task, lane_of, with_lane
from plimsoll.operator.networkpolicy import image_policy
from plimsoll.operator.podspec import service_account
from plimsoll.operator.results import placed
from plimsoll.operator.state import Apply, Create
from plimsoll.operator.testjobs import test_job
from plimsoll.operator.variants import tests_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.base import Model
    from plimsoll.api.imagebuild import ImageBuild
    from plimsoll.api.imagebuildstatus import Build, BuildFailure
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.sources import Configuration, Repositories
    from plimsoll.operator.state import Action, JobView, Observed


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is after this look.

    Attributes:
        build: with the results read so far.
        phase: ``Planning``, ``Assembling`` and so on, or empty when it ended.
        detail: what is waited for, for people.
        trouble_reason: set if something keeps a Job from going on.
        starting: a pod is waited for; nothing may tell why it does not start.
        promoted: the tags of every image, by the name of its variant: the build succeeded.
    """

    build: Build
    phase: str = ""
    detail: str = ""
    trouble_reason: str = ""
    starting: bool = False
    actions: tuple[Action, ...] = ()
    failure: BuildFailure | None = None
    unchanged: bool = False
    promoted: Mapping[str, Sequence[str]] | None = None


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

    @property
    def _lanes(self) -> list[str]:
        """Names of the variants that the build began with; empty for the image that is none."""
        return ["", *(variant.name for variant in self._build.variants)]

    def advance(self) -> Progress:
        """Read what ended, and say what to start."""
        for advance in (self._plan, self._assemble, self._verify, self._test, self._seal):
            progress = advance()
            if progress is not None:
                return progress
        return self._promote()

    def _plan(self) -> Progress | None:
        if self._build.plan is None:
            started = Task("plan").job_name(self._build) in self._jobs
            if self._repositories is None and not started:
                return self._waiting("Planning", [], detail="a package repository is missing")
            found, progress = self._step([Task("plan")])
            if progress is not None:
                return progress
            for result in found.values():
                assert isinstance(result, PlanResult)  # noqa: S101  the step says so
                self._build = self._build.model_copy(update={"plan": result})
        if self._build.plan is not None and self._build.plan.unchanged:
            return self._rescan() or Progress(build=self._build, unchanged=True)
        return None

    def _rescan(self) -> Progress | None:
        """Nothing is built; what is known of vulnerabilities may have changed all the same."""
        if self._desired.spec.scan is None or self._desired.status.digest is None:
            return None
        lanes = ["", *(each.name for each in self._desired.status.variants)]
        return self._step([Task("rescan", lane) for lane in lanes])[1]

    def _assemble(self) -> Progress | None:
        if self._build.is_sealed:
            return None
        tasks = [
            Task("assemble", lane, arch)
            for lane in self._lanes
            for arch in self._configuration.archs
            if arch.oci not in {result.arch for result in lane_of(self._build, lane).assembled}
        ]
        found, progress = self._step(tasks)
        for task, result in found.items():
            assert isinstance(result, AssembleResult)  # noqa: S101  the step says so
            known = [*lane_of(self._build, task.variant).assembled, result]
            known.sort(key=lambda one: one.arch)
            self._build = with_lane(self._build, task.variant, assembled=known)
        return self._with_build(progress)

    def _verify(self) -> Progress | None:
        """Assemble the same again from nothing, and see whether it is the same."""
        if self._build.is_sealed or not self._desired.spec.verify_reproducible:
            return None
        tasks = [
            Task("verify", lane, arch)
            for lane in self._lanes
            for arch in self._configuration.archs
            if arch.oci not in lane_of(self._build, lane).verified
        ]
        found, progress = self._step(tasks)
        for task, result in found.items():
            assert isinstance(result, AssembleResult)  # noqa: S101  the step says so
            lane = lane_of(self._build, task.variant)
            if difference := differs(self._build, lane, task, result):
                return Progress(build=self._build, failure=difference)
            verified = sorted([*lane.verified, result.arch])
            self._build = with_lane(self._build, task.variant, verified=verified)
        return self._with_build(progress)

    def _test(self) -> Progress | None:
        if self._build.is_sealed:
            return None
        tasks = [
            Task("test", lane, arch)
            for lane in self._lanes
            for arch in self._configuration.archs
            if arch.oci not in lane_of(self._build, lane).tested
            and tests_of(self._desired.spec, lane, arch)
        ]
        found, progress = self._step(tasks)
        for task in found:
            assert task.arch is not None  # noqa: S101  as above
            known = [*lane_of(self._build, task.variant).tested, task.arch.oci]
            self._build = with_lane(self._build, task.variant, tested=sorted(known))
        return self._with_build(progress)

    def _seal(self) -> Progress | None:
        while tasks := self._unsealed():
            found, progress = self._step(tasks)
            for task, result in found.items():
                self._build = with_lane(self._build, task.variant, sealed=result)
            if progress is not None:
                return self._with_build(progress)
        return None

    def _unsealed(self) -> list[Task]:
        """What can be sealed now: of images that are the same, one after the other.

        Where a registry cannot list what refers to an image, that is kept by one writer.
        """
        tasks: list[Task] = []
        busy: set[str] = set()
        for name in self._lanes:
            lane = lane_of(self._build, name)
            digests = {result.digest for result in lane.assembled}
            if lane.sealed is None and not digests & busy:
                tasks.append(Task("seal", name))
            if lane.sealed is None:
                busy |= digests
        return tasks

    def _promote(self) -> Progress:
        found, progress = self._step([Task("promote", lane) for lane in self._lanes])
        if progress is not None:
            return progress
        tags = {
            task.variant: result.tags
            for task, result in found.items()
            if isinstance(result, PromoteResult)
        }
        return Progress(build=self._build, promoted=tags)

    def _with_build(self, progress: Progress | None) -> Progress | None:
        return None if progress is None else replace(progress, build=self._build)

    def _step(self, tasks: Sequence[Task]) -> tuple[dict[Task, Model | None], Progress | None]:
        """What the Jobs of one step have handed back, and what is to be done before the next."""
        if not tasks:
            return {}, None
        gathered = gather(self._desired, self._build, self._jobs, tasks)
        if gathered.failures:
            lasting = [each for each in gathered.failures if not each.retryable]
            failed = (lasting or gathered.failures)[0]
            return gathered.results, Progress(build=self._build, failure=failed)
        if not gathered.waiting and not gathered.missing:
            return gathered.results, None
        phase, _ = PHASES[tasks[0].step]
        actions = self._begin(gathered.missing)
        return gathered.results, self._waiting(phase, gathered.waiting, *actions)

    def _begin(self, tasks: Sequence[Task]) -> list[Action]:
        """Make the Jobs, and before them what they need."""
        namespace = self._desired.metadata.namespace
        actions: list[Action] = []
        if not tasks:
            return actions
        if tasks[0].step in {"plan", "seal", "rescan"}:
            signs = tasks[0].step != "plan"
            name = self._settings.seal_account if signs else self._settings.build_account
            actions.append(Create(service_account(namespace, name)))
        if tasks[0].step == "plan" and self._repositories is not None:
            content = request(
                self._desired,
                self._build,
                self._configuration,
                self._repositories,
                self._settings,
            )
            actions.append(Create(request_config_map(self._desired, content)))
        if tasks[0].step == "test":
            actions.append(Apply(image_policy(self._desired.metadata)))
        return [*actions, *(Create(self._manifest(task)) for task in tasks)]

    def _manifest(self, task: Task) -> Mapping[str, Any]:
        if task.step != "test":
            return step_job(self._desired, self._build, task, self._settings)
        images = {each.name: each.image for each in self._configuration.variants}
        accounts = images.get(task.variant, self._configuration.image).accounts
        return test_job(self._desired, self._build, task, accounts, self._settings)

    def _waiting(
        self, phase: str, views: Sequence[JobView], *actions: Action, detail: str = ""
    ) -> Progress:
        troubled = [placed(view) for view in views if view.trouble]
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
