"""What a build leaves beside packages: logs of what was built, and provenance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from plimsoll.builder.sbom import tool
from plimsoll.builder.store import storage_errors
from plimsoll.http import public_url
from plimsoll.oci.digest import sha256_of_file
from plimsoll.signing.statement import SLSA_PROVENANCE_V1, STATEMENT_V1

if TYPE_CHECKING:
    from pathlib import Path

    from plimsoll.builder.package.build import Built
    from plimsoll.builder.package.compile import Compiled, Source
    from plimsoll.builder.package.sbom import Origin

BUILD_TYPE = "https://plimsoll.dev/buildtypes/package/v1"
WORKSTATION = "https://plimsoll.dev/builders/workstation/v1"
BUILD_LOG = "packages.log"


def dependency_log(built: Built, compiled: Compiled, path: Path) -> Path:
    """Write what each package needs and offers to ``PATH.ARCH``, as JSON.

    Raises:
        StorageError: it cannot be written.
    """
    content = {
        entry.name: {"depends": list(entry.depends), "provides": list(entry.provides)}
        for entry in built.entries
    }
    target = path.with_name(f"{path.name}.{compiled.arch.apk}")
    with storage_errors(f"writing {target}"):
        target.write_text(json.dumps(content, indent=2) + "\n")
    return target


def build_log(built: Built, compiled: Compiled, path: Path) -> None:
    """Append a line ``ARCH|ORIGIN|NAME|VERSION`` for each package.

    Raises:
        StorageError: it cannot be written.
    """
    origin = compiled.config.package.name
    with storage_errors(f"writing {path}"), path.open("a") as file:
        for entry in built.entries:
            file.write(f"{compiled.arch.apk}|{origin}|{entry.name}|{entry.version}\n")


def provenance(built: Built, compiled: Compiled, origin: Origin) -> dict[str, Any]:
    """An in-toto statement with SLSA v1 provenance about the files of all packages.

    It says nothing of the time, so that the same build says the same.
    """
    config = compiled.config
    dependencies = [_configuration(origin)] if origin.repository and origin.commit else []
    dependencies += [_source(source) for source in compiled.sources]
    if built.guest is not None:
        dependencies += [
            {
                "uri": public_url(package.url) if "://" in package.url else "",
                "name": f"{package.name}-{package.version}",
                "digest": {"sha1": package.sha1.hex()},
            }
            for package in built.guest.lock.contents.packages
        ]
    return {
        "_type": STATEMENT_V1,
        "subject": [
            {"name": path.name, "digest": {"sha256": sha256_of_file(path)}}
            for path in built.packages
        ],
        "predicateType": SLSA_PROVENANCE_V1,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "configuration": origin.path,
                    "package": config.package.name,
                    "version": config.package.full_version,
                    "arch": compiled.arch.apk,
                },
                "resolvedDependencies": [
                    {key: value for key, value in item.items() if value} for item in dependencies
                ],
            },
            "runDetails": {
                "builder": {
                    "id": WORKSTATION,
                    "version": {"plimsoll": tool().partition("-")[2]},
                }
            },
        },
    }


def write_provenance(built: Built, compiled: Compiled, origin: Origin) -> Path:
    """Write the provenance beside the main package.

    Raises:
        StorageError: it cannot be written.
    """
    path = built.packages[0].with_suffix(".intoto.json")
    with storage_errors(f"writing {path}"):
        path.write_text(json.dumps(provenance(built, compiled, origin), indent=2) + "\n")
    return path


def _configuration(origin: Origin) -> dict[str, Any]:
    return {
        "uri": f"git+{origin.repository}@{origin.commit}#{origin.path}",
        "name": "configuration",
        "digest": {"gitCommit": origin.commit},
    }


def _source(source: Source) -> dict[str, Any]:
    given = source.inputs
    if source.uses == "fetch":
        names = ("sha256", "sha512")
        digests = {name: given.get(f"expected-{name}", "") for name in names}
        uri = public_url(given["uri"])
    else:
        digests = {"gitCommit": given.get("expected-commit", "")}
        ref = given.get("tag") or given.get("branch") or ""
        uri = f"git+{public_url(given['repository'])}" + (f"@{ref}" if ref else "")
    found = {"uri": uri, "digest": {name: value for name, value in digests.items() if value}}
    if source.signer is not None:
        signer = source.signer.model_dump(mode="json", by_alias=True)
        return {**found, "annotations": {"signer": signer}}
    return found
