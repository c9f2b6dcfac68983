"""What a resolution offers, and choices that the shared cases do not cover."""

from __future__ import annotations

import pytest

from plimsoll.apk.index import Index, IndexEntry
from plimsoll.apk.solver import (
    Edge,
    RepositoryIndex,
    UnsatisfiableError,
    normalise_world,
    resolve,
    resolve_all,
)
from plimsoll.apk.solver.sat import LimitError, Sat
from plimsoll.apk.solver.search import Search
from plimsoll.apk.version import InvalidConstraintError, InvalidVersionError


def package(name, version="1-r0", needs="", provides="", **fields) -> IndexEntry:
    return IndexEntry(
        name,
        version,
        checksum=b"x" * 20,
        depends=tuple(needs.split()),
        provides=tuple(provides.split()),
        **{k: tuple(v.split()) if k == "install_if" else v for k, v in fields.items()},
    )


def repository(*entries, tag=None, url="https://repo.example/os") -> RepositoryIndex:
    return RepositoryIndex(url, Index.from_entries(entries), tag)


def names(resolution) -> list[str]:
    return [str(p) for p in resolution]


def test_world_is_sorted_and_each_item_kept_once():
    assert normalise_world([" b ", "a=1", "", "b", "!c", "a@edge"]) == ("!c", "a=1", "a@edge", "b")


@pytest.mark.parametrize("item", ["a b", "=1", "a==1", "@edge", "a@", "a=1@e-dge", "a>", "!"])
def test_world_with_an_item_that_is_none(item):
    with pytest.raises(InvalidConstraintError):
        resolve([item], [repository(package("a"))])


def test_world_with_a_version_that_is_none():
    with pytest.raises(InvalidVersionError):
        resolve(["a=one"], [repository(package("a"))])


def test_nothing_asked_for():
    assert len(resolve([], [repository(package("a"))])) == 0
    assert len(resolve(["!a"], [repository(package("a"))])) == 0


def test_why_and_edges():
    resolution = resolve(
        ["app", "glue-user"],
        [
            repository(
                package("app", needs="so:x.so.1 base"),
                package("libx", provides="so:x.so.1=1", needs="base"),
                package("base"),
                package("glue", install_if="libx base"),
                package("glue-user", needs="libx"),
            )
        ],
    )
    assert resolution.why("app") == (Edge(None, "app", "app"),)
    assert resolution.why("libx") == (Edge(None, "app", "app"), Edge("app", "so:x.so.1", "libx"))
    assert resolution.why("glue")[-1].needs == "install_if"
    assert resolution.why("absent") == ()
    assert "libx" in resolution
    assert "absent" not in resolution
    assert sorted(p.name for p in resolution) == ["app", "base", "glue", "glue-user", "libx"]
    assert {(e.parent, e.child) for e in resolution.edges()} >= {("libx", "glue"), ("app", "base")}


def test_cycles():
    resolution = resolve(
        ["a"],
        [repository(package("a", needs="b"), package("b", needs="c"), package("c", needs="a"))],
    )
    assert sorted(names(resolution)) == ["a-1-r0", "b-1-r0", "c-1-r0"]


def test_a_very_deep_chain():
    deep = 5_000
    entries = [package(f"p{n}", needs=f"p{n + 1}") for n in range(deep)]
    resolution = resolve(["p0"], [repository(*entries, package(f"p{deep}"))])
    assert resolution.packages[0].name == f"p{deep}"
    assert len(resolution) == deep + 1


def test_a_package_with_very_many_needs():
    needs = [f"p{n}" for n in range(5000)]
    repo = repository(package("all", needs=" ".join(needs)), *map(package, needs))
    assert len(resolve(["all"], [repo])) == 5001
    assert len(resolve(["all", "!nothing"], [repo])) == 5001


def test_the_greedy_choice_is_given_up_where_it_cannot_stand():
    """The newest ``a`` needs what ``z`` excludes; the reference gives up here."""
    repo = repository(
        package("a", "2", "lib>=2"),
        package("a", "1", "lib<2"),
        package("lib", "1"),
        package("lib", "2"),
        package("z", needs="y"),
        package("y", needs="lib=1"),
    )
    resolution = resolve(["a", "z"], [repo])
    assert names(resolution) == ["lib-1", "a-1", "y-1-r0", "z-1-r0"]
    assert resolution.searched


def test_a_leaf_that_is_chosen_in_two_versions_is_no_solution():
    """The reference keeps the first version silently; ``exact`` shows it."""
    repo = repository(
        package("a", needs="lib"),
        package("b", needs="c"),
        package("c", needs="lib<2"),
        package("lib", "1"),
        package("lib", "2"),
    )
    assert names(resolve(["a", "b"], [repo]))[0] == "lib-1"
    assert "lib-2" in names(resolve(["a", "b"], [repo], exact=True))


def test_a_package_may_refuse_a_name_that_it_provides_itself():
    repo = repository(
        package("mta", needs="!mail-server", provides="mail-server"),
        package("other", provides="mail-server"),
    )
    assert names(resolve(["mta"], [repo])) == ["mta-1-r0"]
    with pytest.raises(UnsatisfiableError):
        resolve(["mta", "other"], [repo])


def test_a_repository_with_a_tag():
    main = repository(package("a", needs="lib"), package("lib", "1"))
    edge = repository(package("a", "2", "lib"), package("lib", "3"), package("x"), tag="edge")
    assert names(resolve(["a"], [main, edge])) == ["lib-1", "a-1-r0"]
    # The tag is preferred for the name itself, untagged repositories for what it needs.
    assert names(resolve(["a@edge"], [main, edge])) == ["lib-1", "a-2"]
    assert names(resolve(["a@edge", "lib>1@edge"], [main, edge])) == ["lib-3", "a-2"]
    assert names(resolve(["x@edge"], [main, edge])) == ["x-1-r0"]


def test_a_tagged_package_comes_in_only_through_its_tag():
    """Only ``c`` of edge fulfils what ``a`` needs; it may come because ``b@edge`` needs it too."""
    main = repository(package("a", needs="c"), package("b", "1"))
    edge = repository(package("b", "2", "c"), package("c"), tag="edge")
    assert sorted(names(resolve(["a", "b@edge"], [main, edge]))) == ["a-1-r0", "b-2", "c-1-r0"]
    with pytest.raises(UnsatisfiableError):
        resolve(["a", "b"], [main, edge])


def test_install_if_brings_what_it_needs():
    repo = repository(
        package("top", needs="a b"),
        package("a"),
        package("b"),
        package("glue", needs="more", install_if="a b=1-r0"),
        package("more"),
    )
    assert names(resolve(["top"], [repo])) == [
        "a-1-r0",
        "b-1-r0",
        "more-1-r0",
        "glue-1-r0",
        "top-1-r0",
    ]
    assert "more-1-r0" not in names(resolve(["top"], [repo], exact=True))


def test_install_if_that_cannot_be_met_is_left_out():
    repo = repository(
        package("top", needs="a"), package("a"), package("glue", needs="absent", install_if="a")
    )
    resolution = resolve(["top"], [repo])
    assert names(resolution) == ["a-1-r0", "top-1-r0"]
    assert resolution.searched


def test_install_if_within_the_search():
    repo = repository(
        package("top", "2", "absent"),
        package("top", "1", "a"),
        package("a"),
        package("glue", needs="more", install_if="a=1-r0"),
        package("more"),
    )
    assert set(names(resolve(["top"], [repo]))) == {"top-1", "a-1-r0", "glue-1-r0", "more-1-r0"}


def test_architectures_agree_on_what_is_asked_for():
    both = [package("a", "1"), package("a", "2", "b"), package("b")]
    found = resolve_all(
        ["a"],
        {
            "amd64": [repository(*both)],
            "arm64": [repository(package("a", "1"), package("a", "2", "c"))],
        },
    )
    assert names(found["amd64"]) == names(found["arm64"]) == ["a-1"]
    assert found["arm64"].arch == "arm64"


def test_architectures_may_differ_in_what_is_needed():
    found = resolve_all(
        ["a"],
        {
            "amd64": [repository(package("a", needs="b"), package("b"), package("c"))],
            "arm64": [repository(package("a", needs="c"), package("b"), package("c"))],
        },
    )
    assert [names(r) for r in found.values()] == [["b-1-r0", "a-1-r0"], ["c-1-r0", "a-1-r0"]]


def test_the_first_of_equal_repositories():
    one, two = repository(package("a"), url="one"), repository(package("a"), url="two")
    assert resolve(["a"], [one, two])["a"].repository is one
    assert resolve(["a"], [two, one])["a"].repository is two


def pigeons(sat: Sat, holes: int) -> None:
    """One pigeon more than there are holes: no solution, and hard to see."""
    at = {(p, h): sat.variable() for p in range(holes + 1) for h in range(holes)}
    for p in range(holes + 1):
        sat.add([at[p, h] for h in range(holes)], ("pigeon", p))
    for h in range(holes):
        for p in range(holes + 1):
            for q in range(p):
                sat.add([-at[p, h], -at[q, h]], ("hole", h))


def first_open(sat: Sat) -> int | None:
    return next((v for v, value in enumerate(sat.value) if v and value is None), None)


def test_sat_proves_and_names_the_clauses():
    sat = Sat()
    pigeons(sat, 4)
    extra = sat.variable()
    sat.add([extra], "irrelevant")
    assert not sat.solve(lambda: first_open(sat))
    assert {c.fact for c in sat.core} == {
        *(("pigeon", p) for p in range(5)),
        *(("hole", h) for h in range(4)),
    }


def test_sat_gives_up_at_its_limit():
    sat = Sat(limit=50)
    pigeons(sat, 7)
    with pytest.raises(LimitError):
        sat.solve(lambda: first_open(sat))


def test_giving_up_is_told(monkeypatch):
    """A request that needs more contradictions than are allowed ends with a sentence."""
    holes, pigeon = range(9), range(10)
    repo = repository(
        package("all", needs=" ".join(f"pigeon{p}" for p in pigeon)),
        *(package(f"p{p}h{h}", provides=f"pigeon{p} hole{h}=1") for p in pigeon for h in holes),
    )
    monkeypatch.setattr(Search.__init__, "__kwdefaults__", {"limit": 100})
    with pytest.raises(UnsatisfiableError, match="gave up") as caught:
        resolve(["all"], [repo])
    assert "name exact versions" in caught.value.hint
