"""What documents say, in one form."""

from __future__ import annotations

import json

from plimsoll.builder.diff import difference
from plimsoll.builder.view import document_view


def view(value, arch=None):
    return document_view("x", json.dumps(value).encode(), arch)


def cyclonedx(*components):
    return {"bomFormat": "CycloneDX", "components": list(components)}


def spdx(purl, licence):
    reference = {"referenceType": "purl", "referenceLocator": purl}
    packages = [{"name": "a", "licenseDeclared": licence, "externalRefs": [reference]}]
    return {"spdxVersion": "SPDX-2.3", "packages": packages}


def test_packages_of_others():
    """A document without APK packages is not empty; one with them is about them."""
    purls = ("pkg:pypi/a@1", "pkg:npm/%40scope/b@2?x=y", "pkg:oci/image@sha256%3Aab", "nonsense")
    found = view(cyclonedx(*({"purl": purl} for purl in purls))).packages
    assert {name: p.version for name, p in found.items()} == {"pypi:a": "1", "npm:@scope/b": "2"}
    more = {"purl": "pkg:apk/wolfi/c@3-r0?arch=x86_64"}
    assert list(view(cyclonedx({"purl": "pkg:pypi/a@1"}, more)).packages) == ["c"]


def test_a_further_package_url():
    properties = [{"name": "plimsoll:purl", "value": "pkg:apk/debian/a@1-r0"}]
    found = view(cyclonedx({"purl": "pkg:deb/debian/a@1", "properties": properties}))
    assert found.packages["a"].version == "1-r0"


def test_nothing_said_of_a_licence_is_no_licence():
    purl = "pkg:apk/x/a@1"
    unsaid = [view(spdx(purl, text)) for text in ("NOASSERTION", "NONE", None)]
    assert not difference(unsaid[0], unsaid[1])
    assert not difference(unsaid[1], unsaid[2])
    assert difference(unsaid[0], view(spdx(purl, "MIT"))).licences == {"MIT": (0, 1)}


def test_a_lock_knows_of_no_licences_and_of_its_base_image():
    package = {"name": "a", "version": "1", "architecture": "x86_64"}
    base = {"architecture": "x86_64", "packages": [{"name": "b", "version": "2"}]}
    other = {"architecture": "aarch64", "packages": [{"name": "c", "version": "2"}]}
    lock = view({"contents": {"packages": [package], "baseimage": [base, other]}}, "amd64")
    assert {name: p.version for name, p in lock.packages.items()} == {"a": "1", "b": "2"}
    del lock.packages["b"]
    found = difference(lock, view(spdx("pkg:apk/x/a@1", "MIT")))
    assert not found
