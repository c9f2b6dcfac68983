"""Manifests of the Jobs that build packages. Pure: same input, same names, same bytes.

Only ``build`` and ``test`` run code of packages: without secret, token, login or network. Only
``keys`` and ``publish`` see what signs, and run nothing of anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.api.jobspec import Resources
from plimsoll.api.packagesteps import OUTBOX_PORT, OUTPUT_FOLDER
from plimsoll.arch import Arch
from plimsoll.operator import podspec
from plimsoll.operator.networkpolicy import NETWORK_LABEL
from plimsoll.operator.packagerequest import KIND, place
from plimsoll.operator.podspec import (
    ARCH_LABEL,
    BUILD_LABEL,
    REQUEST_DIR,
    REQUEST_FILE,
    REQUEST_LABEL,
    STEP_LABEL,
    Mounts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.api.packagebuildstatus import PackageBuild, PackagePublish
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagespec import PackagesSpec
    from plimsoll.api.packagestatus import PackagePlan, SigningKeys
    from plimsoll.operator.packageinputs import Inputs
    from plimsoll.operator.podspec import Manifest
    from plimsoll.operator.settings import JobSettings

_REQUEST = ("--request", f"{REQUEST_DIR}/{REQUEST_FILE}")


def job_name(identity: str, step: str) -> str:
    """Name of a step's Job."""
    return f"{identity}-{step}"


class PackageJobs:
    """Makes the Jobs of one PackageRepo."""

    def __init__(self, desired: PackageRepo, spec: PackagesSpec, settings: JobSettings) -> None:
        self._desired = desired
        self._spec = spec
        self._settings = settings

    def keys(self, keys: SigningKeys, inputs: Inputs) -> Manifest:
        """Reads the signing keys."""
        mounts = podspec.step_mounts("", self._spec.job, None)
        arguments = _signing(mounts, inputs)
        return self._step(keys.id, "keys", arguments, mounts, signs=True)

    def plan(self, plan: PackagePlan) -> Manifest:
        """Finds what can be built."""
        mounts = self._mounts(plan.id)
        for source in self._spec.sources:
            if source.config_map is not None:
                content = {"configMap": {"name": source.config_map.name}}
                mounts.add(
                    f"source-{source.name}"[:63].rstrip("-"),
                    place("sources", source.name),
                    content,
                )
            elif source.git is not None and source.git.secret_ref is not None:
                name, secret = f"git-{source.name}"[:63].rstrip("-"), source.git.secret_ref.name
                mounts.secret(name, place("git", source.name), secret)
        return self._step(plan.id, "plan", _REQUEST, mounts, request=plan.id)

    def prepare(self, build: PackageBuild) -> Manifest:
        """Fetches sources and composes the guest."""
        mounts = self._mounts(build.request)
        for number, secret in enumerate(self._spec.credentials):
            mounts.secret(f"login-{number}", place("credentials", secret.name), secret.name)
        return self._step(
            build.id, "prepare", _about(build), mounts, request=build.request, arch=build.arch
        )

    def build(self, build: PackageBuild) -> Manifest:
        """Runs the steps of a package in its guest, then hands out what they left."""
        prepared = build.prepared
        assert prepared is not None  # noqa: S101  the caller looked
        steps = podspec.container(
            "build",
            f"{self._spec.storage.repository}@{prepared.guest}",
            resources=_resources(self._spec.job.resources, prepared.resources),
            read_only_root=False,
        )
        output = {"name": "output", "mountPath": OUTPUT_FOLDER}
        steps["volumeMounts"] = [output]
        patience = podspec.seconds_of(self._spec.job)
        outbox = podspec.container("step", self._settings.image)
        outbox |= {
            "imagePullPolicy": self._settings.pull_policy,
            "command": ["plimsoll", "step", "package-outbox"],
            "args": [
                *("--folder", OUTPUT_FOLDER, "--token", prepared.token),
                *("--port", str(OUTBOX_PORT), "--patience", str(patience)),
            ],
            "volumeMounts": [{**output, "readOnly": True}],
            "ports": [{"name": "outbox", "containerPort": OUTBOX_PORT}],
            "readinessProbe": {
                "httpGet": {"path": "/healthz", "port": "outbox"},
                "periodSeconds": 1,
            },
        }
        pod = self._guest_pod([outbox], build)
        pod["initContainers"] = [steps]
        pod["volumes"] = [{"name": "output", "emptyDir": {}}]
        labels = {NETWORK_LABEL: "public"} if prepared.network else {}
        if not prepared.network:
            podspec.without_names(pod)
        about = self._metadata(build.id, "build", request="", arch=build.arch, labels=labels)
        seconds = max(prepared.timeout, patience) + patience
        return podspec.job(about, pod, seconds=seconds, retries=0)

    def collect(self, build: PackageBuild, address: str) -> Manifest:
        """Makes packages of what a build left."""
        prepared = build.prepared
        assert prepared is not None  # noqa: S101  the caller looked
        host = f"[{address}]" if ":" in address else address
        arguments = [
            *_about(build),
            *("--guest", prepared.guest, "--token", prepared.token),
            *("--outbox", f"http://{host}:{OUTBOX_PORT}/"),
        ]
        mounts = self._mounts(build.request)
        return self._step(
            build.id, "collect", arguments, mounts, request=build.request, arch=build.arch
        )

    def test(self, build: PackageBuild) -> Manifest:
        """Runs the tests of a package, each in its image."""
        collected = build.collected
        assert collected is not None  # noqa: S101  the caller looked
        containers = [
            podspec.container(
                f"test-{number}",
                f"{self._spec.storage.repository}@{test.image}",
                resources=self._spec.job.resources,
                read_only_root=False,
            )
            for number, test in enumerate(collected.tests)
        ]
        pod = self._guest_pod(containers, build)
        podspec.without_names(pod)
        about = self._metadata(build.id, "test", request="", arch=build.arch)
        return podspec.job(about, pod, seconds=podspec.seconds_of(self._spec.job), retries=0)

    def publish(self, publish: PackagePublish, inputs: Inputs) -> Manifest:
        """Signs, and moves the index."""
        mounts = self._mounts(publish.request)
        arguments = [*_REQUEST, "--plan", publish.plan, "--arch", publish.arch]
        for artifact in publish.artifacts:
            arguments += ["--artifact", artifact]
        arguments += _signing(mounts, inputs)
        return self._step(
            publish.id,
            "publish",
            arguments,
            mounts,
            request=publish.request,
            arch=publish.arch,
            signs=True,
        )

    def _mounts(self, request: str) -> Mounts:
        return podspec.step_mounts(request, self._spec.job, self._spec.storage.push_secret)

    def _step(  # noqa: PLR0913  what the Jobs of our own steps differ in
        self,
        identity: str,
        step: str,
        arguments: Sequence[str],
        mounts: Mounts,
        *,
        request: str = "",
        arch: str = "",
        signs: bool = False,
    ) -> Manifest:
        job, settings = self._spec.job, self._settings
        container = podspec.step_container(
            [f"package-{step}"], arguments, mounts, settings, job.resources
        )
        account = settings.seal_account if signs else settings.build_account
        pod = podspec.pod([container], mounts.volumes, job, settings, account=account)
        about = self._metadata(identity, step, request=request, arch=arch)
        return podspec.job(about, pod, seconds=podspec.seconds_of(job))

    def _guest_pod(self, containers: Sequence[Manifest], build: PackageBuild) -> Manifest:
        """A pod that runs code of a package, on a node of its architecture."""
        prepared, storage = build.prepared, self._spec.storage
        node = {"kubernetes.io/arch": podspec.node_arch(self._spec.emulate_on or build.arch)}
        return podspec.pod(
            containers,
            [],
            self._spec.job,
            self._settings,
            account=self._settings.build_account,
            user=prepared.user if prepared is not None else podspec.USER,
            # The volume is writable for everybody; a group of its own would set a bit that new
            # directories inherit, and packages would ship.
            group=False,
            pull_secrets=[storage.push_secret.name] if storage.push_secret else [],
            node_selector=node,
        )

    def _metadata(
        self,
        identity: str,
        step: str,
        *,
        request: str,
        arch: str,
        labels: Mapping[str, str] | None = None,
    ) -> Manifest:
        all_labels = {BUILD_LABEL: identity, STEP_LABEL: step, **(labels or {})}
        if request:
            all_labels[REQUEST_LABEL] = request
        if arch:
            all_labels[ARCH_LABEL] = Arch.parse(arch).slug
        return podspec.metadata(KIND, self._desired.metadata, job_name(identity, step), all_labels)


def _signing(mounts: Mounts, inputs: Inputs) -> list[str]:
    """Mount the signing keys; the options that name them."""
    mounts.secret("signing", place("signing", "current"), inputs.secret)
    arguments = ["--key", place("signing", "current")]
    for number, secret in enumerate(inputs.previous):
        folder = place("signing", f"previous-{number}")
        mounts.secret(f"previous-{number}", folder, secret)
        arguments += ["--previous-key", folder]
    return arguments


def _about(build: PackageBuild) -> list[str]:
    return [*_REQUEST, "--plan", build.plan, "--package", build.name, "--arch", build.arch]


def _resources(common: Resources | None, asked: Mapping[str, str]) -> Resources | None:
    """What a configuration asks for, instead of what the spec says of all Jobs."""
    names = {"cpu": "cpu", "memory": "memory", "disk": "ephemeral-storage"}
    wanted = {names[name]: text for name, text in asked.items() if name in names}
    if not wanted:
        return common
    requests = {**((common and common.requests) or {}), **wanted}
    limits = {**((common and common.limits) or {})}
    limits |= {name: text for name, text in wanted.items() if name in limits}
    return Resources(requests=requests, limits=limits or None)
