"""Manifests of a build's objects. Pure: same input, same names, same bytes.

The Jobs run no shell and no code of any package. They satisfy the ``restricted`` Pod Security
Standard and hold no API token; only ``seal`` sees what signs.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from plimsoll.api.steps import Attest, BuildRequest, Output
from plimsoll.operator import podspec
from plimsoll.operator.podspec import ARCH_LABEL, BUILD_LABEL, REQUEST_DIR, REQUEST_FILE, STEP_LABEL
from plimsoll.operator.signingvolume import inline_documents, signing_option, signing_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.imagebuild import ImageBuild
    from plimsoll.api.imagebuildstatus import Build, BuildInputs
    from plimsoll.api.steps import StepName
    from plimsoll.arch import Arch
    from plimsoll.operator.podspec import Manifest
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.sources import Configuration, Repositories

_KEY_DIR = "/etc/plimsoll/signing"


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
        "metadata": _metadata(desired, content.build_id, content.build_id, {}),
        "immutable": True,
        "data": {
            REQUEST_FILE: content.model_dump_json(by_alias=True),
            **inline_documents(desired.spec.signing),
        },
    }


def step_job(
    desired: ImageBuild,
    build: Build,
    step: StepName,
    settings: JobSettings,
    arch: Arch | None = None,
) -> Manifest:
    """The Job of one step."""
    spec = desired.spec
    sealing = step == "seal"
    mounts = podspec.step_mounts(build.id, spec.job, spec.output.push_secret)
    if sealing and spec.signing is not None:
        mounts.add("signing", _KEY_DIR, signing_source(spec.signing, build.id))
    arguments = _arguments(desired, build, step, arch)
    container = podspec.step_container([step], arguments, mounts, settings, spec.job.resources)
    account = settings.seal_account if sealing else settings.build_account
    pod = podspec.pod([container], mounts.volumes, spec.job, settings, account=account)
    labels = {STEP_LABEL: step, **({ARCH_LABEL: arch.slug} if arch else {})}
    about = _metadata(desired, build.id, job_name(build.id, step, arch), labels)
    return podspec.job(about, pod, seconds=podspec.seconds_of(spec.job))


def _arguments(desired: ImageBuild, build: Build, step: StepName, arch: Arch | None) -> list[str]:
    arguments = ["--request", f"{REQUEST_DIR}/{REQUEST_FILE}"]
    if build.plan is not None:
        arguments += ["--plan-lock", build.plan.lock]
    if arch is not None:
        arguments += ["--arch", arch.oci]
    if step == "seal":
        for result in sorted(build.assembled, key=lambda r: r.arch):
            arguments += ["--assembled", result.model_dump_json(by_alias=True)]
        if desired.spec.signing is not None:
            arguments += [signing_option(desired.spec.signing), _KEY_DIR]
    if step == "promote" and build.sealed is not None and build.plan is not None:
        arguments += ["--digest", build.sealed.digest]
        for tag in build.plan.tags:
            arguments += ["--tag", tag]
    return arguments


def _metadata(desired: ImageBuild, build: str, name: str, labels: Mapping[str, str]) -> Manifest:
    return podspec.metadata("ImageBuild", desired.metadata, name, {BUILD_LABEL: build, **labels})
