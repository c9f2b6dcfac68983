"""SLSA v1 provenance of an image (https://slsa.dev/spec/v1.1/provenance)."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from plimsoll.builder.sbom import tool
from plimsoll.builder.spdx import apk_purl
from plimsoll.http import public_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from plimsoll.api.steps import BuildRequest
    from plimsoll.builder.logins import Logins

BUILD_TYPE = "https://plimsoll.dev/buildtypes/image/v1"


def invocation_id(request: BuildRequest) -> str:
    """What names one build: namespace, name, build."""
    return f"{request.namespace}/{request.name}/{request.build_id}"


def provenance(
    request: BuildRequest,
    *,
    lock: str,
    packages: Iterable[Mapping[str, Any]],
    finished: datetime,
    logins: Logins,
) -> dict[str, Any]:
    """The predicate.

    Args:
        request: what was asked for.
        lock: digest of the lock artifact.
        packages: of all architectures, as ``assemble`` recorded them.
        finished: end of the build.
        logins: takes logins out of URLs.
    """
    config = logins.strip_config(request.image)
    repository = request.output.repository
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "image": config.model_dump(mode="json", by_alias=True, exclude_defaults=True),
                "repositories": [
                    {"url": public_url(s.url), "keys": sorted(s.keys)}
                    for s in logins.strip_sources(request.repositories)
                ],
                **({"variant": request.variant} if request.variant else {}),
                "archs": request.archs,
                "output": request.output.model_dump(mode="json", by_alias=True),
            },
            "internalParameters": {
                "uid": request.uid,
                "buildId": request.build_id,
                "attest": request.attest.model_dump(mode="json", by_alias=True),
            },
            "resolvedDependencies": [
                {
                    "name": "lock",
                    "uri": f"oci://{repository}@{lock}",
                    "digest": dict([lock.split(":", 1)]),
                },
                *(_dependency(package) for package in packages),
            ],
        },
        "runDetails": {
            "builder": {
                "id": request.builder_id,
                "version": {"plimsoll": tool().partition("-")[2]},
            },
            "metadata": {
                "invocationId": invocation_id(request),
                "startedOn": _time(request.started),
                "finishedOn": _time(finished),
            },
        },
    }


def _dependency(package: Mapping[str, Any]) -> dict[str, Any]:
    """One package, or the base image, as a resource descriptor."""
    if package.get("base"):
        return {
            "name": f"base image {package['name']}",
            "uri": package["url"],
            "digest": {"sha256": package["sha256"]},
        }
    return {
        "name": f"{package['name']}-{package['version']}",
        "uri": apk_purl("unknown", package["name"], package["version"], package["arch"]),
        "digest": {"sha256": package["sha256"]},
        "downloadLocation": package["url"],
        "annotations": {"control": package["control"]},
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
