"""The dependency scan on real packages, and the tables beside them."""

import json

import pytest

from plimsoll.apk.data import DataMismatchError
from plimsoll.builder.licence_check import declared_expression, is_listed
from plimsoll.builder.sca.embedded import read_embedded
from plimsoll.builder.sca.model import Dependencies, Facts, Options
from plimsoll.builder.sca.paths import is_in, loader_directories
from plimsoll.builder.sca.scan import scan
from plimsoll.builder.sca.shebang import interpreter
from plimsoll.builder.sca.tree import ApkTree
from plimsoll.yaml12 import load
from shared_data import shared


def table(name):
    try:
        return json.loads((shared("melange") / name).read_text())
    except pytest.skip.Exception:
        return {}


SCA = table("sca/expected.json")
PKGINFO = table("pkginfo.json")
TABLES = table("tables.json")


def options(config):
    package = load(config.read_text(), str(config)).value["package"]
    chosen = {key.replace("-", "_"): value for key, value in package.get("options", {}).items()}
    return Options(**chosen)


@pytest.mark.parametrize("case", SCA.get("cases", []), ids=lambda c: c["apk"])
def test_real_packages(case):
    folder = shared("melange") / "sca"
    with ApkTree(folder / case["apk"], verify=case["datahash_matches"]) as tree:
        info = tree.package.info
        assert info.arch == case["arch"]
        facts = Facts(info.name, info.version, options=options(folder / case["config"]))
        if "expect" in case:
            found = scan(tree, facts)
            got = {key: list(getattr(found, key)) for key in ("runtime", "provides", "vendored")}
            assert got == case["expect"]
            assert found.notes == ()
        if "expect_ld_so_conf_d_dirs" in case:
            assert list(loader_directories([tree])) == case["expect_ld_so_conf_d_dirs"]


@pytest.mark.parametrize("case", SCA.get("shebang", []), ids=lambda c: repr(c["text"]))
def test_shebangs(case):
    assert interpreter(case["text"].encode()) == case["expect"]


@pytest.mark.parametrize("case", SCA.get("is_in_dir", []), ids=lambda c: f"{c['path']}-{c['dirs']}")
def test_directories(case):
    assert is_in(case["path"], case["dirs"]) is case["expect"]


@pytest.mark.parametrize("case", PKGINFO.get("remove_self_provided", []))
def test_what_a_package_provides_itself(case):
    found = Dependencies(runtime=tuple(case["depends"]), provides=tuple(case["provides"]))
    assert list(found.settled().runtime) == case["expect"]


@pytest.mark.parametrize("name", ["shbang-test-1-r1.apk", "linux-modules-zstd-6.17.7-r0.apk"])
def test_embedded_configurations(name):
    path = shared("melange") / "sca" / name
    with ApkTree(path) as tree:
        embedded = read_embedded(path, tree.package)
    assert embedded is not None
    assert embedded.options.no_provides is name.startswith("shbang")


def test_no_embedded_configuration():
    path = shared("melange") / "sca/libcap-2.69-r0.apk"
    with ApkTree(path) as tree:
        assert read_embedded(path, tree.package) is None


def test_damaged_packages_are_refused():
    with pytest.raises(DataMismatchError):
        ApkTree(shared("melange") / "sca/neon-4604-r0.apk")


@pytest.mark.parametrize("case", TABLES.get("license_valid", []), ids=lambda c: c["in"])
def test_listed_licences(case):
    assert is_listed(case["in"]) is case["expect"]


@pytest.mark.parametrize(
    ("licences", "expect"),
    [(c["copyright"], c["expect"]) for c in TABLES.get("license_expression", [])]
    + [
        ([c["in"]], c["expect"])
        for key in ("license_id", "license_ref")
        for c in TABLES.get(key, [])
    ],
)
def test_licence_expressions(licences, expect):
    assert declared_expression(licences) == expect
