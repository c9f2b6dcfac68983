from __future__ import annotations

from datetime import UTC, datetime

import pytest

from plimsoll.api.image import ImageConfiguration
from plimsoll.api.imagecontents import Contents
from plimsoll.arch import Arch
from plimsoll.builder.engine import UnsupportedError, architectures, check_supported, wanted
from plimsoll.builder.licences import Licences
from plimsoll.builder.lock import Lock, LockedContents, LockedPackage
from plimsoll.builder.logins import Logins
from plimsoll.builder.ociimage import EntrypointError, creation_time
from plimsoll.builder.repository import RepositoryError, parse_repository
from plimsoll.builder.spdx import apk_purl, element_id
from plimsoll.builder.steps.common import RequestError
from plimsoll.builder.steps.plan import expand, stems
from plimsoll.errors import Error

NOW = datetime(2026, 11, 21, 6, 44, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expression", "named"),
    [
        ("MIT", "MIT", []),
        ("GPL-2.0-or-later AND MIT", "GPL-2.0-or-later AND MIT", []),
        (
            "GPL-2.0-or-later WITH Classpath-exception-2.0",
            "GPL-2.0-or-later WITH Classpath-exception-2.0",
            [],
        ),
        ("MIT AND custom", "MIT AND LicenseRef-custom", ["LicenseRef-custom"]),
        ("MIT BSD", "LicenseRef-MIT-BSD", ["LicenseRef-MIT-BSD"]),
        ("", "NOASSERTION", []),
        ("(", None, None),
    ],
)
def test_licences(text, expression, named):
    licences = Licences()
    made = licences.expression(text)
    if expression is None:
        assert made.startswith("LicenseRef")
        return
    assert made == expression
    assert list(licences.extracted) == named


def test_tag_templates():
    lock = Lock(
        contents=LockedContents(
            packages=[
                LockedPackage(name="a+b", url="", version="1.2_p3-r0", architecture="x86_64"),
                LockedPackage(name="c", url="", version="1-r0", architecture="x86_64"),
                LockedPackage(name="c", url="", version="2-r0", architecture="aarch64"),
            ]
        )
    )
    assert expand("${timestamp}-x", lock, NOW) == ["20261121064400-x"]
    assert expand("v${package.a+b.version}", lock, NOW) == ["v1.2_p3-r0"]
    assert expand("v${package.a+b.stems}-x", lock, NOW) == ["v1-x", "v1.2_p3-x"]
    for bad, words in (
        ("${package.c.version}", "differs"),
        ("${package.d.version}", "not in the image"),
        ("${package.c.stems}", "differs"),
        ("${package.a+b.stem}", "unknown"),
        ("${nonsense}", "unknown"),
    ):
        with pytest.raises(RequestError, match=words):
            expand(bad, lock, NOW)
    with pytest.raises(Error):
        expand("a b", lock, NOW)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("3.12.1-r2", ["3", "3.12", "3.12.1"]),
        ("3-r0", ["3"]),
        ("2024.01.05", ["2024", "2024.01", "2024.01.05"]),
        ("1.1.1w-r4", ["1", "1.1", "1.1.1w"]),
        ("9.9_p2-r0", ["9", "9.9_p2"]),
        ("3.13.0_rc1-r0", ["3.13.0_rc1"]),
    ],
)
def test_stems_of_versions(version, expected):
    assert stems(version) == expected


def test_logins_leave_urls():
    logins = Logins({"HTTP_AUTH": "basic:other.example:u:p:w basic:third.example:a:b"})
    config = ImageConfiguration(
        contents=Contents(
            repositories=["@tag https://user:pass%40word@apk.example:8443/os", "./local"],
            keyring=["https://user:x@keys.example/k.rsa.pub"],
        )
    )
    clean = logins.strip_config(config)
    assert clean.contents.repositories == ["@tag https://apk.example:8443/os", "./local"]
    assert clean.contents.keyring == ["https://keys.example/k.rsa.pub"]
    assert logins.headers("https://apk.example:8443/os/x86_64/APKINDEX.tar.gz") == {
        "Authorization": "Basic dXNlcjpwYXNzQHdvcmQ="
    }
    assert logins.headers("https://apk.example/os") == {}
    assert logins.headers("https://other.example/x") == {"Authorization": "Basic dTpwOnc="}
    assert "pass" not in repr(logins)


def test_repositories():
    assert parse_repository("https://x.example/os/") == ("https://x.example/os", "")
    assert parse_repository("@edge ./packages/") == ("./packages", "edge")
    for bad in ("@ x", "@a-b https://x", "ftp://x.example/os"):
        with pytest.raises(RepositoryError):
            parse_repository(bad)


def test_architectures():
    config = ImageConfiguration(archs=["x86_64", "amd64", "aarch64"])
    assert architectures(config) == [Arch.AMD64, Arch.ARM64]
    assert architectures(config, ["riscv64,s390x"]) == [Arch.RISCV64, Arch.S390X]
    assert len(architectures(ImageConfiguration())) == 9
    with pytest.raises(Error, match="unknown architecture 'amd46'"):
        architectures(config, ["amd46"])


def test_services_need_s6():
    config = ImageConfiguration.model_validate({"entrypoint": {"type": "service-bundle"}})
    assert wanted(config) == ["s6"]


def test_a_base_image_cannot_be_as_the_reference_has_it():
    config = ImageConfiguration.model_validate(
        {"contents": {"baseimage": {"image": "x", "apkindex": "y"}}}
    )
    check_supported(config, compat=False)
    with pytest.raises(UnsupportedError, match="base image"):
        check_supported(config, compat=True)


def test_creation_time(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert creation_time([5, 9], 7) == 9
    assert creation_time([], 7) == 7
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "3")
    assert creation_time([5]) == 3
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "x")
    with pytest.raises(EntrypointError):
        creation_time([5])


def test_identifiers():
    assert element_id("Package-apk", "a+b/c", "1.0_p1-r0") == "SPDXRef-Package-apk-a-b-c-1.0-p1-r0"
    assert (
        apk_purl("Wolfi", "g++", "1.0+x", "x86_64") == "pkg:apk/wolfi/g%2B%2B@1.0%2Bx?arch=x86_64"
    )
