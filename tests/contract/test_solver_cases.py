"""The shared cases: what the reference chooses, and in which order it prefers candidates."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest

from plimsoll.apk.index import Index, IndexEntry
from plimsoll.apk.solver import (
    Candidate,
    RepositoryIndex,
    UnsatisfiableError,
    resolve,
    resolve_all,
)
from plimsoll.apk.solver.preference import Preference
from shared_data import shared

_FIELDS = ("depends", "provides", "install_if")


def _cases(name: str) -> list[dict[str, Any]]:
    try:
        document = json.loads((shared("solver") / name).read_text())
    except pytest.skip.Exception:
        return []
    universes = document.get("universes", {})
    for case in document["cases"]:
        case["common"] = universes.get(case.get("universe"), [])
    return document["cases"]


def entry(package: dict[str, Any]) -> IndexEntry:
    return IndexEntry(
        name=package["name"],
        version=package["version"],
        checksum=hashlib.sha1(package["name"].encode()).digest(),
        origin=package.get("origin", ""),
        provider_priority=package.get("provider_priority", 0),
        **{field: tuple(package.get(field, ())) for field in _FIELDS},
    )


def repositories(case: dict[str, Any], arch: str) -> list[RepositoryIndex]:
    packages = [
        *case["common"],
        *(p for p in case.get("packages", ()) if p.get("arch", arch) == arch),
    ]
    names = case.get("repos", [""])
    return [
        RepositoryIndex(
            f"https://repo/{repo}",
            Index.from_entries(entry(p) for p in packages if p.get("repo", repo) == repo),
        )
        for repo in names
    ]


@pytest.mark.parametrize("case", _cases("cases.json"), ids=lambda case: case["name"])
def test_solver_case(case):
    archs = case.get("archs", ["x86_64"])
    world, expect = case["world"], case["expect"]
    universe = {arch: repositories(case, arch) for arch in archs}
    if "error" in expect:
        with pytest.raises(UnsatisfiableError):
            resolve_all(world, universe)
        return
    resolution = resolve_all(world, universe)[case.get("solve_for", archs[0])]
    names = [str(package) for package in resolution]
    assert not resolution.searched
    if expect.get("ordered"):
        assert names == expect["install"]
    elif "install" in expect:
        assert sorted(names) == sorted(expect["install"])
    assert set(expect.get("contains", ())) <= set(names)
    assert not set(expect.get("absent", ())) & set(names)
    assert not set(expect.get("conflicts", ())) & {package.name for package in resolution}


def test_a_package_another_architecture_lacks_is_named():
    case = next(c for c in _cases("cases.json") if "archs" in c)
    with pytest.raises(UnsatisfiableError, match=r"x86_64 \(aarch64 has it: leave onlyinarm64"):
        resolve_all(case["world"], {arch: repositories(case, arch) for arch in case["archs"]})


@pytest.mark.parametrize("case", _cases("preference.json"), ids=lambda case: case["name"])
def test_preference(case):
    def candidate(package: dict[str, Any]) -> Candidate:
        home = RepositoryIndex(package.get("repo", ""), Index(b"", source="memory"))
        return Candidate(entry({"name": "", "version": "", **package}), home)

    order = [candidate(package) for package in case["order"]]
    preference = Preference(
        "package1",
        {c.name: c for c in map(candidate, case["installed"])},
        like=candidate(case["compare"]) if case["compare"] else None,
    )
    left = random.Random(1).sample(order, len(order))
    found = []
    while left:
        found.append(preference.best(left))
        left.remove(found[-1])
    assert found == order


def _choices() -> dict[str, Any]:
    try:
        return json.loads((shared("version") / "choose.json").read_text())
    except pytest.skip.Exception:
        return {"cases": [], "available": []}


@pytest.mark.parametrize("case", _choices()["cases"], ids=lambda case: str(sorted(case.items())))
def test_choice_of_version(case):
    """What is installed comes from the request; then a dependency is what is looked at."""
    available = [{"name": "package", **p} for p in _choices()["available"]]
    depends = [f"package{case['request']}"]
    dependent = {"name": "dependent", "version": "1", "depends": depends}
    repos = [
        RepositoryIndex(
            "https://repo",
            Index.from_entries(entry(p) for p in [*available, dependent] if p.get("pin") == pin),
            pin,
        )
        for pin in (None, "pinA")
    ]
    if case["installed"]:
        world = ["dependent", f"package={case['installed']}@pinA"]
    else:
        world = [f"package{case['request']}{'@' if case['pin'] else ''}{case['pin'] or ''}"]
    if case["expect"] is None:
        with pytest.raises(UnsatisfiableError):
            resolve(world, repos)
    else:
        resolution = resolve(world, repos)
        assert resolution["package"].version == case["expect"]
        assert not resolution.searched
