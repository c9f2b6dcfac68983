"""An image whose packages a PackageRepo builds: both controllers together."""

import pytest

from operator_world import World
from packages_world import PackagesWorld, Recipe

RECIPES = {"lib": Recipe(), "tool": Recipe(needs=("lib",)), "other": Recipe()}


class Both:
    """An ImageBuild that asks for ``tool``, and the PackageRepo that has it, or not."""

    def __init__(self, recipes=RECIPES):
        self.packages = PackagesWorld(recipes)
        self.image = World(
            image={"contents": {"packages": ["tool"]}},
            repositories=[{"name": "ours"}],
            archs=["amd64"],
        )

    def look(self):
        self.packages.settle()
        self.image.repositories = {"ours": self.packages.desired}
        self.image.look()

    def plan(self):
        """Let the image be planned, as the step would."""
        self.look()
        (plan,) = self.image.open("plan")
        if ("tool", "amd64") in self.packages.published:
            self.image.build()
        else:
            said = "there is no package tool"
            self.image.fail(plan, retryable=False, message=said, reason="PackageNotFound")
        self.look()


@pytest.fixture
def both():
    return Both()


def reasons(world):
    return [event.reason for event in world.events]


def fail_lib(both, *, retryable=False):
    both.packages.run(but=("lib",))
    both.packages.succeed(both.packages.job("lib", "prepare"))
    both.packages.look()
    both.packages.fail(both.packages.job("lib", "build"), retryable=retryable, message="no gcc")
    both.packages.run(but=("lib",))


def test_a_first_build_names_the_failed_package_and_its_repository(both):
    fail_lib(both)
    both.plan()
    assert both.image.condition("Stalled") == ("True", "PackageNotFound")
    for kind in ("Ready", "BuildSucceeded", "Stalled"):
        message = both.image.message(kind)
        assert both.image.condition(kind)[1] == "PackageNotFound"
        assert "there is no package tool" in message
        assert "PackageRepo ours could not build lib-1-r0 for amd64: build: " in message
        assert "no gcc" in message
        assert "tool for amd64, which waits for lib" in message
    assert reasons(both.image)[-1] == "BuildFailed"


def test_when_the_package_is_mended_the_image_is_built_without_anybody(both):
    fail_lib(both)
    both.plan()
    both.packages.change("lib", version=2)
    both.look()
    assert both.image.condition("Reconciling") == ("True", "WaitingForPackages")
    assert both.image.condition("Ready") == ("Unknown", "WaitingForPackages")
    assert both.image.condition("Stalled")[0] == "False"
    both.packages.run()
    both.plan()
    assert both.image.condition("Ready") == ("True", "ImageAvailable")


def test_what_is_tried_again_is_waited_for(both):
    fail_lib(both, retryable=True)
    assert both.packages.condition("Ready")[0] == "True"
    both.plan()
    assert both.image.condition("Reconciling") == ("True", "WaitingForPackages")
    assert "lib-1-r0 for amd64 (tried again)" in both.image.message("Reconciling")
    assert "BuildFailed" not in reasons(both.image)
    both.packages.wait(minutes=2)
    both.packages.run()
    both.image.wait(minutes=2)
    both.plan()
    assert both.image.condition("Ready")[0] == "True"


def test_a_package_and_the_image_that_needs_it_may_be_added_together():
    both = Both({"other": Recipe()})
    both.packages.run()
    both.look()
    both.packages.change("tool")
    both.plan()
    assert both.image.condition("Reconciling") == ("True", "WaitingForPackages")
    assert "PackageRepo ours is looking for packages" in both.image.message("Reconciling")
    assert reasons(both.image)[-1] == "WaitingForPackages"
    both.packages.run()
    both.plan()
    assert both.image.condition("Ready")[0] == "True"


def test_waiting_in_vain_ends_with_a_warning(both):
    fail_lib(both, retryable=True)
    both.plan()
    both.packages.wait(minutes=2)
    both.packages.look()
    both.packages.succeed(both.packages.job("lib", "prepare"))
    both.packages.look()
    both.packages.fail(both.packages.job("lib", "build"), retryable=False)
    both.packages.run()
    both.look()
    assert both.image.condition("Stalled") == ("True", "PackageNotFound")
    assert reasons(both.image)[-1] == "BuildFailed"


def test_a_suspended_repository_brings_nothing(both):
    fail_lib(both, retryable=True)
    both.packages.suspend(suspend=True)
    both.plan()
    assert both.image.condition("Stalled") == ("True", "PackageNotFound")
    assert "could not build lib-1-r0 for amd64" in both.image.message("Stalled")


def test_a_repository_whose_spec_was_not_looked_at_is_about_to_change(both):
    fail_lib(both)
    both.plan()
    both.packages.edit(parallelism=3)
    both.image.repositories = {"ours": both.packages.desired}
    both.image.look()
    assert both.image.condition("Reconciling") == ("True", "WaitingForPackages")


def test_other_failures_are_not_the_packages_fault(both):
    fail_lib(both, retryable=True)
    both.look()
    (plan,) = both.image.open("plan")
    both.image.fail(plan, retryable=False, message="no login", reason="RegistryDenied")
    both.look()
    assert both.image.condition("Stalled") == ("True", "RegistryDenied")
    assert "lib" not in both.image.message("Stalled")
