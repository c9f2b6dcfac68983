"""The test tool's mapping of Debian versions, and its reading of package lists."""

import itertools
import re
import shutil
import subprocess

import pytest

from debian_apk.licenses import declared_license
from debian_apk.packages import PackageList, UnknownPackageError
from debian_apk.versions import apk_version, debian_key
from plimsoll.apk.version import Version

PAIRS = {
    "2.36-9+deb12u10": "2.36-r9012010",
    "1:1.2.13.dfsg-1": "1.2.13_p-r1000000",
    "3.0.22-1~deb12u2": "3.0.22-r512002",
    "2026f-0+deb12u1": "2026f-r12001",
    "20250419~deb12u2": "20250419_pre122-r0",
    "12.4+deb12u15": "12.4_p1215-r0",
    "3.11.2-1+b1": "3.11.2-r1100000",
    "10.0.0": "10.0.0-r0",
    "1.0~rc2-3": "1.0_rc2-r3000000",
    "1.0~beta.4+ds-1": "1.0_beta4-r1000000",
    "0.0~git20230101.abc12-2": "0.0_pre2023010112-r2000000",
    "1.2+git20230101-1": "1.2_git20230101-r1000000",
    "5.3.28+dfsg2-1": "5.3.28_p2-r1000000",
    "1.0rc1-1": "1.0_rc1-r1000000",
    "6.4-4": "6.4-r4000000",
    "09.10-1": "9.10-r1000000",
}


@pytest.mark.parametrize(("debian", "apk"), PAIRS.items())
def test_versions(debian, apk):
    assert apk_version(debian) == apk
    assert str(Version(apk)) == apk


def test_order_is_kept():
    order = [
        "1.0~rc1-1",
        "1.0-1~deb12u1",
        "1.0-1",
        "1.0-1+deb12u1",
        "1.0-1+deb12u2",
        "1.0-1.1",
        "1.0-2",
        "1.0-10",
        "1.0.1-1",
        "1.1-1",
        "1.10-1",
    ]
    mapped = [Version(apk_version(v)) for v in order]
    assert mapped == sorted(mapped)
    assert len(set(mapped)) == len(mapped)
    assert order == sorted(order, key=debian_key)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg to compare with")
def test_debian_order():
    versions = [
        "1.0",
        "1.0~",
        "1.0~~",
        "1:0.1",
        "1.0-1",
        "1.0-1+b1",
        "1.0a",
        "1.0+",
        "1.0-0",
        "1.00",
    ]
    for a, b in itertools.combinations(versions, 2):
        for name, expected in (
            ("lt", debian_key(a) < debian_key(b)),
            ("eq", debian_key(a) == debian_key(b)),
        ):
            done = subprocess.run(["dpkg", "--compare-versions", a, name, b], check=False)
            assert (done.returncode == 0) is expected, (a, name, b)


LISTS = rb"""Package: app
Version: 1-1
Depends: lib (>= 2), debconf | debconf-2.0, mta, other:any | third
Pre-Depends: base

Package: app
Version: 1-2
Depends: lib (>= 2), debconf | debconf-2.0, mta, other:any | third
Pre-Depends: base

Package: lib
Version: 2-1

Package: base
Version: 1

Package: postfix
Version: 1
Provides: mta, x

Package: exim
Version: 1
Provides: mail, mta (= 4)

Package: third
Version: 1
Depends: gone

Package: debconf
Version: 1
"""


def test_closure():
    packages = PackageList([LISTS])
    with pytest.raises(UnknownPackageError, match="gone"):
        packages.closure(["app"])
    packages = PackageList([re.sub(rb"Depends: gone\n", b"", LISTS)])
    found = packages.closure(["app"])
    assert list(found) == ["app", "base", "exim", "lib", "third"]
    assert found["app"].version == "1-2"
    assert "postfix" in packages.closure(["app", "postfix"])
    assert "debconf" in packages.closure(["app", "debconf"])
    with pytest.raises(UnknownPackageError, match="nothing"):
        packages.closure(["nothing"])


def test_licenses():
    text = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: GPL-2+ with OpenSSL exception
Files: x
License: Expat or LGPL-2.1
Files: y
License: Odd_One!
"""
    expression, extracted = declared_license(text)
    assert expression == (
        "GPL-2.0-or-later AND LGPL-2.1-only AND LicenseRef-debian-odd-one AND MIT"
    )
    assert extracted == {"LicenseRef-debian-odd-one": "Odd_One!"}
    assert declared_license("This package was debianized by") == ("NOASSERTION", {})
