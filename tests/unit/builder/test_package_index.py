"""What an index holds after a publication."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plimsoll.api.packagerequest import PackageRequest
from plimsoll.apk.index import IndexSignatureError, read_index
from plimsoll.apk.keys import Keyring, SigningKey
from plimsoll.apk.records import IndexEntry
from plimsoll.builder.steps.packageindex import (
    expired,
    leaving,
    merge,
    signed_index,
    with_build,
)
from plimsoll.builder.steps.packagerecord import BuildRecord, BuiltPackage
from plimsoll.builder.steps.packagestate import State, signers_of

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def request(**options):
    return PackageRequest.model_validate(
        {
            "name": "packages", "namespace": "team", "uid": "1", "sources": [], "archs": ["amd64"],
            "storage": "registry.example/team/packages", "keys": {}, "signingKey": "",
            "started": NOW, "builderId": "x", **options,
        }
    )  # fmt: skip


def entry(name, version, origin=""):
    return IndexEntry(name=name, version=version, arch="x86_64", origin=origin or name)


def names(entries):
    return sorted(f"{e.name}-{e.version}" for e in entries)


def build(name="lib", version="1.0", epoch=0, symbols=("f",), compatible=()):
    package = BuiltPackage(
        name=name, file=f"{name}.apk", sha256="0", exports={"liba.so.1": list(symbols)}
    )
    return BuildRecord(
        name=name, arch="amd64", version=version, epoch=epoch, inputs="i", packages=[package],
        guest="sha256:1", compatible=list(compatible),
    )  # fmt: skip


def test_withdrawn_by_package_and_by_origin():
    entries = [
        entry("a", "1-r0"),
        entry("a-dev", "1-r0", "a"),
        entry("a", "1-r1"),
        entry("b", "1-r0"),
    ]
    assert names(leaving(request(withdrawn=["a=1-r0"]), entries)) == ["a-1-r0", "a-dev-1-r0"]
    assert names(leaving(request(withdrawn=["a-dev=1-r0"]), entries)) == ["a-dev-1-r0"]
    assert leaving(request(withdrawn=["a=2-r0"]), entries) == []


def test_retention_keeps_the_newest_of_each_package():
    entries = [entry("a", v) for v in ("1.9-r0", "1.10-r0", "1.2-r0")] + [entry("b", "1-r0")]
    assert names(leaving(request(retention={"versions": 2}), entries)) == ["a-1.2-r0"]
    assert names(leaving(request(retention={"versions": 1}, withdrawn=["a=1.10-r0"]), entries)) == [
        "a-1.10-r0", "a-1.2-r0",
    ]  # fmt: skip
    assert leaving(request(), entries) == []


def test_merge_remembers_what_left():
    state = with_build(State(), build("a", "1", 0), "sha256:2", NOW)
    entries, gone, after = merge(
        request(withdrawn=["a=1-r0"]), [entry("b", "1-r0")], [entry("a", "1-r0")], state, NOW
    )
    assert (names(entries), names(gone)) == (["b-1-r0"], ["a-1-r0"])
    assert after.origins["a"].withdrawn
    assert [(r.name, r.version, r.origin) for r in after.retired] == [("a", "1-r0", "a")]
    assert expired(request(), after, NOW + timedelta(days=29)) == []
    assert expired(request(), after, NOW + timedelta(days=31)) == after.retired


def test_a_build_takes_the_place_of_the_same_version():
    entries, gone, _ = merge(
        request(), [entry("a", "1-r0"), entry("a", "1-r1")], [entry("a", "1-r1")], State(), NOW
    )
    assert (names(entries), gone) == (["a-1-r0", "a-1-r1"], [])


def test_abi_bases_last_as_long_as_nothing_is_missed():
    first = with_build(State(), build(), "sha256:2", NOW)
    base = first.abi()["liba.so.1"].base
    more = with_build(first, build(symbols=("f", "g"), compatible=["liba.so.1"]), "sha256:3", NOW)
    assert more.abi()["liba.so.1"].base == base != more.abi()["liba.so.1"].symbols
    less = with_build(more, build(symbols=("g",)), "sha256:4", NOW)
    assert less.abi()["liba.so.1"].base != base


def test_both_keys_verify_during_a_rotation():
    old, new, other = (SigningKey.generate(f"{n}.rsa.pub", bits=2048) for n in ("old", "new", "x"))
    data = signed_index([entry("a", "1-r0")], "test", [new, old])
    for key in (old, new):
        keyring = Keyring({key.name: key.public_pem()})
        assert len(read_index(data, keyring, source="test")) == 1
    with pytest.raises(IndexSignatureError):
        read_index(data, Keyring({other.name: other.public_pem()}), source="test")
    assert signers_of(data, "test") == ("new.rsa.pub", "old.rsa.pub")


def test_state_reads_what_it_writes():
    state = with_build(State(previous="sha256:9"), build(), "sha256:2", NOW)
    assert State.model_validate_json(state.dump()) == state
