"""How the reference splits an image into layers, and what bills of materials make of it."""

from __future__ import annotations

import pytest

from plimsoll.apk.installed import parse_installed
from plimsoll.apk.writer import PackageFile
from plimsoll.builder.engine import UnsupportedError

DATABASE = "usr/lib/apk/db/installed"
ORIGIN = {"strategy": "origin", "budget": 5}


def names(layer):
    return [member.name for member in layer[0]]


def of(path, content, mtime):
    return {path: PackageFile(path, content=content, mtime=mtime)}


def test_layers_by_origin(make):
    image = make(
        ("big", of("usr/bin/big", bytes(5000), 10)),
        ("one", of("usr/bin/one", b"1", 20), {"origin": "o"}),
        ("two", of("usr/share/two", b"2", 30), {"origin": "o"}),
        layering=ORIGIN,
    )  # fmt: skip
    big, small, top = image.layers
    database = ["usr/lib", "usr/lib/apk", "usr/lib/apk/db", DATABASE]
    assert names(big) == ["usr", "usr/bin", "usr/bin/big", *database]
    # What was entered and left again in between is written again.
    assert names(small) == [
        "usr", "usr/bin", "usr/bin/one", *database, "usr/share", "usr/share/two",
    ]  # fmt: skip
    assert [m.mtime for m in big[0]] == [10, 10, 10, 0, 0, 0, 0]
    assert [m.mtime for m in small[0]] == [20, 20, 20, 0, 0, 0, 0, 30, 30]
    assert [r.entry.name for r in parse_installed(small[1][DATABASE].decode())] == ["one", "two"]
    assert [r.entry.name for r in parse_installed(top[1][DATABASE].decode())] == [
        "big", "one", "two",
    ]  # fmt: skip
    # All directories are on top, with their own times, and nothing of a package is.
    assert {"usr", "usr/bin", "usr/share", "etc/apko.json", "dev/null"} <= set(names(top))
    assert not {"usr/bin/big", "usr/bin/one", "usr/share/two"} & set(names(top))
    assert [h.get("comment") for h in image.config["history"]] == [None] * 3


def test_layers_budget_and_ties(make):
    packages = [(name, {f"opt/{name}": name[0] * 10}) for name in ("bb", "cc", "aa")]
    layering = {"strategy": "origin", "budget": 2}
    image = make(*packages, layering=layering)
    found = [[r.entry.name for r in parse_installed(c[DATABASE].decode())] for _, c in image.layers]
    assert found == [["aa"], ["bb", "cc"], ["bb", "cc", "aa"]]


def test_what_is_written_over_stays_in_its_package_s_layer(make):
    files = {"etc/passwd": "root:x:0:0:r:/root:/bin/sh\n", "etc/y": "1"}
    image = make(("base", files), layering={"strategy": "origin", "budget": 1},
                 accounts={"users": [{"username": "u", "uid": 5}]})  # fmt: skip
    assert "etc/passwd" in names(image.layers[0])
    assert b"u:x:5" in image.layers[0][1]["etc/passwd"]
    assert "etc/passwd" not in names(image.layers[1])
    # It is not as its package brings it, and is listed as such.
    assert "./etc/passwd" in [item["fileName"] for item in image.sbom["files"]]


@pytest.mark.parametrize("compat", [False, True])
def test_a_document_that_is_too_large_is_told_of(make, compat):
    path = "var/lib/db/sbom/a-1.0-r0.spdx.json"
    image = make(("a", {path: b" " * ((16 << 20) + 1)}), compat=compat)
    assert [
        f"{p['name']} {p['versionInfo']}" for p in image.sbom["packages"] if p["name"] == "a"
    ] == ["a 1.0-r0"]
    (warning,) = image.warnings
    assert warning.startswith("a brings an SPDX document that cannot be used: it has 16777217")


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("kind", ["-> elsewhere", "/"])
def test_what_should_be_a_document_or_a_release_and_is_none(make, compat, kind):
    paths = ["var/lib/db/sbom/a.spdx.json", "etc/os-release", "etc/passwd", "etc/group"]
    files = {f"{p}/": "" for p in paths} if kind == "/" else dict.fromkeys(paths, kind)
    if kind == "/":
        # The accounts have nowhere to be written to.
        files = {path: content for path, content in files.items() if "etc/" not in path}
        files["etc/os-release/"] = ""
    image = make(("a", files), compat=compat)
    assert "a" in [p["name"] for p in image.sbom["packages"]]


def test_the_reference_has_no_layer_per_package(make):
    with pytest.raises(UnsupportedError, match="no layering strategy 'package'"):
        make(layering={"strategy": "package", "budget": 3})
