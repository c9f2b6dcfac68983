"""Manifests of a build's objects. Pure: same input, same names, same bytes.

The Jobs run no shell and no code of any package. They satisfy the ``restricted`` Pod Security
Standard and hold no API token; only ``seal`` sees what signs.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from plimsoll.api.meta import API_VERSION, GROUP, parse_duration
from plimsoll.api.steps import Attest, BuildRequest, Output
from plimsoll.operator.signingvolume import inline_documents, signing_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.imagebuild import ImageBuild
    from plimsoll.api.imagebuildstatus import Build, BuildInputs
    from plimsoll.api.steps import StepName
    from plimsoll.arch import Arch
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.sources import Configuration, Repositories

Manifest = dict[str, Any]

#: Label of everything that the operator makes for an ImageBuild; the value is its uid.
OWNER_LABEL = f"{GROUP}/imagebuild-uid"
BUILD_LABEL = f"{GROUP}/build"
STEP_LABEL = f"{GROUP}/step"
ARCH_LABEL = f"{GROUP}/arch"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "plimsoll-operator"
#: Annotation with the ImageBuild's name, which may be too long for a label.
NAME_ANNOTATION = f"{GROUP}/imagebuild"

USER = 65532
RETRIES = 2
REQUEST_FILE = "request.json"

_REQUEST_DIR = "/etc/plimsoll/request"
_DOCKER_DIR = "/etc/plimsoll/docker"
_KEY_DIR = "/etc/plimsoll/signing"
_CACHE_DIR = "/var/cache/plimsoll"


def build_id(desired: ImageBuild, number: int, inputs: BuildInputs) -> str:
    """Name of a build: what it is for, its number, and a hash of what it starts from."""
    facts = f"{desired.metadata.uid}/{number}/{inputs.model_dump_json()}"
    digest = hashlib.sha256(facts.encode()).hexdigest()[:6]
    stem = re.sub(r"[^a-z0-9-]", "-", desired.metadata.name)[:32].rstrip("-")
    return f"{stem}-{number}-{digest}"


def job_name(build: str, step: StepName, arch: Arch | None = None) -> str:
    """Name of a step's Job."""
    return f"{build}-{step}-{arch.slug}" if arch else f"{build}-{step}"


def request(
    desired: ImageBuild,
    build: Build,
    configuration: Configuration,
    repositories: Repositories,
    settings: JobSettings,
) -> BuildRequest:
    """What the steps of a build read."""
    spec, status = desired.spec, desired.status
    same = status.configuration == configuration.hash
    attest = Attest(signature=False, sbom=False, provenance=False)
    if spec.signing is not None:
        attest = Attest(
            sbom=spec.attest is None or spec.attest.sbom,
            provenance=spec.attest is None or spec.attest.provenance,
        )
    return BuildRequest(
        build_id=build.id,
        name=desired.metadata.name,
        namespace=desired.metadata.namespace,
        uid=desired.metadata.uid,
        image=configuration.image,
        repositories=list(repositories.sources),
        archs=[arch.oci for arch in configuration.archs],
        output=Output(
            repository=spec.output.repository,
            tags=list(spec.output.tags),
            legacy_signatures=spec.output.legacy_signatures,
        ),
        attest=attest,
        started=build.started_at,
        builder_id=settings.builder_id,
        # Another configuration always builds: tags and signatures may differ with equal packages.
        previous_inputs_hash=(status.inputs_hash or "") if same else "",
        force=build.force,
        insecure_registries=list(settings.insecure_registries),
        trusted_hosts=list(settings.trusted_hosts),
    )


def request_config_map(desired: ImageBuild, content: BuildRequest) -> Manifest:
    """The immutable ConfigMap that holds a build's request."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(desired, content.build_id, content.build_id, {}),
        "immutable": True,
        "data": {
            REQUEST_FILE: content.model_dump_json(by_alias=True),
            **inline_documents(desired.spec.signing),
        },
    }


def service_account(namespace: str, name: str) -> Manifest:
    """An account without any right, and without a token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}},
        "automountServiceAccountToken": False,
    }


def step_job(
    desired: ImageBuild,
    build: Build,
    step: StepName,
    settings: JobSettings,
    arch: Arch | None = None,
) -> Manifest:
    """The Job of one step."""
    labels = {STEP_LABEL: step, **({ARCH_LABEL: arch.slug} if arch else {})}
    name = job_name(build.id, step, arch)
    metadata = _metadata(desired, build.id, name, labels)
    pod_metadata = {"labels": metadata["labels"], "annotations": metadata["annotations"]}
    seconds = int(parse_duration(desired.spec.job.timeout).total_seconds())
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": max(seconds, 1),
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "step",
                            "operator": "In",
                            "values": [2, 3],
                        },
                    },
                ]
            },
            "template": {
                "metadata": pod_metadata,
                "spec": _pod(desired, build, step, settings, arch),
            },
        },
    }


def _pod(
    desired: ImageBuild, build: Build, step: StepName, settings: JobSettings, arch: Arch | None
) -> Manifest:
    spec = desired.spec
    sealing = step == "seal"
    volumes: list[Manifest] = [
        {"name": "request", "configMap": {"name": build.id}},
        {"name": "tmp", "emptyDir": {}},
        {
            "name": "cache",
            **(
                {"persistentVolumeClaim": {"claimName": spec.job.cache_claim.name}}
                if spec.job.cache_claim
                else {"emptyDir": {}}
            ),
        },
    ]
    mounts: list[Manifest] = [
        {"name": "request", "mountPath": _REQUEST_DIR, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own
        {"name": "cache", "mountPath": _CACHE_DIR},
    ]
    environment = {"HOME": "/tmp", "TMPDIR": "/tmp", "XDG_CACHE_HOME": _CACHE_DIR}  # noqa: S108
    if spec.output.push_secret is not None:
        item = {"key": ".dockerconfigjson", "path": "config.json"}
        volumes.append(
            {
                "name": "docker",
                "secret": {
                    "secretName": spec.output.push_secret.name,
                    "items": [item],
                    "defaultMode": 0o440,
                },
            }
        )
        mounts.append({"name": "docker", "mountPath": _DOCKER_DIR, "readOnly": True})
        environment["DOCKER_CONFIG"] = _DOCKER_DIR
    if sealing and spec.signing is not None:
        volumes.append({"name": "signing", **signing_source(spec.signing, build.id)})
        mounts.append({"name": "signing", "mountPath": _KEY_DIR, "readOnly": True})
    container: Manifest = {
        "name": "step",
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["plimsoll", "step", step],
        "args": _arguments(desired, build, step, arch),
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    if spec.job.resources is not None:
        container["resources"] = _plain(spec.job.resources)
    pod: Manifest = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.seal_account if sealing else settings.build_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    if spec.job.node_selector:
        pod["nodeSelector"] = dict(spec.job.node_selector)
    if spec.job.tolerations:
        pod["tolerations"] = [_plain(toleration) for toleration in spec.job.tolerations]
    if priority := spec.job.priority_class_name or settings.priority_class:
        pod["priorityClassName"] = priority
    return pod


def _arguments(desired: ImageBuild, build: Build, step: StepName, arch: Arch | None) -> list[str]:
    arguments = ["--request", f"{_REQUEST_DIR}/{REQUEST_FILE}"]
    if build.plan is not None:
        arguments += ["--plan-lock", build.plan.lock]
    if arch is not None:
        arguments += ["--arch", arch.oci]
    if step == "seal":
        for result in sorted(build.assembled, key=lambda r: r.arch):
            arguments += ["--assembled", result.model_dump_json(by_alias=True)]
        if desired.spec.signing is not None:
            option = "--key" if desired.spec.signing.keyless is None else "--keyless"
            arguments += [option, _KEY_DIR]
    if step == "promote" and build.sealed is not None and build.plan is not None:
        arguments += ["--digest", build.sealed.digest]
        for tag in build.plan.tags:
            arguments += ["--tag", tag]
    return arguments


def _metadata(desired: ImageBuild, build: str, name: str, labels: Mapping[str, str]) -> Manifest:
    owner = desired.metadata
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": {
            MANAGED_BY: MANAGER,
            "app.kubernetes.io/component": "build",
            OWNER_LABEL: owner.uid,
            BUILD_LABEL: build,
            **labels,
        },
        "annotations": {NAME_ANNOTATION: owner.name},
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": "ImageBuild",
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
            }
        ],
    }


def _plain(model: Any) -> Manifest:
    data: Manifest = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
    return data
