"""SPDX 2.3 document of one built package: what it is, what it was made from, what it contains."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from plimsoll.builder.licences import Licences
from plimsoll.builder.sbom import tool
from plimsoll.builder.spdx import (
    DOCUMENT,
    LICENCE_LIST,
    NAMESPACE,
    VERSION,
    purl_reference,
    relationship,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plimsoll.api.gitsource import VerifiedSigner
    from plimsoll.builder.package.compile import Source
    from plimsoll.builder.vendored.model import Component

NO_ASSERTION = "NOASSERTION"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a configuration comes from.

    Attributes:
        path: its path as the build was given it.
        repository: URL of the Git repository that holds it, ``""`` if that is not known.
        commit: its commit there.
        license: its licence.
    """

    path: str
    repository: str = ""
    commit: str = ""
    license: str = NO_ASSERTION


@dataclass(frozen=True, slots=True)
class Described:
    """The package that a document is about.

    Attributes:
        version: with epoch.
        upstream: without.
        arch: as repositories name it.
        license: SPDX expression.
        cpe: CPE 2.3 formatted string, or ``""``.
        namespace: the distribution, for package URLs.
    """

    name: str
    version: str
    upstream: str
    arch: str
    license: str = ""
    cpe: str = ""
    namespace: str = "unknown"


def package_sbom(
    about: Described,
    origin: Origin,
    sources: Sequence[Source],
    components: Iterable[Component] = (),
    *,
    epoch: int = 0,
) -> bytes:
    """The document.

    Args:
        about: the package.
        origin: where its configuration comes from.
        sources: what its build fetched.
        components: what is vendored in it.
        epoch: creation time, seconds since the epoch.
    """
    licences = Licences()
    supplier = f"Organization: {about.namespace.capitalize()}"
    main = _main(about, licences, supplier)
    packages = [_system(about, supplier), main]
    relations = []

    def relate(kind: str, package: dict[str, Any]) -> None:
        packages.append(package)
        relations.append(relationship(main["SPDXID"], kind, package["SPDXID"]))

    if origin.path:
        relate("DESCRIBED_BY", _configuration(origin, licences, supplier))
    for number, source in enumerate(sources):
        make = _git if source.uses == "git-checkout" else _archive
        package = make(source.inputs, number, about, main["licenseDeclared"])
        if source.signer is not None:
            package["sourceInfo"] = signed_by(source.signer)
        relate("GENERATED_FROM", package)
    for component in components:
        package = _component(component)
        if package["SPDXID"] not in {known["SPDXID"] for known in packages}:
            relate("CONTAINS", package)
    name = f"apk-{about.name}-{about.version}"
    value: dict[str, Any] = {
        "SPDXID": DOCUMENT,
        "name": name,
        "spdxVersion": VERSION,
        "creationInfo": {
            "created": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: {tool()}"],
            "licenseListVersion": LICENCE_LIST,
        },
        "dataLicense": "CC0-1.0",
        "documentNamespace": "",
        "documentDescribes": [main["SPDXID"]],
        "packages": packages,
        "relationships": relations,
    }
    if licences.extracted:
        value["hasExtractedLicensingInfos"] = [
            licences.extracted[key] for key in sorted(licences.extracted)
        ]
    # The name of a document must be its own: it is made of everything that is in it.
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
    value["documentNamespace"] = (
        f"{NAMESPACE}/{element(name).removeprefix('SPDXRef-')}-{digest[:32]}"
    )
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def signed_by(signer: VerifiedSigner) -> str:
    """A sentence about who signed a source."""
    return (
        f"The {signer.object} {signer.id} (commit {signer.commit}) is signed by {signer.name} "
        f"({signer.signature} {signer.key}); verified before the build."
    )


def element(*parts: str) -> str:
    """A valid SPDX identifier that differs where the parts do.

    Separators become dashes; what else is not allowed becomes ``C`` and its number.
    """

    def escape(match: re.Match[str]) -> str:
        return "-" if match[0] in "/:@" else f"C{ord(match[0])}"

    return "SPDXRef-" + "-".join(re.sub(r"[^A-Za-z0-9.-]", escape, p) for p in parts if p)


def apk_purl(about: Described) -> str:
    """The package URL of an APK package, its distribution as a qualifier too."""
    arch = f"arch={quote(about.arch, safe='')}&" if about.arch else ""
    distro = quote(about.namespace, safe="")
    name, version = quote(about.name, safe="-._~"), quote(about.version, safe="-._~")
    return f"pkg:apk/{distro}/{name}@{version}?{arch}distro={distro}"


def generic_purl(name: str, version: str, qualifiers: Mapping[str, str]) -> str:
    """A package URL of the type ``generic``."""
    text = f"pkg:generic/{quote(name, safe='')}"
    if version:
        text += f"@{quote(version, safe='')}"
    pairs = [f"{k}={quote(v, safe=':')}" for k, v in sorted(qualifiers.items()) if v]
    return text + (f"?{'&'.join(pairs)}" if pairs else "")


def _package(
    identifier: str, name: str, supplier: str, purpose: str, **more: Any
) -> dict[str, Any]:
    return {
        "SPDXID": identifier,
        "name": name,
        **({"versionInfo": more.pop("version")} if more.get("version") else {}),
        "filesAnalyzed": False,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": more.pop("license", "") or NO_ASSERTION,
        **({"description": more.pop("description")} if "description" in more else {}),
        "downloadLocation": more.pop("location", NO_ASSERTION),
        "originator": supplier,
        "supplier": supplier,
        **more.pop("extra", {}),
        "primaryPackagePurpose": purpose,
        **{key: value for key, value in more.items() if value},
    }


def _system(about: Described, supplier: str) -> dict[str, Any]:
    return _package(
        "SPDXRef-OperatingSystem",
        about.namespace,
        supplier,
        "OPERATING-SYSTEM",
        description="Operating System",
    )


def _main(about: Described, licences: Licences, supplier: str) -> dict[str, Any]:
    references = [purl_reference(apk_purl(about))]
    if about.cpe:
        references.append(
            {
                "referenceCategory": "SECURITY",
                "referenceLocator": about.cpe,
                "referenceType": "cpe23Type",
            }
        )
    return _package(
        element("Package", "apk", about.name, about.version),
        about.name,
        supplier,
        "APPLICATION",
        version=about.version,
        license=licences.expression(about.license),
        extra={"copyrightText": NO_ASSERTION},
        externalRefs=references,
    )


def _configuration(origin: Origin, licences: Licences, supplier: str) -> dict[str, Any]:
    owner = _github(origin.repository)
    if owner:
        purl = f"pkg:github/{owner}@{origin.commit}#{origin.path}"
    else:
        url = f"git+{origin.repository}@{origin.commit}" if origin.repository else ""
        purl = generic_purl(origin.path.rpartition("/")[2], origin.commit, {"vcs_url": url})
    return _package(
        element("Package", "Configuration", origin.path, origin.commit),
        origin.path,
        supplier,
        "INSTALL",
        version=origin.commit,
        license=licences.expression(origin.license),
        externalRefs=[purl_reference(purl)],
    )


@dataclass(frozen=True, slots=True)
class GitSource:
    """A repository as a source: names, package URL, where a person finds it."""

    name: str
    version: str
    namespace: str
    purl: str
    location: str


def git_source(inputs: Mapping[str, str], supplier: str) -> GitSource:
    """What a ``git-checkout`` is made from.

    Args:
        inputs: of the pipeline.
        supplier: the namespace where the repository has none of its own.
    """
    repository = inputs.get("repository", "").removesuffix(".git")
    tag, commit = inputs.get("tag", ""), inputs.get("expected-commit", "")
    version = tag or commit
    owner = _github(repository)
    if owner:
        namespace, _, name = owner.partition("/")
        location = f"https://github.com/{owner}/archive/{commit or version}.tar.gz"
        return GitSource(name, version, namespace, f"pkg:github/{owner}@{version}", location)
    name = urlsplit(repository).path.strip("/") or repository
    at = f"@{commit}" if commit else ""
    url = f"git+{repository}{at}"
    location = url if commit else f"{url}@{tag}" if tag else url
    return GitSource(
        name, version, supplier, generic_purl(name, version, {"vcs_url": url}), location
    )


def _git(inputs: Mapping[str, str], number: int, about: Described, license_: str) -> dict[str, Any]:
    source = git_source(inputs, about.namespace)
    host = urlsplit(inputs.get("repository", "")).hostname or ""
    owner = source.namespace if source.purl.startswith("pkg:github/") else ""
    return _package(
        element(
            *("Package", "Source", host, owner, source.name, inputs.get("tag", "")),
            *(inputs.get("expected-commit", ""), str(number)),
        ),
        source.name,
        f"Organization: {source.namespace.capitalize()}",
        "SOURCE",
        version=source.version,
        license=license_,
        location=source.location,
        externalRefs=[purl_reference(source.purl)],
    )


def _archive(
    inputs: Mapping[str, str], number: int, about: Described, license_: str
) -> dict[str, Any]:
    del license_  # an archive may hold anything
    name = inputs.get("purl-name") or about.name
    version = inputs.get("purl-version") or about.upstream
    sums = {
        algorithm: inputs[f"expected-{algorithm}"]
        for algorithm in ("sha256", "sha512")
        if inputs.get(f"expected-{algorithm}")
    }
    checksum = ",".join(f"{algorithm}:{value}" for algorithm, value in sums.items())
    uri = inputs.get("uri", "")
    purl = generic_purl(name, version, {"checksum": checksum, "download_url": uri})
    return _package(
        element("Package", "Source", name, version, str(number)),
        name,
        f"Organization: {about.namespace.capitalize()}",
        "SOURCE",
        version=version,
        location=uri or NO_ASSERTION,
        checksums=[{"algorithm": k.upper(), "checksumValue": v} for k, v in sums.items()],
        externalRefs=[purl_reference(purl)],
    )


def _component(component: Component) -> dict[str, Any]:
    return _package(
        element("Package", "Vendored", component.purl.removeprefix("pkg:")),
        component.name,
        NO_ASSERTION,
        "LIBRARY",
        version=component.version,
        externalRefs=[purl_reference(component.purl)],
    )


def _github(repository: str) -> str:
    """``OWNER/NAME`` of a repository on GitHub, else ``""``."""
    match = re.fullmatch(
        r"(?:https://|ssh://git@|git@|git://)github\.com[/:]([^/]+/[^/]+?)(?:\.git)?/?", repository
    )
    return match[1] if match else ""
