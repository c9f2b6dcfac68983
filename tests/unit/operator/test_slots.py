from operator_world import World
from packages_world import PackagesWorld, Recipe
from plimsoll.api.meta import CANCEL, REQUESTED_AT
from plimsoll.operator.packagesession import RUNNING
from plimsoll.operator.slots import Slots
from plimsoll.operator.workqueue import Key

A, B, C = Key("ImageBuild", "n", "a"), Key("ImageBuild", "n", "b"), Key("PackageRepo", "m", "c")


def test_room_in_the_cluster_and_in_a_namespace():
    slots = Slots(3, 2)
    assert slots.room(A) == 2
    slots.note(C, 2)
    assert (slots.room(A), slots.room(C)) == (1, 2), "what runs of its own counts as room"
    slots.note(A, 1)
    assert (slots.room(A), slots.room(B)) == (1, 0)
    slots.note(C, 0)
    assert slots.room(B) == 1
    slots.note(C, 9)
    assert slots.room(B) == 0
    assert Slots().room(A) is None


def test_an_image_waits_for_room_and_says_so():
    world = World()
    world.room = 0
    world.settle()
    assert world.created == []
    assert world.condition("Reconciling") == ("True", "WaitingForOthers")
    assert world.plan.requeue_after is not None
    world.room = 1
    world.build()
    assert world.condition("Ready")[0] == "True"


def test_what_runs_goes_on_without_room():
    world = World()
    world.look()
    world.room = 0
    world.build()
    assert world.condition("Ready")[0] == "True"


def test_packages_wait_for_room():
    world = PackagesWorld({f"p{n}": Recipe() for n in range(4)}, archs=["amd64", "arm64"])
    world.room = 3
    most = 0
    for _ in range(300):
        world.look()
        most = max(most, sum(b.state in RUNNING for b in world.status.builds))
        todo = world.open()
        if not todo and not world.look().actions:
            break
        for job in todo:
            world.succeed(job)
    assert most == 3
    assert len(world.published) == 8


def test_a_cancelled_image_stays_cancelled_until_somebody_asks():
    world = World()
    world.look()
    world.annotate(CANCEL, "another-build")
    world.settle()
    assert len(world.open()) == 1
    world.annotate(CANCEL, world.status.build.id)
    world.settle()
    assert world.open() == []
    assert world.status.build.state == "Cancelled"
    assert world.condition("Ready") == ("False", "Cancelled")
    assert world.condition("Stalled") == ("True", "Cancelled")
    assert "BuildCancelled" in [e.reason for e in world.events]
    world.annotate(REQUESTED_AT, "now")
    world.build()
    assert world.condition("Ready")[0] == "True"


def test_a_cancelled_rebuild_leaves_the_image_as_it_is():
    world = World()
    world.build()
    world.annotate(REQUESTED_AT, "now")
    world.look()
    world.annotate(CANCEL, world.status.build.id)
    world.settle()
    assert world.condition("Ready")[0] == "True"
    assert world.condition("Stalled")[0] == "False"


def test_a_cancelled_package_is_not_built_until_somebody_asks():
    world = PackagesWorld({"a": Recipe(), "b": Recipe()})
    world.run(but=("a",))
    (build,) = [b for b in world.status.builds if b.name == "a"]
    world.annotate(CANCEL, build.id)
    world.run()
    assert set(world.published) == {("b", "amd64")}
    assert world.open() == []
    (failed,) = world.status.builds
    assert failed.failure.reason == "Cancelled"
    world.annotate(REQUESTED_AT, "now")
    world.run()
    assert len(world.published) == 2
