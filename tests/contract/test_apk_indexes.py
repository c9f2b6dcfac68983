"""Real indexes: signatures, records, and the same text written again."""

import hashlib
import itertools
import json
import re

import pytest

from plimsoll.apk.index import Index, IndexSignatureError, parse_record, read_index
from plimsoll.apk.keys import Keyring, SigningKey
from plimsoll.apk.writer import write_index
from shared_data import shared

LISTS = {"D": "depends", "p": "provides", "i": "install_if", "r": "replaces"}
TEXTS = {
    "P": "name",
    "V": "version",
    "A": "arch",
    "T": "description",
    "U": "url",
    "L": "license",
    "o": "origin",
    "m": "maintainer",
    "c": "commit",
    "C": "checksum_text",
}
NUMBERS = {"S": "size", "I": "installed_size", "t": "build_time", "k": "provider_priority"}


def indexes():
    try:
        return json.loads((shared("apk") / "expected.json").read_text())["indexes"]
    except pytest.skip.Exception:
        return []


INDEXES = pytest.mark.parametrize("want", indexes(), ids=lambda i: i["file"])


def keyring(want):
    names = {name for s in want["signatures"] for name in s["verifies_with"]}
    return Keyring.from_files([shared("apk") / name for name in sorted(names)])


def check(entry, fields):
    for letter, value in fields.items():
        if letter in LISTS:
            assert getattr(entry, LISTS[letter]) == tuple(value.split())
        elif letter in NUMBERS:
            assert getattr(entry, NUMBERS[letter]) == int(value)
        else:
            assert getattr(entry, TEXTS[letter]) == value


@INDEXES
def test_index(want):
    data = (shared("apk") / want["file"]).read_bytes()
    ring = keyring(want)
    index = read_index(data, ring if len(ring) else None, source=want["file"])
    assert index.description == want["description"].strip()
    assert len(index) == want["package_count"]
    entries = list(index.entries())
    assert entries[0].name == want.get("first_package", entries[0].name)
    assert entries[-1].name == want.get("last_package", entries[-1].name)
    for record in want.get("records") or want["records_sample"]:
        found = [e for e in index.named(record["P"]) if e.version == record["V"]]
        assert len(found) == 1
        check(found[0], record)
    if "packages_with_install_if" in want:
        assert sum(bool(e.install_if) for e in index.entries()) == want["packages_with_install_if"]
    if "packages_with_provider_priority" in want:
        prioritized = [e for e in entries if e.provider_priority]
        assert len(prioritized) == want["packages_with_provider_priority"]
    for beside in want.get("packages_beside_it", ()):
        package = (shared("apk") / beside["file"]).read_bytes()
        sizes = {e.size for e in entries}
        assert (len(package) in sizes) is beside["size_in_index_matches"]


@INDEXES
def test_look_up_agrees_with_a_full_scan(want):
    data = (shared("apk") / want["file"]).read_bytes()
    index = read_index(data, None, source=want["file"])
    providers, conditions = {}, {}
    for entry in index.entries():
        for item in dict.fromkeys(re.split("[=<>~]", p)[0] for p in entry.provides):
            providers.setdefault(item, []).append(entry)
        for item in dict.fromkeys(re.split("[=<>~]", p)[0] for p in entry.install_if):
            conditions.setdefault(item, []).append(entry)
    fresh = read_index(data, None, source=want["file"])
    for name, entries in providers.items():
        assert fresh.providers(name) == entries
    for name, entries in conditions.items():
        assert fresh.conditional_on(name) == entries


@INDEXES
def test_every_record_survives_a_round_trip(want):
    data = (shared("apk") / want["file"]).read_bytes()
    entries = list(read_index(data, None, source=want["file"]).entries())
    for entry in entries:
        assert parse_record(entry.to_text().encode(), "again") == entry
    key = SigningKey.generate("again.rsa.pub", 2048)
    ring = Keyring({key.name: key.public_pem()})
    valid = [e for e in entries if not re.search(r"\d[a-z]\w*\d.*-r", e.version)]
    again = read_index(write_index(valid, "again", key), ring, source="again")
    assert sorted(again.entries(), key=repr) == sorted(valid, key=repr)


@INDEXES
def test_no_other_key_verifies(want):
    data = (shared("apk") / want["file"]).read_bytes()
    right = {name for s in want["signatures"] for name in s["verifies_with"]}
    contents = {(shared("apk") / name).read_bytes() for name in right}
    for path in shared("apk").rglob("*.rsa.pub"):
        if path.name.startswith(".SIGN") or path.read_bytes() in contents:
            continue
        with pytest.raises(IndexSignatureError):
            read_index(data, Keyring.from_files([path]), source=want["file"])
        # The right name does not make it the right key.
        renamed = {s["key_name"]: path.read_bytes() for s in want["signatures"]}
        if renamed:
            with pytest.raises(IndexSignatureError, match="wrong signature"):
                read_index(data, Keyring(renamed), source=want["file"])


def test_one_key_of_several_is_enough():
    data = (shared("apk") / "signing" / "APKINDEX.tar.gz").read_bytes()
    keys = sorted((shared("apk") / "signing" / "keys").iterdir())
    for count in range(1, len(keys) + 1):
        for chosen in itertools.combinations(keys, count):
            assert len(read_index(data, Keyring.from_files(chosen), source="signing")) > 0
    other = Keyring.from_files([shared("apk") / "keys" / "wolfi-signing.rsa.pub"])
    with pytest.raises(IndexSignatureError, match="the keyring has"):
        read_index(data, other, source="signing")


def test_a_key_may_be_named_without_its_ending():
    want = next(i for i in indexes() if i["file"].startswith("rsa256-signed"))
    data = (shared("apk") / want["file"]).read_bytes()
    pem = (shared("apk") / "rsa256-signed" / "test-rsa256.rsa.pub").read_bytes()
    assert len(read_index(data, Keyring({"test-rsa256": pem}), source="x")) == want["package_count"]


def test_text_of_the_small_index():
    root = shared("apk") / "small-index"
    index = read_index((root / "APKINDEX.tar.gz").read_bytes(), None, source="small")
    text = (root / "extracted" / "APKINDEX").read_bytes()
    assert index.description == (root / "extracted" / "DESCRIPTION").read_text().strip()
    assert list(index.entries()) == list(Index(text, source="extracted").entries())


def test_text_is_found_unchanged():
    for want in indexes():
        data = (shared("apk") / want["file"]).read_bytes()
        index = read_index(data, None, source=want["file"])
        assert hashlib.sha256(index.text).hexdigest() == want["apkindex_sha256"]


def test_inline_cases():
    cases = json.loads((shared("apk") / "index-inline.json").read_text())["cases"]
    names = {"dependencies": "depends"}
    for case in cases:
        entries = list(Index(case["text"].encode(), source=case["name"]).entries())
        assert len(entries) == len(case["expect"])
        for entry, want in zip(entries, case["expect"], strict=True):
            for field, value in want.items():
                if field == "checksum_sha1_hex":
                    assert entry.checksum.hex() == value
                    continue
                actual = getattr(entry, names.get(field, field))
                assert actual == (tuple(value) if isinstance(value, list) else value)
        if len(entries) == 1 and "k:" in case["text"]:
            canonical = sorted(entries[0].to_text().splitlines())
            assert canonical == sorted(case["text"].splitlines())
