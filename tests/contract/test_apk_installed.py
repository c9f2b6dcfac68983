"""Installed databases of real images, and records as the reference writes them."""

import base64
import json
from dataclasses import replace
from datetime import datetime

import pytest

from plimsoll.apk.installed import (
    InstalledFile,
    InstalledPackage,
    parse_installed,
    parse_permissions,
    read_scripts,
    read_triggers,
    write_scripts,
    write_triggers,
)
from plimsoll.apk.package import open_package
from plimsoll.apk.records import IndexEntry
from plimsoll.apk.tarfmt import Type
from plimsoll.errors import Error
from shared_data import shared


def record_cases():
    return json.loads((shared("apk") / "installed" / "record-cases.json").read_text())


def expected(key):
    return json.loads((shared("apk") / "expected.json").read_text())[key]


def test_databases():
    for case in expected("installed_db"):
        text = case.get("inline") or (shared("apk") / case["file"]).read_text()
        if case["expect"] == "error":
            with pytest.raises(Error) as error:
                parse_installed(text)
            if "error_contains" in case:
                assert "M entry" in str(error.value)
                assert "cannot be associated with top level dir" in str(error.value)
            continue
        packages = parse_installed(text)
        assert sorted(p.entry.name for p in packages) == sorted(case["packages"])
        for name, files in case["files_of"].items():
            package = next(p for p in packages if p.entry.name == name)
            assert [f.path for f in package.files] == files


def test_a_database_is_written_as_it_was_read():
    text = (shared("apk") / "installed" / "wolfi-base").read_text()
    packages = parse_installed(text)
    assert "".join(p.to_text() for p in packages).strip() == text.strip()


def test_permissions():
    for case in expected("permission_field"):
        if "error" in case:
            with pytest.raises(Error, match="is not uid:gid:mode"):
                parse_permissions(case["in"])
        else:
            want = (case["uid"], case["gid"], int(case["mode"], 8))
            assert parse_permissions(case["in"]) == want


def test_record_of_a_real_package():
    for case in expected("installed_record"):
        path = shared("apk") / case["apk"]
        with path.open("rb") as file:
            package = open_package(file, source=case["apk"], checksum=None)
            files = []
            for item in package.data(file):
                for _ in item.chunks():
                    pass
                header = item.header
                folder = header.type is Type.DIRECTORY
                sha1 = b"" if folder else item.sha1
                files.append(
                    InstalledFile(header.name, folder, header.mode, header.uid, header.gid, sha1)
                )
        entry = package.info.index_entry(package.control.sha1, path.stat().st_size)
        text = InstalledPackage(entry, tuple(files)).to_text()
        assert text == (shared("apk") / case["expected_file"]).read_text()


def test_record_cases():
    document = record_cases()
    given = document["package"]
    entry = IndexEntry(
        name=given["name"],
        version=given["version"],
        arch=given["arch"],
        description=given["description"],
        url=given["url"],
        origin=given["origin"],
        depends=tuple(given["dependencies"]),
        commit=given["repo_commit"],
        build_time=int(datetime.fromisoformat(given["build_time"]).timestamp()),
        size=given["size"],
        installed_size=given["installed_size"],
        license=given["license"],
        provider_priority=given["provider_priority"],
    )
    for case in document["cases"]:
        files = tuple(
            InstalledFile(e["name"], e["type"] == "dir", int(e["mode"], 8), e["uid"], e["gid"])
            for e in case["entries"]
        )
        text = InstalledPackage(entry, files).to_text()
        assert text == case["expect"], case["name"]
        again = parse_installed(text)[0]
        assert again.entry == entry
        assert sorted(again.files, key=lambda f: f.order) == sorted(files, key=lambda f: f.order)
    line = document["checksum_line"]
    file = InstalledFile("x", sha1=bytes.fromhex(line["pax_sha1_hex"]))
    assert line["expect_line"] in InstalledPackage(entry, (file,)).to_text().splitlines()


def test_order():
    document = record_cases()
    for case in document["path_order"]:
        a = InstalledFile(case["a"], case["a_is_dir"]).order
        b = InstalledFile(case["b"], case["b_is_dir"]).order
        assert (a > b) - (a < b) == case["expect"], case
    for case in document["entry_order"]:
        files = [InstalledFile(e["name"], e["type"] == "dir") for e in case["entries"]]
        ordered = [f.path for f in sorted(files, key=lambda f: f.order)]
        assert ordered == case["expect_order"], case["name"]


def test_scripts_and_triggers():
    root = shared("apk") / "installed" / "root-db"
    scripts = read_scripts((root / "scripts.tar").read_bytes())
    packages = {p.entry.name: p.entry for p in parse_installed((root / "installed").read_text())}
    triggers = read_triggers((root / "triggers").read_text())
    busybox = packages["busybox"]
    assert triggers == {
        busybox.checksum: ("/bin", "/usr/bin", "/sbin", "/usr/sbin", "/lib/modules/*")
    }
    assert (
        write_triggers([(busybox, triggers[busybox.checksum])]) == (root / "triggers").read_text()
    )
    prefix = f"busybox-1.35.0-r17.Q1{base64.b64encode(busybox.checksum).decode()}"
    own = {
        name.removeprefix(prefix): content
        for name, content in scripts.items()
        if name.startswith(prefix)
    }
    assert set(own) == {".post-install", ".post-upgrade", ".trigger"}
    again = read_scripts(write_scripts([(busybox, own), (replace(busybox, name="b"), {})]))
    assert again == {name: c for name, c in scripts.items() if name.startswith(prefix)}
