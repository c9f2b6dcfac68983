"""SBOMs and .PKGINFO of packages, compared with what the reference wrote."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.version import InvalidVersionError, Version
from plimsoll.arch import Arch
from plimsoll.builder.licence_check import declared_expression
from plimsoll.builder.package.compile import compile_package
from plimsoll.builder.package.library import Library
from plimsoll.builder.package.load import load_file
from plimsoll.builder.package.sbom import (
    Described,
    Origin,
    apk_purl,
    generic_purl,
    git_source,
    package_sbom,
)
from plimsoll.builder.sca.model import Dependencies
from shared_data import DATA, shared


def _cases(path, *keys):
    file = DATA / path
    value = json.loads(file.read_text()) if file.exists() else {}
    for key in keys:
        value = value.get(key, [])
    return value


def _normalised(text):
    """What is the same whoever made the document."""
    value = json.loads(re.sub(r"SPDXRef-Package-(Melange|Configuration)-", "SPDXRef-Config-", text))
    value["creationInfo"] = {}
    assert value.pop("documentNamespace").startswith("https://")
    return value


def _sbom(config, **more):
    path = shared("melange") / config
    compiled = compile_package(load_file(path), Library(), Arch.AMD64)
    package = compiled.config.package
    about = Described(
        name=package.name,
        version=package.full_version,
        upstream=package.version,
        arch="x86_64",
        license=declared_expression(item.license for item in package.copyright),
        cpe=package.cpe.bind(package.version),
        namespace="wolfi",
    )
    origin = Origin(config, "https://github.com/wolfi-dev/os", "c0ffee")
    return package_sbom(about, origin, compiled.sources, **more)


@pytest.mark.parametrize(
    "case", _cases("melange/sboms/expected.json", "cases"), ids=lambda c: c["config"]
)
def test_golden(case):
    if "error_contains" in case:
        package = load_file(shared("melange") / case["config"]).config.package
        with pytest.raises(InvalidVersionError):
            Version.parse(package.full_version)
        return
    made = _sbom(case["config"])
    golden = (shared("melange") / case["sbom"]).read_text()
    assert _normalised(made.decode()) == _normalised(golden)
    assert made == _sbom(case["config"])
    identifiers = [package["SPDXID"] for package in json.loads(made)["packages"]]
    assert len(identifiers) == len(set(identifiers))


def test_documents_have_names_of_their_own():
    config = "testdata/build_configs/crane.yaml"
    names = {
        json.loads(_sbom(config, epoch=epoch))["documentNamespace"] for epoch in (0, 1, 1_000_000)
    }
    assert len(names) == 3


@pytest.mark.parametrize("case", _cases("melange/tables.json", "purl"), ids=lambda c: c["expect"])
def test_purl(case):
    about = Described(
        name=case["name"],
        version=f"{case['version']}-r{case['epoch']}",
        upstream=case["version"],
        arch=case["arch"],
        namespace=case["distro"],
    )
    assert apk_purl(about) == case["expect"]


@pytest.mark.parametrize(
    "case",
    _cases("melange/tables.json", "git_source_package", "cases"),
    ids=lambda c: c["in"]["repository"],
)
def test_git_source(case):
    given = dict(case["in"])
    supplier = given.pop("supplier")
    wanted = case["expect"]
    found = git_source(given, supplier)
    assert (found.name, found.version, found.namespace) == (
        wanted["name"],
        wanted["version"],
        wanted["namespace"],
    )
    purl = wanted["purl"]
    if purl["type"] == "github":
        assert found.purl == f"pkg:github/{purl['namespace']}/{purl['name']}@{purl['version']}"
        assert found.location == wanted["download_location"]
    else:
        url = {"vcs_url": purl["vcs_url"]}
        assert found.purl == generic_purl(purl["name"], purl["version"], url)
        # Upstream names a mirror of its own; ours says where the source really came from.
        assert found.location.startswith(f"git+{given['repository']}@")


@pytest.mark.parametrize("case", _cases("melange/pkginfo.json", "cases"), ids=lambda c: c["name"])
def test_pkginfo(case):
    given = case["inputs"]
    info = PackageInfo(
        name=given["package_name"],
        version=f"{given['version']}-r{given['epoch']}",
        arch=given["arch"],
        installed_size=given["installed_size"],
        origin=given["origin"],
        description=given["description"],
        url=given["url"],
        commit=given["commit"],
        datahash=given["data_hash"],
        build_time=given["source_date_epoch"],
        maintainer=given["namespace"],
    )
    assert info.to_text("melange") == case["expected"]
    full = replace(info, depends=("a",), provides=("b=1",), vendored=("so:c=1",), triggers=("/d",))
    keys = [line.partition(" = ")[0] for line in full.to_text().splitlines()]
    assert keys[-5:] == ["depend", "provides", "# vendored", "triggers", "datahash"]


@pytest.mark.parametrize("case", _cases("melange/pkginfo.json", "remove_self_provided"), ids=str)
def test_self_provided_dependencies_are_removed(case):
    found = Dependencies(runtime=tuple(case["depends"]), provides=tuple(case["provides"]))
    assert list(found.settled().runtime) == case["expect"]
