"""SLSA v1 provenance of packages that a cluster built (https://slsa.dev/spec/v1.1/provenance)."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from plimsoll.builder.package.byproducts import BUILD_TYPE
from plimsoll.builder.sbom import tool
from plimsoll.http import public_url
from plimsoll.oci.strictjson import dump
from plimsoll.signing.statement import SLSA_PROVENANCE_V1, STATEMENT_V1

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.api.packagerequest import PackageRequest
    from plimsoll.builder.steps.packagerecord import BuildRecord
    from plimsoll.oci.model import Descriptor


def package_statement(
    request: PackageRequest,
    record: BuildRecord,
    artifact: str,
    name: str,
    digests: tuple[str, Descriptor],
) -> bytes:
    """The statement about one package, as the bytes to sign: the same for the same build.

    Args:
        request: whose build it is.
        record: what was built and how.
        artifact: digest of the unsigned packages.
        name: of the package's file.
        digests: SHA-256 (hex) of the file, and its manifest in the registry.
    """
    file, manifest = digests
    return dump(
        {
            "_type": STATEMENT_V1,
            "subject": [
                {"name": name, "digest": {"sha256": file}},
                {"name": request.storage, "digest": _digest(manifest.digest)},
            ],
            "predicateType": SLSA_PROVENANCE_V1,
            "predicate": _predicate(request, record, artifact),
        }
    )


def _predicate(request: PackageRequest, record: BuildRecord, artifact: str) -> dict[str, Any]:
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "configuration": record.path,
                "package": record.name,
                "version": f"{record.version}-r{record.epoch}",
                "arch": record.arch,
                "repository": request.storage,
            },
            "internalParameters": {
                "uid": request.uid,
                "network": request.network,
                "inputs": record.inputs,
            },
            "resolvedDependencies": _dependencies(request, record, artifact),
        },
        "runDetails": {
            "builder": {
                "id": request.builder_id,
                "version": {"plimsoll": tool().partition("-")[2]},
            },
            "metadata": {
                "invocationId": f"{request.namespace}/{request.name}/{artifact}",
                "startedOn": request.started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        },
    }


def _dependencies(
    request: PackageRequest, record: BuildRecord, artifact: str
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if record.repository and record.commit:
        found.append(
            {
                "name": "configuration",
                "uri": f"git+{record.repository}@{record.commit}#{record.path}",
                "digest": {"gitCommit": record.commit},
                **_signed(record.signer),
            }
        )
    found += [_source(source, record.signers) for source in record.sources]
    for what, digest in (("guest", record.guest), ("unsigned packages", artifact)):
        uri = f"oci://{request.storage}@{digest}"
        found.append({"name": what, "uri": uri, "digest": _digest(digest)})
    found += [
        {
            "name": f"{package.name}-{package.version}",
            "uri": public_url(package.url) if "://" in package.url else "",
            "digest": {"sha1": package.sha1},
        }
        for package in record.guest_packages
    ]
    return [{key: value for key, value in item.items() if value} for item in found]


def _source(source: Mapping[str, str], signers: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    if source["uses"] == "fetch":
        names = ("sha256", "sha512")
        digests = {name: source.get(f"expected-{name}", "") for name in names}
        uri, signed = public_url(source["uri"]), {}
    else:
        digests = {"gitCommit": source.get("expected-commit", "")}
        ref = source.get("tag") or source.get("branch") or ""
        repository = source["repository"]
        uri = f"git+{public_url(repository)}" + (f"@{ref}" if ref else "")
        signed = _signed(signers.get(repository))
    return {"uri": uri, "digest": {name: d for name, d in digests.items() if d}, **signed}


def _signed(signer: Mapping[str, str] | None) -> dict[str, Any]:
    return {"annotations": {"signer": dict(signer)}} if signer else {}


def _digest(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}
