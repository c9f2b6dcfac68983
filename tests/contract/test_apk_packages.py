"""Real packages: sections, hashes, .PKGINFO, signatures, entries, and what we write for them."""

import base64
import json
import zlib
from pathlib import Path

import pytest

from plimsoll.apk.data import DataMismatchError
from plimsoll.apk.keys import Keyring, SigningKey
from plimsoll.apk.package import (
    ControlMismatchError,
    PackageSignatureError,
    open_package,
    verify_package,
)
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import TarReader, Type
from plimsoll.apk.tarwrite import END, encode_header, padding
from plimsoll.apk.writer import sign_section
from shared_data import shared

TYPES = {"file": Type.FILE, "dir": Type.DIRECTORY, "symlink": Type.SYMLINK}


def expected():
    try:
        return json.loads((shared("apk") / "expected.json").read_text())
    except pytest.skip.Exception:
        return {"packages": [], "parse_package": []}


EXPECTED = expected()
PACKAGES = pytest.mark.parametrize("want", EXPECTED["packages"], ids=lambda p: p["file"])


def all_keys() -> list[Path]:
    root = shared("apk")
    keys = [p for p in root.rglob("*.rsa.pub") if not p.name.startswith(".SIGN")]
    return [*keys, root / "sign" / "test.pem.pub"]


@PACKAGES
def test_sections_and_info(want):
    path = shared("apk") / want["file"]
    checksum = base64.b64decode(want["index_checksum"][2:])
    package = verify_package(path, checksum=checksum)
    sections = want["sections"]
    assert package.control.range == sections["control"]["range"]
    assert package.control.sha1 == base64.b64decode(sections["control"]["sha1_base64"])
    assert sections["data"]["range"] == f"bytes={package.data_start}-{want['size'] - 1}"
    assert package.info.datahash == sections["data"]["sha256_hex"]
    if want["signed"]:
        assert package.signature is not None
        assert package.signature.range == sections["signature"]["range"]
    else:
        assert package.signature is None
    assert sorted(package.signatures) == sorted(s["member"] for s in want["signatures"])
    assert list(package.control_files) == want["control_files"]
    info = want["pkginfo"]
    assert package.info.name == info["pkgname"][0] == want["name"]
    assert package.info.version == info["pkgver"][0] == want["version"]
    assert package.info.arch == info["arch"][0]
    assert package.info.installed_size == int(info["size"][0])
    assert package.info.origin == info.get("origin", [""])[0]
    assert package.info.description == info.get("pkgdesc", [""])[0]
    assert package.info.build_time == int(info.get("builddate", ["0"])[0])
    for key, field in (("depend", "depends"), ("provides", "provides"), ("replaces", "replaces")):
        assert getattr(package.info, field) == tuple(info.get(key, ()))
    assert package.info.licenses == tuple(info.get("license", ()))


@PACKAGES
def test_entries(want):
    path = shared("apk") / want["file"]
    with path.open("rb") as file:
        package = open_package(file, source=want["file"], checksum=None)
        found = {}
        for entry in package.data(file):
            content = b"".join(entry.chunks())
            assert len(content) == entry.header.size
            found[entry.header.name] = entry
    assert len(found) == want["data_entry_count"]
    for item in want.get("data_entries") or want["data_entries_sample"]:
        entry = found[item["name"]]
        assert entry.header.type is TYPES[item["type"]]
        assert f"{entry.header.mode:o}" == str(item["mode"])
        if item["type"] == "file":
            assert entry.header.size == item["size"]
        if "sha1" in item:
            assert entry.sha1.hex() == item["sha1"]


@PACKAGES
def test_only_the_right_key_verifies(want):
    path = shared("apk") / want["file"]
    right = {
        (shared("apk") / name).resolve() for s in want["signatures"] for name in s["verifies_with"]
    }
    for key in all_keys():
        ring = Keyring.from_files([key])
        if key.resolve() in right:
            assert verify_package(path, checksum=None, keyring=ring).signed_by == key.name
        elif key.read_bytes() not in [k.read_bytes() for k in right]:
            with pytest.raises(PackageSignatureError):
                verify_package(path, checksum=None, keyring=ring)


@PACKAGES
def test_another_checksum_is_refused(want):
    with pytest.raises(ControlMismatchError, match="not the package that its index names"):
        verify_package(shared("apk") / want["file"], checksum=bytes(20))


@pytest.mark.parametrize("case", EXPECTED["parse_package"], ids=lambda c: c["file"])
def test_index_entry_of_a_package(case):
    path = shared("apk") / case["file"]
    package = verify_package(path, checksum=None)
    entry = package.info.index_entry(package.control.sha1, path.stat().st_size)
    want = case["expect"]
    assert (entry.name, entry.version, entry.arch) == (want["name"], want["version"], want["arch"])
    assert (entry.description, entry.license) == (want["description"], want["license"])
    assert entry.origin == want["origin"]
    assert entry.checksum.hex() == want["checksum_sha1_hex"]
    assert entry.depends == tuple(want.get("dependencies", ()))
    assert entry.provides == tuple(want.get("provides", ()))
    assert entry.replaces == tuple(want.get("replaces", ()))
    assert (entry.size, entry.installed_size) == (want["size"], want["installed_size"])
    assert entry.build_time == want["build_date"]
    assert package.info.datahash == want["data_hash"]


def test_a_package_that_was_cut_upstream_does_not_verify():
    path = shared("melange") / "sca" / "neon-4604-r0.apk"
    with pytest.raises(DataMismatchError, match="changed or damaged"):
        verify_package(path, checksum=None)


def melange_packages():
    try:
        paths = [*shared("apk").rglob("*.apk"), *shared("melange").rglob("*.apk")]
    except pytest.skip.Exception:
        return []
    return [p for p in sorted(paths) if "alpine" not in p.name and "neon" not in p.name]


@pytest.mark.parametrize("path", melange_packages(), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_headers_are_written_as_they_were(path):
    data = path.read_bytes()
    package = verify_package(path, checksum=None)
    tar = zlib.decompress(data[package.data_start :], 31)
    out = bytearray()
    for entry in TarReader([tar], path.name):
        content = bytes(entry.read())
        out += encode_header(entry.header) + content + padding(len(content))
    assert bytes(out + END) == tar


@pytest.mark.parametrize("path", melange_packages(), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_info_is_written_as_it_was(path):
    data = path.read_bytes()
    package = verify_package(path, checksum=None)
    tar = zlib.decompress(data[package.control.start : package.control.end], 31)
    text = next(
        bytes(e.read()).decode() for e in TarReader([tar], "control") if e.header.name == ".PKGINFO"
    )
    first, _, rest = text.partition("\n")
    if not first.startswith("# Generated by melange") or "\ncommit" not in text:
        pytest.skip("made by an older writer, which left fields out")
    written = package.info.to_text(first.removeprefix("# Generated by "))
    assert written.partition("\n")[2] == rest


def test_info_cases():
    cases = json.loads((shared("melange") / "pkginfo.json").read_text())["cases"]
    for case in cases:
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
            maintainer=given["namespace"],
            build_time=given["source_date_epoch"],
            datahash=given["data_hash"],
        )
        assert info.to_text("melange") == case["expected"], case["name"]


def test_resigning_keeps_the_control_section(tmp_path):
    case = EXPECTED["sign_case"] if EXPECTED["packages"] else None
    if case is None:
        pytest.skip("no conformance data")
    root = shared("apk") / "sign"
    original = (root / "test.apk").read_bytes()
    package = verify_package(root / "test.apk", checksum=None)
    key = SigningKey.from_file(root / "test.pem")
    body = original[package.control.start : package.control.end]
    signed = tmp_path / "test.apk"
    signed.write_bytes(sign_section(body, key) + original[package.control.start :])
    ring = Keyring.from_files([root / "test.pem.pub"])
    again = verify_package(signed, checksum=package.control.sha1, keyring=ring)
    assert list(again.signatures) == [".SIGN.RSA256.test.pem.pub"]
    assert again.signed_by == "test.pem.pub"
