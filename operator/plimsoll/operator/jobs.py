"""Manifests of a build's objects. Pure: same input, same names, same bytes.

The Jobs run no shell and no code of any package. They satisfy the ``restricted`` Pod Security
Standard and hold no API token; only ``seal`` sees what signs.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from plimsoll.api.steps import Attest, BuildRequest, Output, RequestVariant
from plimsoll.operator import podspec
from plimsoll.operator.lanes import lane_of, plan_of
from plimsoll.operator.podspec import (
    ARCH_LABEL,
    BUILD_LABEL,
    REQUEST_DIR,
    REQUEST_FILE,
    STEP_LABEL,
    VARIANT_LABEL,
)
from plimsoll.operator.signingvolume import inline_documents, signing_option, signing_source

if TYPE_CHECKING:
    from plimsoll.api.imagebuild import ImageBuild
    from plimsoll.api.imagebuildstatus import Build, BuildInputs, ImageBuildStatus
    from plimsoll.operator.lanes import Task
    from plimsoll.operator.podspec import Manifest
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.sources import Configuration, Repositories

_KEY_DIR = "/etc/plimsoll/signing"


def build_id(desired: ImageBuild, number: int, inputs: BuildInputs) -> str:
    """Name of a build: what it is for, its number, and a hash of what it starts from."""
    facts = f"{desired.metadata.uid}/{number}/{inputs.model_dump_json()}"
    digest = hashlib.sha256(facts.encode()).hexdigest()[:6]
    stem = re.sub(r"[^a-z0-9-]", "-", desired.metadata.name)[:24].rstrip("-")
    return f"{stem}-{number}-{digest}"


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
    attest = Attest(signature=False, sbom=False, provenance=False, vulnerabilities=False)
    if spec.signing is not None:
        attest = Attest(
            sbom=spec.attest is None or spec.attest.sbom,
            cyclonedx=spec.attest is not None and spec.attest.cyclonedx,
            provenance=spec.attest is None or spec.attest.provenance,
            vulnerabilities=spec.attest is None or spec.attest.vulnerabilities,
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
        variants=[
            RequestVariant(name=each.name, image=each.image, tags=list(each.tags))
            for each in configuration.variants
        ],
        attest=attest,
        scan=spec.scan,
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
        "metadata": podspec.metadata(
            "ImageBuild", desired.metadata, content.build_id, {BUILD_LABEL: content.build_id}
        ),
        "immutable": True,
        "data": {
            REQUEST_FILE: content.model_dump_json(by_alias=True),
            **inline_documents(desired.spec.signing),
        },
    }


def step_job(desired: ImageBuild, build: Build, task: Task, settings: JobSettings) -> Manifest:
    """The Job of one step of ours."""
    spec, step = desired.spec, task.step
    signs, how, command = step in {"seal", "rescan"}, spec.job, str(step)
    if step == "verify":
        # The same work with nothing kept, elsewhere in the world.
        command, how = "assemble", how.model_copy(update={"cache_claim": None})
    mounts = podspec.step_mounts(build.id, how, spec.output.push_secret)
    if step == "verify":
        mounts.environment |= {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "20261"}
    if signs and spec.signing is not None:
        mounts.add("signing", _KEY_DIR, signing_source(spec.signing, build.id))
    arguments = _arguments(desired, build, task)
    container = podspec.step_container([command], arguments, mounts, settings, spec.job.resources)
    account = settings.seal_account if signs else settings.build_account
    pod = podspec.pod([container], mounts.volumes, spec.job, settings, account=account)
    return podspec.job(about(desired, build, task), pod, seconds=podspec.seconds_of(spec.job))


def _arguments(desired: ImageBuild, build: Build, task: Task) -> list[str]:
    arguments = ["--request", f"{REQUEST_DIR}/{REQUEST_FILE}"]
    plan, lane = plan_of(build, task.variant), lane_of(build, task.variant)
    if task.step in {"assemble", "verify", "seal"} and plan is not None:
        arguments += ["--plan-lock", plan.lock]
        if task.variant:
            arguments += ["--variant", task.variant]
    if task.arch is not None:
        arguments += ["--arch", task.arch.oci]
    if task.step == "seal":
        for result in sorted(lane.assembled, key=lambda r: r.arch):
            arguments += ["--assembled", result.model_dump_json(by_alias=True)]
    if task.step == "rescan":
        arguments += ["--digest", _known_digest(desired.status, task.variant)]
    if task.step in {"seal", "rescan"} and desired.spec.signing is not None:
        arguments += [signing_option(desired.spec.signing), _KEY_DIR]
    if task.step == "promote" and lane.sealed is not None and plan is not None:
        arguments += ["--digest", lane.sealed.digest]
        for tag in plan.tags:
            arguments += ["--tag", tag]
    return arguments


def _known_digest(status: ImageBuildStatus, variant: str) -> str:
    """The image that exists already."""
    known = {each.name: each.digest for each in status.variants}
    return known[variant] if variant else status.digest or ""


def about(desired: ImageBuild, build: Build, task: Task) -> Manifest:
    """Metadata of a Job."""
    labels = {BUILD_LABEL: build.id, STEP_LABEL: task.step}
    if task.variant:
        labels[VARIANT_LABEL] = task.variant
    if task.arch is not None:
        labels[ARCH_LABEL] = task.arch.slug
    name = task.job_name(build)
    return podspec.metadata("ImageBuild", desired.metadata, name, labels)
