"""Locks that contradict themselves, or that would let something else in."""

from __future__ import annotations

import base64
import copy
import json

import pytest

from plimsoll.builder.lock import Lock, LockError

SHA1 = base64.b64encode(b"1" * 20).decode()
SHA256 = base64.b64encode(b"2" * 32).decode()
PACKAGE = {
    "name": "app",
    "url": "https://packages.example/x86_64/app-1.0-r0.apk",
    "version": "1.0-r0",
    "architecture": "x86_64",
    "checksum": f"Q1{SHA1}",
    "signature": {"range": "bytes=0-9", "checksum": f"sha1-{SHA1}"},
    "control": {"range": "bytes=10-19", "checksum": f"sha1-{SHA1}"},
    "data": {"range": "bytes=20-29", "checksum": f"sha256-{SHA256}"},
}


def lock(*packages: dict[str, object]) -> bytes:
    return json.dumps({"version": "v1", "contents": {"packages": packages}}).encode()


def test_a_sound_one():
    (package,) = Lock.parse(lock(PACKAGE), "lock").contents.packages
    assert (package.sha1, package.datahash, package.file_size) == (b"1" * 20, b"2".hex() * 32, 30)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("name",), "../app", "is no package"),
        (("name",), "app\x1b[2J", "is no package"),
        (("name",), "", "is no package"),
        (("version",), "1/../../2", "is no package"),
        (("checksum",), "", "missing checksum"),
        (("checksum",), f"Q2{SHA256}", "of app is none"),
        (("checksum",), "Q1" + base64.b64encode(b"3" * 20).decode(), "two checksums"),
        (("control", "checksum"), f"sha256-{SHA256}", "two checksums"),
        (("data", "checksum"), f"sha1-{SHA1}", "is no SHA-256"),
        (("data", "checksum"), f"md5-{SHA1}", "is no SHA-256"),
        (("data", "checksum"), f"sha256-{SHA1}", "is no SHA-256"),
        (("data", "checksum"), "sha256-é", "is no base64"),
        (("data", "checksum"), "", "is no SHA-256"),
        (("url",), "http://[::1/x.apk", "cannot be asked"),
        (("url",), "http://user:secret@x:99999/x.apk", "cannot be asked"),
        (("url",), "ftp://packages.example/x.apk", "cannot be asked"),
        (("url",), "", "without a URL"),
        (("size",), "many", "is no lock file"),
        (("data",), [], "is no lock file"),
    ],
)
def test_what_is_refused(path, value, message):
    package = copy.deepcopy(PACKAGE)
    place = package
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(LockError, match=message) as error:
        Lock.parse(lock(package), "lock")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("span", ["bytes=0-" + "9" * 5000, "bytes=5-", "lies", ""])
def test_a_range_that_is_none_says_nothing(span):
    package = {**PACKAGE, "data": {**PACKAGE["data"], "range": span}, "size": 7}
    (found,) = Lock.parse(lock(package), "lock").contents.packages
    assert found.file_size == 7


def test_a_package_twice():
    other = {**PACKAGE, "url": "https://packages.example/x86_64/app-2.0-r0.apk"}
    with pytest.raises(LockError, match="has the package app twice for x86_64"):
        Lock.parse(lock(PACKAGE, other), "lock")
    Lock.parse(lock(PACKAGE, {**PACKAGE, "architecture": "aarch64"}), "lock")
