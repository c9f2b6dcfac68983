"""Requests over the real index of Alpine 3.16, and the packages of the reference's own lock."""

from __future__ import annotations

import json
import random

import pytest

from plimsoll.apk.index import Index, read_index
from plimsoll.apk.solver import (
    PackageNotFoundError,
    RepositoryIndex,
    UnsatisfiableError,
    resolve,
    resolve_all,
)
from plimsoll.apk.solver.search import Search
from plimsoll.apk.solver.universe import Universe
from plimsoll.apk.solver.verify import violations
from shared_data import shared


@pytest.fixture(scope="module")
def alpine() -> Index:
    data = (shared("apk") / "alpine-316/APKINDEX.tar.gz").read_bytes()
    return read_index(data, None, source="alpine-316")


@pytest.mark.parametrize("seed", range(40))
def test_any_fourteen_names_of_alpine(alpine, seed):
    world = random.Random(seed).sample(alpine.names(), 14)
    resolution = resolve(world, [RepositoryIndex("https://alpine.example", alpine)])
    assert list(violations(resolution.world, resolution.packages)) == []
    place = {p.name: n for n, p in enumerate(resolution)}
    # Only cycles can put a package before all that fulfils a need, and Alpine has hardly any.
    fulfilled: dict[tuple[str, str], int] = {}
    for edge in resolution.edges():
        if edge.parent and edge.needs != "install_if":
            first = min(place[edge.child], fulfilled.get(edge[:2], len(place)))
            fulfilled[edge.parent, edge.needs] = first
    late = [parent for (parent, _), first in fulfilled.items() if first > place[parent]]
    assert len(late) <= 2


@pytest.mark.parametrize("seed", range(10))
def test_the_search_agrees_with_the_greedy_pass(alpine, seed):
    """Where both find a solution it is the same one, but for what install_if adds."""
    world = random.Random(seed).sample(alpine.names(), 8)
    repositories = [RepositoryIndex("https://alpine.example", alpine)]
    greedy = resolve(world, repositories)
    assert not greedy.searched
    found = Search(greedy.world, [Universe("", repositories)]).solve()
    assert found is not None
    assert {str(p) for p in found[0]} <= {str(p) for p in greedy}
    assert {e.child for e in greedy.edges() if e.needs == "install_if"} >= {
        p.name for p in greedy if p.entry.install_if and p.name not in {q.name for q in found[0]}
    }


def test_an_operating_system(alpine):
    resolution = resolve(["alpine-base"], [RepositoryIndex("https://alpine.example", alpine)])
    assert [p.name for p in resolution] == [
        "musl",
        "busybox",
        "alpine-baselayout-data",
        "alpine-baselayout",
        "busybox-ifupdown",
        "openrc",
        "alpine-conf",
        "alpine-keys",
        "ca-certificates-bundle",
        "libcrypto1.1",
        "libssl1.1",
        "zlib",
        "apk-tools",
        "mdev-conf",
        "busybox-initscripts",
        "busybox-suid",
        "scanelf",
        "musl-utils",
        "libc-utils",
        "ssl_client",
        "alpine-base",
    ]


def test_a_real_conflict(alpine):
    repositories = [RepositoryIndex("https://alpine.example", alpine)]
    with pytest.raises(
        UnsatisfiableError, match="groff and mandoc-soelim both provide cmd:soelim"
    ) as caught:
        resolve(["groff", "mandoc-soelim", "curl"], repositories)
    assert caught.value.hint == "leave out groff or mandoc-soelim"
    with pytest.raises(PackageNotFoundError, match="no package pyton3") as caught:
        resolve(["pyton3"], repositories)
    assert "python3" in caught.value.hint
    with pytest.raises(PackageNotFoundError) as caught:
        resolve(["so:libssl.so.9"], repositories)
    assert caught.value.hint == "did you mean so:libssl.so.1.1?"
    with pytest.raises(UnsatisfiableError) as caught:
        resolve(["boost1.77", "clucene-dev", "nginx", "curl"], repositories)
    assert caught.value.reasons == (
        "the request names boost1.77",
        "the request names clucene-dev",
        "clucene-dev-2.3.3.4-r13 needs boost-dev",
        (
            "boost-dev-1.78.0-r1 needs boost1.78-dev=1.78.0-r1 "
            "(only boost1.78-dev-1.78.0-r1 fulfils it)"
        ),
        "boost1.78-dev-1.78.0-r1 needs boost1.78",
        "boost1.77 and boost1.78 both provide cmd:b2, which only one package may",
    )
    assert caught.value.hint == "leave out boost1.77 or clucene-dev"


def test_the_packages_of_a_lock_of_the_reference():
    lock = json.loads((shared("apko") / "testdata/apko.lock.json").read_text())
    repositories = {}
    for arch in ("x86_64", "aarch64"):
        data = (shared("apk") / f"apko-cli/{arch}/APKINDEX.tar.gz").read_bytes()
        index = read_index(data, None, source=arch)
        repositories[arch] = [RepositoryIndex("./testdata/packages", index)]
    found = resolve_all(["replayout"], repositories)
    assert [(arch, p.name, p.version) for arch, r in found.items() for p in r] == [
        (p["architecture"], p["name"], p["version"]) for p in lock["contents"]["packages"]
    ]
