"""What must hold on every path of building packages, whatever happens in whatever order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from packages_world import PackagesWorld, Recipe, base
from plimsoll.api.meta import CANCEL, REQUESTED_AT

NAMES = ["a", "b", "c", "d"]
ARCHS = ["amd64", "arm64"]
RUNNING = {"Preparing", "Building", "Collecting", "Testing"}


class Packages(RuleBasedStateMachine):
    @initialize(archs=st.sampled_from([["amd64"], ARCHS]), most=st.integers(1, 3))
    def begin(self, archs, most):
        recipes = {"a": Recipe(), "b": Recipe(needs=("a",)), "c": Recipe(needs=("b",), tests=0)}
        self.world = PackagesWorld(recipes, archs=archs, parallelism=most, retention={"builds": 5})
        self.counter = 1
        self.most = most

    @rule()
    def look(self):
        self.world.look()

    @rule(where=st.sampled_from(["status", "actions"]))
    def crash(self, where):
        self.world.look(crash=where)

    @rule(minutes=st.sampled_from([1, 10, 60]))
    def wait(self, minutes):
        self.world.wait(minutes=minutes)

    @precondition(lambda self: self.world.open())
    @rule(data=st.data(), how=st.sampled_from(["ok", "ok", "ok", "ok", "retry", "never"]))
    def end_a_job(self, data, how):
        job = data.draw(st.sampled_from(sorted(self.world.open(), key=lambda j: j.name)))
        if how == "ok":
            self.world.succeed(job)
        else:
            self.world.fail(job, retryable=how == "retry")

    @precondition(lambda self: self.world.jobs)
    @rule(data=st.data())
    def lose_a_job(self, data):
        """Somebody deletes it, or its node is gone with it."""
        name = data.draw(st.sampled_from(sorted(self.world.jobs)))
        lost = self.world.jobs.pop(name)
        # What is made anew is another Job of the same name.
        if name in self.world.created:
            self.world.created.remove(name)
        del lost

    @rule(name=st.sampled_from(NAMES), needs=st.sampled_from([(), ("a",)]))
    def change(self, name, needs):
        self.counter += 1
        self.world.change(name, version=self.counter, needs=() if name == "a" else needs)

    @precondition(lambda self: "d" in self.world.recipes)
    @rule()
    def remove(self):
        del self.world.recipes["d"]

    @rule(archs=st.sampled_from([["amd64"], ["arm64"], ARCHS]))
    def edit(self, archs):
        self.world.edit(archs=archs)

    @rule(suspend=st.booleans())
    def suspend(self, suspend):
        self.world.suspend(suspend=suspend)

    @rule()
    def request(self):
        self.counter += 1
        self.world.annotate(REQUESTED_AT, str(self.counter))

    @rule(there=st.booleans())
    def repository(self, there):
        self.counter += 1
        self.world.repositories = {"base": base(f"sha256:{self.counter}")} if there else {}

    @rule(there=st.booleans())
    def config_map(self, there):
        self.world.config_maps = None if there else {}

    @rule(room=st.sampled_from([None, 0, 1, 2]))
    def others(self, room):
        self.world.room = room

    @precondition(lambda self: self.world.status.builds)
    @rule(data=st.data())
    def cancel(self, data):
        build = data.draw(st.sampled_from([b.id for b in self.world.status.builds]))
        self.world.annotate(CANCEL, build)

    @rule()
    def rotate(self):
        self.counter += 1
        old = self.world.desired.spec.packages.signing.key_secret
        previous = [{"name": old.name if old else "ours-signing"}]
        key = {"name": f"key-{self.counter}"}
        self.world.edit(signing={"keySecret": key, "previousKeySecrets": previous})

    @invariant()
    def no_job_is_made_twice(self):
        assert len(self.world.created) == len(set(self.world.created))

    @invariant()
    def at_most_one_publication_for_each_architecture(self):
        """And none that a plan does not know; a crash may leave an old one for a moment."""
        status = self.world.status
        active = [p for p in status.publishing if p.failure is None]
        assert len({p.arch for p in active}) == len(active)
        assert not (active and status.plan.state == "Running")

    @invariant()
    def no_more_than_asked_for_at_a_time(self):
        for arch in ARCHS:
            busy = [b for b in self.world.status.builds if b.arch == arch and b.state in RUNNING]
            assert len(busy) <= self.most

    @invariant()
    def one_build_of_each_package(self):
        builds = self.world.status.builds
        assert len({(b.name, b.arch) for b in builds}) == len(builds)
        assert len({b.id for b in builds}) == len(builds)

    @invariant()
    def tools_that_know_conditions_only_see_the_truth(self):
        world, status = self.world, self.world.status
        if status.observed_generation != world.desired.metadata.generation:
            return
        if world.desired.spec.suspend or not status.conditions:
            return
        moving = world.condition("Reconciling")[0] == "True"
        stalled = world.condition("Stalled")[0] == "True"
        assert not (moving and stalled)
        if world.condition("Ready")[0] != "True":
            assert moving or stalled

    @invariant()
    def what_is_kept_is_bounded(self):
        assert len(self.world.status.history) <= 5

    @invariant()
    def untrusted_pods_hold_nothing(self):
        for name, manifest in self.world.manifests.items():
            if not name.endswith(("-build", "-test")):
                continue
            pod = manifest["spec"]["template"]["spec"]
            assert {k for v in pod["volumes"] for k in v} <= {"name", "emptyDir"}
            assert pod["automountServiceAccountToken"] is False

    def teardown(self):
        """From any state everything is published once everything is well."""
        world = getattr(self, "world", None)
        if world is None:
            return
        world.repositories = {"base": base("sha256:end")}
        world.config_maps = None
        world.room = None
        world.edit(archs=["amd64"])
        world.suspend(suspend=False)
        world.annotate(REQUESTED_AT, "end")
        for _ in range(4):
            world.run()
            world.wait(hours=1)
        wanted = {name: world.inputs_hash(name, "amd64") for name in world.recipes}
        got = {name: hash_ for (name, arch), hash_ in world.published.items() if arch == "amd64"}
        assert wanted.items() <= got.items()
        for kind in ("Ready", "PackagesBuilt"):
            assert world.condition(kind)[0] == "True", world.message(kind)
        assert world.condition("Reconciling") == ("False", "Idle")
        assert world.status.builds == []
        assert world.open() == []


TestPackages = Packages.TestCase
TestPackages.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
