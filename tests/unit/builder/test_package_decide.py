"""What can be built now."""

from __future__ import annotations

import time

import pytest

from plimsoll.builder.steps.packagedecide import Item, decide, inputs_hash
from plimsoll.builder.steps.packagestate import Abi, Published, Retired, State


def item(name, *, version="1.0", epoch=0, inputs="a", needs=(), wants=(), offers=()):
    return Item(
        name, version, epoch, inputs, frozenset({name, *offers}), frozenset(needs), frozenset(wants)
    )


def published(version="1.0", epoch=0, inputs="a", links=None, abi=None, *, withdrawn=False):
    return Published(
        version=version,
        epoch=epoch,
        inputs=inputs,
        links=links or {},
        artifact="sha256:0",
        packages=["x"],
        abi=abi or {},
        withdrawn=withdrawn,
    )


def state(**origins):
    return State(origins={name.replace("_", "-"): one for name, one in origins.items()})


def one(items, given=None, failed=()):
    return {d.name: d for d in decide(items, given or State(), failed)}


def statuses(*items, given=None, failed=()):
    return {name: d.status for name, d in one(items, given, failed).items()}


def test_new_packages_wait_for_what_they_need():
    lib, app, tool = item("lib", offers=["lib-dev"]), item("app", needs=["lib-dev"]), item("tool")
    assert statuses(lib, app, tool) == {"lib": "ready", "app": "blocked", "tool": "ready"}
    found = one([lib, app, tool])["app"]
    assert (found.on, found.on_failed, found.reason) == ("lib", False, "New")
    assert statuses(lib, app, given=state(lib=published())) == {"lib": "published", "app": "ready"}


def test_everything_published():
    given = state(lib=published(), app=published())
    assert statuses(item("lib"), item("app", needs=["lib"]), given=given) == {
        "lib": "published",
        "app": "published",
    }


@pytest.mark.parametrize(
    ("now", "epoch", "reason"),
    [
        (item("a", inputs="b"), 4, "Changed"),
        (item("a", version="1.1", inputs="b"), 0, "Changed"),
        (item("a", version="1.1", epoch=2, inputs="b"), 2, "Changed"),
        (item("a", epoch=7), 7, "Changed"),
        (item("a", epoch=7, inputs="b"), 7, "Changed"),
        (item("a", epoch=3), 3, ""),
        (item("a", epoch=1), 3, ""),
    ],
)
def test_epochs(now, epoch, reason):
    found = one([now], state(a=published(epoch=3)))["a"]
    assert (found.epoch, found.reason) == (epoch, reason)
    assert found.status == ("ready" if reason else "published")


def test_an_epoch_that_was_taken_back_is_not_used_again():
    given = State(retired=[Retired(name="a", version="1.0-r5", origin="a", at="2026")])
    assert one([item("a")], given)["a"].full_version == "1.0-r6"


def test_what_was_withdrawn_is_not_built_again_from_the_same():
    given = State(
        origins={"a": published(epoch=2, withdrawn=True)},
        retired=[Retired(name="a", version="1.0-r2", origin="a", at="2026")],
    )
    assert statuses(item("a"), given=given) == {"a": "published"}
    assert one([item("a", inputs="b")], given)["a"].full_version == "1.0-r3"


def test_a_library_with_another_abi_lets_dependents_be_built_again():
    def given(base):
        abi = {"libx.so.1": Abi(symbols="s", base=base)}
        return state(lib=published(abi=abi), app=published(links={"libx.so.1": "one"}))

    items = [item("lib"), item("app", needs=["lib"])]
    assert one(items, given("one"))["app"].status == "published"
    found = one(items, given("two"))["app"]
    assert (found.status, found.reason, found.full_version) == ("ready", "AbiChanged", "1.0-r1")
    gone = state(lib=published(), app=published(links={"libx.so.1": "one"}))
    assert one(items, gone)["app"].reason == "AbiChanged"


def test_a_failure_blocks_only_what_depends_on_it():
    items = [item("a"), item("b", needs=["a"]), item("c", needs=["b"]), item("d")]
    failed = {("a", inputs_hash(items[0], {}))}
    assert statuses(*items, failed=failed) == {
        "a": "failed",
        "b": "blocked",
        "c": "blocked",
        "d": "ready",
    }
    found = one(items, failed=failed)
    assert (found["b"].on, found["b"].on_failed) == ("a", True)
    assert found["c"].on_failed
    # Other inputs are tried.
    items[0] = item("a", inputs="b")
    assert statuses(*items, failed=failed)["a"] == "ready"


def test_a_failed_rebuild_blocks_dependents_but_not_what_is_published():
    items = [item("lib", inputs="b"), item("app", needs=["lib"]), item("new", needs=["lib"])]
    given = state(lib=published(), app=published())
    failed = {("lib", inputs_hash(items[0], {}))}
    assert statuses(*items, given=given, failed=failed) == {
        "lib": "failed",
        "app": "published",
        "new": "blocked",
    }


def test_circles_do_not_wait_for_themselves():
    items = [
        item("gcc", needs=["gcc", "make"]),
        item("make", needs=["gcc"]),
        item("x", needs=["make"]),
    ]
    assert statuses(*items) == {"gcc": "ready", "make": "ready", "x": "blocked"}


def test_run_time_needs_of_what_is_needed_must_be_there():
    items = [item("app", needs=["lib"]), item("lib", wants=["data"]), item("data")]
    assert statuses(*items) == {"app": "blocked", "lib": "blocked", "data": "ready"}


def test_tests_do_not_make_circles():
    items = [item("lib", wants=["app"]), item("app", needs=["lib"])]
    assert statuses(*items) == {"lib": "ready", "app": "blocked"}


def test_many_packages_are_decided_quickly():
    items = [
        item(f"p{n}", needs=[f"p{n // 2}", f"p{n // 3}"], wants=[f"p{n // 5}"]) for n in range(1500)
    ]
    begin = time.process_time()
    found = decide(items, State())
    assert time.process_time() - begin < 5
    # Only 0 has nothing but itself to wait for.
    assert [d.name for d in found if d.status == "ready"] == ["p0"]
