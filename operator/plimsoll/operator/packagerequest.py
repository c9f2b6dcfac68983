"""What a plan of packages, and all that it leads to, reads; and what things are called. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from plimsoll.api.packagerequest import (
    ConfigurationSource,
    FailedPackage,
    PackageRequest,
    Retention,
)
from plimsoll.operator import podspec
from plimsoll.operator.podspec import BUILD_LABEL, REQUEST_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.packagebuildstatus import PackageBuild
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagestatus import PackagePlan
    from plimsoll.operator.packageinputs import Inputs
    from plimsoll.operator.podspec import Manifest, OwnerKind
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.sources import Repositories

KIND: OwnerKind = "PackageRepo"
#: Most packages that a plan may offer: its result must fit into a termination message.
_OFFERED = 20


def place(kind: str, name: str) -> str:
    """Where something is mounted."""
    return f"/etc/plimsoll/{kind}/{name}"


def identity(desired: PackageRepo, what: str, *facts: object) -> str:
    """Name of something that is done once: for what, and a hash of what it depends on."""
    text = "/".join([desired.metadata.uid, what, *map(str, facts)])
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{_stem(desired.metadata.name, 16)}-{_stem(what, 26)}-{digest}"


def request(  # noqa: PLR0913, PLR0917  everything that building depends on
    desired: PackageRepo,
    plan: PackagePlan,
    inputs: Inputs,
    repositories: Repositories,
    failed: Sequence[PackageBuild],
    settings: JobSettings,
) -> PackageRequest:
    """What the steps of a plan, and of the packages that it finds, read."""
    spec, about = inputs.spec, desired.metadata
    return PackageRequest(
        name=about.name,
        namespace=about.namespace,
        uid=about.uid,
        sources=[
            ConfigurationSource(
                name=source.name,
                inline=source.inline,
                folder=place("sources", source.name) if source.config_map else None,
                git=source.git,
                credentials=(
                    place("git", source.name)
                    if source.git is not None and source.git.secret_ref is not None
                    else ""
                ),
                oci=source.oci,
            )
            for source in spec.sources
        ],
        archs=[arch.oci for arch in inputs.archs],
        repositories=list(repositories.sources),
        storage=spec.storage.repository,
        keys={key.name: key.data for key in desired.status.public_keys},
        signing_key=desired.status.keys.current if desired.status.keys else "",
        distribution=spec.distribution,
        build_options=list(spec.build_options),
        require_tests=spec.require_tests,
        lint_require=spec.lint.require,
        lint_warn=spec.lint.warn,
        network=spec.network,
        emulate_on=spec.emulate_on or "",
        credentials=[place("credentials", each.name) for each in spec.credentials],
        signed_sources=list(spec.signed_sources),
        withdrawn=list(spec.withdrawn),
        retention=Retention(versions=spec.retention.versions, days=spec.retention.days),
        failed=[
            FailedPackage(name=build.name, arch=build.arch, inputs_hash=build.inputs_hash)
            for build in failed
        ],
        limit=min(max(12, spec.parallelism * len(inputs.archs)), _OFFERED),
        started=plan.started_at,
        builder_id=settings.builder_id,
        insecure_registries=list(settings.insecure_registries),
        trusted_hosts=list(settings.trusted_hosts),
    )


def request_config_map(desired: PackageRepo, plan: str, content: PackageRequest) -> Manifest:
    """The immutable ConfigMap that holds a request."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": podspec.metadata(KIND, desired.metadata, plan, {BUILD_LABEL: plan}),
        "immutable": True,
        "data": {REQUEST_FILE: content.model_dump_json(by_alias=True)},
    }


def _stem(text: str, length: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:length].rstrip("-") or "x"
