"""A cluster in miniature for the pure part of the operator: it carries out plans.

Jobs end when a test says so, with the results that the steps would leave.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from plimsoll.api.imagebuild import ImageBuild, image_build
from plimsoll.api.packagerepo import PackageRepo
from plimsoll.api.steps import (
    AssembleResult,
    PlanResult,
    PromoteResult,
    SealResult,
    StepFailure,
    StepResult,
    dump,
)
from plimsoll.operator.podspec import ARCH_LABEL, BUILD_LABEL, STEP_LABEL
from plimsoll.operator.reconcile import reconcile
from plimsoll.operator.settings import JobSettings
from plimsoll.operator.state import Create, Delete, Event, JobView, Observed, Plan

START = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
SETTINGS = JobSettings(image="registry.example/plimsoll@sha256:0", builder_id="https://b/1")
SPEC: dict[str, Any] = {
    "image": {"contents": {"packages": ["python3"]}, "accounts": {"run-as": 65532}},
    "repositories": [{"name": "wolfi"}],
    "output": {"repository": "registry.example/app", "pushSecret": {"name": "push"}},
    "archs": ["amd64", "arm64"],
    "signing": {"keySecret": {"name": "cosign"}},
}


def repository(digest: str = "sha256:1", *, ready: bool = True) -> PackageRepo:
    """A PackageRepo whose index has this digest."""
    return PackageRepo.model_validate(
        {
            "metadata": {"name": "wolfi"},
            "spec": {
                "upstream": {
                    "url": "https://packages.example/os",
                    "keys": [{"name": "os.rsa.pub", "data": "PEM"}],
                }
            },
            "status": {
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True" if ready else "False",
                        "message": "" if ready else "wrong signature",
                    }
                ],
                "indexes": [{"arch": "amd64", "digest": digest, "packages": 3}],
            },
        }
    )


class World:
    """One ImageBuild and what belongs to it."""

    def __init__(self, **spec: Any) -> None:
        self.now = START
        self.body: dict[str, Any] = {
            "metadata": {
                "name": "app",
                "namespace": "team",
                "uid": "0b5e",
                "generation": 1,
                "annotations": {},
                "creationTimestamp": START.isoformat(),
            },
            "spec": {**SPEC, **spec},
        }
        self.repositories: dict[str, PackageRepo] = {"wolfi": repository()}
        self.config_map: dict[str, str] | None = None
        self.jobs: dict[str, JobView] = {}
        self.manifests: dict[str, dict[str, Any]] = {}
        self.config_maps: dict[str, dict[str, Any]] = {}
        self.created: list[str] = []
        self.events: list[Event] = []
        self.plan: Plan[Any] | None = None
        self.room: int | None = None

    @property
    def desired(self) -> ImageBuild:
        return image_build(self.body)

    @property
    def status(self) -> Any:
        return self.desired.status

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = next(c for c in self.status.conditions if c.type == kind)
        return found.status, found.reason

    def message(self, kind: str) -> str:
        return str(next(c for c in self.status.conditions if c.type == kind).message)

    def edit(self, **spec: Any) -> None:
        """Change the spec as ``kubectl apply`` would."""
        self.body["spec"] = {**self.body["spec"], **spec}
        self.body["metadata"]["generation"] += 1

    def annotate(self, key: str, value: str) -> None:
        self.body["metadata"]["annotations"][key] = value

    def wait(self, **delay: float) -> None:
        self.now += timedelta(**delay)

    def look(self, *, crash: str = "") -> Plan[Any]:
        """One reconciliation; ``crash`` at ``status`` or after so many ``actions``."""
        observed = Observed(
            tuple(self.jobs.values()), self.repositories, self.config_map, room=self.room
        )
        plan = reconcile(self.desired, observed, self.now, SETTINGS)
        if crash == "status":
            return plan
        self.plan = plan
        self.body["status"] = json.loads(plan.status.model_dump_json(by_alias=True))
        if crash == "actions":
            return plan
        self.events += plan.events
        for action in plan.actions:
            if isinstance(action, Create):
                self._create(action)
            else:
                self._delete(action)
        return plan

    def settle(self) -> None:
        """Reconcile until nothing more changes."""
        for _ in range(20):
            before = self.body.get("status")
            plan = self.look()
            if not plan.actions and self.body["status"] == before:
                return
        raise AssertionError("the reconciliation does not come to rest")

    def _create(self, action: Create) -> None:
        manifest = json.loads(json.dumps(action.manifest))
        name, labels = manifest["metadata"]["name"], manifest["metadata"]["labels"]
        if manifest["kind"] == "ConfigMap":
            self.config_maps.setdefault(name, manifest)
        if manifest["kind"] != "Job" or name in self.jobs:
            return
        slug = labels.get(ARCH_LABEL, "")
        self.created.append(name)
        self.manifests[name] = manifest
        self.jobs[name] = JobView(
            name=name,
            build=labels[BUILD_LABEL],
            step=labels[STEP_LABEL],
            arch=slug.replace("-", "/"),
        )

    def _delete(self, action: Delete) -> None:
        if action.kind == "Job":
            self.jobs.pop(action.name, None)
        else:
            self.config_maps.pop(action.name, None)

    # What the Jobs do.

    def open(self) -> list[JobView]:
        """Jobs that have not ended."""
        return [job for job in self.jobs.values() if not job.finished]

    def succeed(self, job: JobView, *, unchanged: bool = False, version: int = 1) -> None:
        """End a Job as its step would."""
        results: dict[str, StepResult] = {
            "plan": PlanResult(
                inputs_hash=f"inputs-{version}",
                unchanged=unchanged,
                lock=f"sha256:lock-{version}",
                packages=12,
                tags=["latest"],
            ),
            "assemble": AssembleResult(
                arch=job.arch,
                digest=f"sha256:{job.arch}-{version}",
                size=1000,
                sbom=f"sha256:sbom-{version}",
            ),
            "seal": SealResult(digest=f"sha256:index-{version}", signed=True, attestations=[]),
            "promote": PromoteResult(tags=["latest"]),
        }
        message = dump(results[job.step]).decode()
        self.jobs[job.name] = replace(job, phase="succeeded", message=message, exit_code=0)

    def fail(
        self, job: JobView, *, retryable: bool, message: str = "it broke", reason: str = "Broken"
    ) -> None:
        """End a Job as a failed step would."""
        failure = StepFailure(reason=reason, message=message, retryable=retryable)
        self.jobs[job.name] = replace(
            job,
            phase="failed",
            message=dump(failure).decode(),
            exit_code=1 if retryable else 3,
            reason="BackoffLimitExceeded" if retryable else "PodFailurePolicy",
        )

    def build(self, version: int = 1) -> None:
        """Let a whole build succeed."""
        for _ in range(20):
            self.look()
            if not self.open():
                break
            for job in self.open():
                self.succeed(job, version=version)
        self.settle()
