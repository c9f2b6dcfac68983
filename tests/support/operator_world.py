"""A cluster in miniature for the pure part of the operator: it carries out plans.

Jobs end when a test says so, with the results that the steps would leave.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from miniature_cluster import MiniatureCluster, upstream
from plimsoll.api.imagebuild import ImageBuild, image_build
from plimsoll.api.packagerepo import PackageRepo
from plimsoll.api.steps import (
    AssembleResult,
    PlanResult,
    PromoteResult,
    SealResult,
    StepFailure,
    StepResult,
    VariantPlan,
    dump,
)
from plimsoll.operator.podspec import VARIANT_LABEL
from plimsoll.operator.reconcile import reconcile
from plimsoll.operator.settings import JobSettings
from plimsoll.operator.state import JobView, Observed, Plan

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
    return upstream("wolfi", digest, ready=ready)


class World(MiniatureCluster):
    """One ImageBuild and what belongs to it."""

    def __init__(self, **spec: Any) -> None:
        super().__init__("app", "0b5e", {**SPEC, **spec})
        self.repositories: dict[str, PackageRepo] = {"wolfi": repository()}
        self.config_map: dict[str, str] | None = None
        self.config_maps: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}

    @property
    def desired(self) -> ImageBuild:
        return image_build(self.body)

    def reconciled(self) -> Plan[Any]:
        observed = Observed(
            tuple(self.jobs.values()), self.repositories, self.config_map, room=self.room
        )
        return reconcile(self.desired, observed, self.now, SETTINGS)

    def keep(self, name: str, manifest: dict[str, Any]) -> None:
        if manifest["kind"] == "ConfigMap":
            self.config_maps.setdefault(name, manifest)
        if manifest["kind"] == "NetworkPolicy":
            self.policies[name] = manifest

    def forget(self, name: str) -> None:
        self.config_maps.pop(name, None)

    # What the Jobs do.

    def variant(self, job: JobView) -> str:
        """The variant that a Job is for, with a dash before it."""
        name = self.manifests[job.name]["metadata"]["labels"].get(VARIANT_LABEL)
        return f"-{name}" if name else ""

    def succeed(self, job: JobView, *, unchanged: bool = False, version: int = 1) -> None:
        """End a Job as its step would."""
        variant = self.variant(job)
        results: dict[str, StepResult] = {
            "plan": PlanResult(
                inputs_hash=f"inputs-{version}",
                unchanged=unchanged,
                lock=f"sha256:lock-{version}",
                packages=12,
                tags=["latest"],
                variants=[
                    VariantPlan(
                        name=each["name"],
                        lock=f"sha256:lock-{each['name']}-{version}",
                        packages=20,
                        tags=[f"latest-{each['name']}"],
                    )
                    for each in self.body["spec"].get("variants", [])
                ],
            ),
            "rescan": SealResult(digest=f"sha256:index-{version}", signed=True, attestations=[]),
            "assemble": AssembleResult(
                arch=job.arch,
                digest=f"sha256:{job.arch}{variant}-{version}",
                size=1000,
                sbom=f"sha256:sbom-{version}",
            ),
            "seal": SealResult(
                digest=f"sha256:index{variant}-{version}", signed=True, attestations=[]
            ),
            "promote": PromoteResult(tags=[f"latest{variant}"]),
        }
        results["verify"] = results["assemble"]
        # A test says what the image says.
        message = dump(results[job.step]).decode() if job.step in results else "OK"
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
