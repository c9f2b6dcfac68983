"""A cluster in miniature for PackageRepos that are built: it carries out plans and plays steps.

Configurations are names with a version of their contents and what they need; what is published is
kept as the registry would. Jobs end when a test says so.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from miniature_cluster import MiniatureCluster, upstream
from plimsoll.api.packagerepo import PackageRepo
from plimsoll.api.packagesteps import (
    BlockedPackage,
    PackageCollectResult,
    PackageCounts,
    PackageKeysResult,
    PackagePlanResult,
    PackagePrepareResult,
    PackagePublishResult,
    PackageStepResult,
    PackageTest,
    PublishedIndex,
    ReadyPackage,
    dump,
)
from plimsoll.api.steps import StepFailure
from plimsoll.api.steps import dump as dump_failure
from plimsoll.operator.packages import reconcile_packages
from plimsoll.operator.settings import JobSettings
from plimsoll.operator.state import (
    JobView,
    MakeKey,
    PackagesObserved,
    Plan,
)

SETTINGS = JobSettings(image="registry.example/plimsoll@sha256:0", builder_id="https://b/1")
SPEC: dict[str, Any] = {
    "sources": [{"name": "all", "configMap": {"name": "packages"}}],
    "storage": {"repository": "registry.example/packages", "pushSecret": {"name": "push"}},
    "repositories": [{"name": "base"}],
    "archs": ["amd64"],
}


@dataclass(frozen=True)
class Recipe:
    """A configuration: its contents, and which others it needs."""

    version: int = 1
    needs: tuple[str, ...] = ()
    tests: int = 1
    abi: tuple[str, ...] = ()


def base(digest: str = "sha256:1") -> PackageRepo:
    """The PackageRepo that build dependencies come from."""
    return upstream("base", digest)


def sha(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class PackagesWorld(MiniatureCluster):
    """One PackageRepo and what belongs to it."""

    def __init__(self, recipes: dict[str, Recipe], **spec: Any) -> None:
        super().__init__("ours", "77aa", {"packages": {**SPEC, **spec}})
        self.recipes = dict(recipes)
        self.published: dict[tuple[str, str], str] = {}
        self.signers: dict[str, list[str]] = {}
        self.withdrawn_done: dict[str, list[str]] = {}
        self.repositories: dict[str, PackageRepo] = {"base": base()}
        self.config_maps: dict[str, str] | None = None
        self.secrets: dict[str, str] = {}
        self.requests: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.refused = ""

    # What a person does.

    @property
    def desired(self) -> PackageRepo:
        return PackageRepo.model_validate(self.body)

    def edit(self, **spec: Any) -> None:
        """Change the spec as ``kubectl apply`` would."""
        packages = {**self.body["spec"]["packages"], **spec}
        super().edit(packages=packages)

    def suspend(self, *, suspend: bool) -> None:
        super().edit(suspend=suspend)

    def change(self, name: str, **recipe: Any) -> None:
        """Change a configuration in its ConfigMap."""
        self.recipes[name] = replace(self.recipes.get(name, Recipe()), **recipe)

    # What the operator and the API server do.

    def observed(self) -> PackagesObserved:
        maps = self.config_maps
        if maps is None:
            maps = {"packages": sha(repr(sorted(self.recipes.items())))}
        return PackagesObserved(
            tuple(self.jobs.values()),
            self.repositories,
            maps,
            refused=self.refused,
            room=self.room,
        )

    def reconciled(self) -> Plan[Any]:
        return reconcile_packages(self.desired, self.observed(), self.now, SETTINGS)

    def keep(self, name: str, manifest: dict[str, Any]) -> None:
        if manifest["kind"] == "ConfigMap":
            self.requests.setdefault(name, json.loads(manifest["data"]["request.json"]))
        if manifest["kind"] == "NetworkPolicy":
            self.policies[name] = manifest

    def forget(self, name: str) -> None:
        self.requests.pop(name, None)

    def make_key(self, action: MakeKey) -> None:
        self.secrets.setdefault(action.name, f"{action.key}-{len(self.secrets)}.rsa.pub")

    # What the Jobs do.

    def inputs_hash(self, name: str, arch: str) -> str:
        recipe = self.recipes[name]
        needs = [self.published.get((need, arch), "") for need in recipe.needs]
        return sha(f"{name}/{arch}/{recipe}/{needs}")[7:23]

    def indexes(self, arch: str) -> PublishedIndex:
        mine = sorted((n, h) for (n, a), h in self.published.items() if a == arch)
        key = (mine, self.signers.get(arch), self.withdrawn_done.get(arch))
        digest = sha(repr(key)) if arch in self.signers else ""
        return PublishedIndex(arch=arch, digest=digest, packages=len(mine))

    def planned(self, request: dict[str, Any]) -> PackagePlanResult:
        """What the plan step would find now."""
        failed = {(f["name"], f["arch"], f["inputsHash"]) for f in request["failed"]}
        ready, blocked, lost, published = [], [], [], 0
        for arch in request["archs"]:
            states: dict[str, str] = {}

            def state(name: str, arch: str = arch, states: dict[str, str] = states) -> str:
                if name not in states:
                    waits = [n for n in self.recipes[name].needs if state(n) != "published"]
                    inputs = self.inputs_hash(name, arch)
                    states[name] = (
                        "blocked"
                        if waits
                        else "published"
                        if self.published.get((name, arch)) == inputs
                        else "failed"
                        if (name, arch, inputs) in failed
                        else "ready"
                    )
                return states[name]

            for name, recipe in sorted(self.recipes.items()):
                match state(name):
                    case "ready":
                        ready.append(
                            ReadyPackage(
                                name=name,
                                arch=arch,
                                version=f"{recipe.version}-r0",
                                inputs_hash=self.inputs_hash(name, arch),
                                reason="New",
                            )
                        )
                    case "blocked":
                        on = next(n for n in recipe.needs if state(n) != "published")
                        bad = state(on) == "failed"
                        blocked.append(BlockedPackage(name=name, arch=arch, on=on, failed=bad))
                    case "failed":
                        lost.append(f"{name}/{arch}")
                    case _:
                        published += 1
        publish = [
            arch
            for arch in request["archs"]
            if arch in self.signers
            and (
                self.signers[arch] != sorted(request["keys"])
                or self.withdrawn_done.get(arch, []) != request["withdrawn"]
            )
        ]
        return PackagePlanResult(
            plan=sha(json.dumps(request) + repr(self.published)),
            unchanged=not (ready or blocked or lost or publish),
            counts=PackageCounts(
                total=len(self.recipes) * len(request["archs"]),
                published=published,
                ready=len(ready),
                blocked=len(blocked),
                failed=len(lost),
            ),
            ready=ready[: request["limit"]],
            blocked=blocked,
            failed=lost,
            publish=publish,
            indexes=[self.indexes(arch) for arch in request["archs"]],
        )

    def result(self, job: JobView) -> PackageStepResult | None:
        """What the step of a Job would hand back."""
        args = self.manifests[job.name]["spec"]["template"]["spec"]["containers"][0].get("args", [])
        match job.step:
            case "keys":
                packages = self.body["spec"]["packages"].get("signing", {})
                current = next(iter(self._secret_names(job)))
                previous = [s["name"] for s in packages.get("previousKeySecrets", [])]
                names = [self.secrets.get(s, f"{s}.rsa.pub") for s in (current, *previous)]
                return PackageKeysResult(current=names[0], keys=dict.fromkeys(names, "PEM"))
            case "plan":
                return self.planned(self.requests[job.request])
            case "prepare":
                return PackagePrepareResult(guest=sha(job.build), user=1000, token="t" * 32)
            case "collect":
                name = args[args.index("--package") + 1]
                recipe = self.recipes.get(name, Recipe())
                tests = [
                    PackageTest(name=f"{name}-{n}", image=sha(f"{job.build}/{n}"))
                    for n in range(recipe.tests)
                ]
                artifact = json.dumps([name, job.arch, self._building(job.build)])
                return PackageCollectResult(
                    artifact=artifact,
                    version=f"{recipe.version}-r0",
                    packages=1,
                    tests=tests,
                    abi=list(recipe.abi),
                )
            case "publish":
                request = self.requests[job.request]
                artifacts = [args[i + 1] for i, a in enumerate(args) if a == "--artifact"]
                for text in artifacts:
                    name, arch, inputs = json.loads(text)
                    self.published[name, arch] = inputs
                self.signers[job.arch] = sorted(request["keys"])
                self.withdrawn_done[job.arch] = request["withdrawn"]
                index = self.indexes(job.arch)
                return PackagePublishResult(index=index, published=len(artifacts), changed=True)
            case _:
                return None

    def _building(self, identity: str) -> str:
        for build in self.status.builds:
            if build.id == identity:
                return str(build.inputs_hash)
        return "superseded"

    def _secret_names(self, job: JobView) -> list[str]:
        volumes = self.manifests[job.name]["spec"]["template"]["spec"]["volumes"]
        return [v["secret"]["secretName"] for v in volumes if v["name"] == "signing"]

    def succeed(self, job: JobView) -> None:
        """Let a Job do what its step does: a build first gets ready, and ends once collected."""
        if job.step == "build" and not job.address:
            self.jobs[job.name] = replace(job, phase="running", address="10.1.2.3")
            return
        if job.step == "build" and not self._collected(job):
            return
        result = self.result(job)
        message = dump(result).decode() if result is not None else ""
        self.jobs[job.name] = replace(job, phase="succeeded", message=message, exit_code=0)

    def _collected(self, job: JobView) -> bool:
        collect = self.jobs.get(job.name.removesuffix("build") + "collect")
        return collect is not None and collect.phase == "succeeded"

    def fail(self, job: JobView, *, retryable: bool, message: str = "it broke") -> None:
        """End a Job as a failed step would."""
        view = replace(job, phase="failed", reason="BackoffLimitExceeded", container="step")
        if job.step in {"build", "test"}:
            container = "build" if job.step == "build" else "test-0"
            code = 137 if retryable else 1
            view = replace(view, message=message, exit_code=code, container=container)
        else:
            told = StepFailure(reason="Broken", message=message, retryable=retryable)
            text = dump_failure(told).decode()
            view = replace(view, message=text, exit_code=1 if retryable else 3)
        self.jobs[job.name] = view

    def run(self, *, but: tuple[str, ...] = ()) -> None:
        """Let all succeed until nothing goes on, except Jobs with these words in the name."""
        for _ in range(200):
            self.look()
            todo = [job for job in self.open() if not any(f"-{b}-" in job.name for b in but)]
            moved = False
            for job in todo:
                before = self.jobs.get(job.name)
                self.succeed(job)
                moved = moved or self.jobs.get(job.name) != before
            if not moved and not self.look().actions:
                break
        self.settle()

    def job(self, package: str, step: str) -> JobView:
        """The unfinished Job of a step of a package."""
        (found,) = [j for j in self.open(step) if f"-{package}-" in j.name]
        return found
