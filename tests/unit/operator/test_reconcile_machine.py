"""What must hold on every path, whatever happens in whatever order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from operator_world import World, repository
from plimsoll.api.meta import CANCEL, REQUESTED_AT
from plimsoll.operator.sources import configuration
from plimsoll.operator.state import Observed

WISHES = {
    "schedule": {"schedule": {"cron": "0 3 * * *", "jitter": "1h"}},
    "variants": {"variants": [{"name": "dev", "packages": ["bash"]}]},
    "tests": {"tests": [{"name": "version", "command": ["python3"], "archs": ["amd64"]}]},
    "verify": {"verifyReproducible": True},
    "scan": {"scan": {"databases": ["https://packages.example/security.json"]}},
}


class Operator(RuleBasedStateMachine):
    @initialize(wishes=st.sets(st.sampled_from(sorted(WISHES))))
    def begin(self, wishes):
        spec = {key: value for wish in wishes for key, value in WISHES[wish].items()}
        self.world = World(retention={"builds": 3}, **spec)
        self.counter = 0
        self.seen = {}
        self.was = None

    @rule()
    def look(self):
        self.world.look()

    @rule(where=st.sampled_from(["status", "actions"]))
    def crash(self, where):
        self.world.look(crash=where)

    @rule(minutes=st.sampled_from([1, 10, 60, 600]))
    def wait(self, minutes):
        self.world.wait(minutes=minutes)

    @precondition(lambda self: self.world.open())
    @rule(data=st.data(), how=st.sampled_from(["ok", "ok", "ok", "unchanged", "retry", "never"]))
    def end_a_job(self, data, how):
        job = data.draw(st.sampled_from(sorted(self.world.open(), key=lambda j: j.name)))
        if how in {"retry", "never"}:
            self.world.fail(job, retryable=how == "retry")
        else:
            unchanged = how == "unchanged" and self.world.status.image is not None
            self.world.succeed(job, unchanged=unchanged, version=self.world.status.build.number)

    @rule(archs=st.sampled_from([["amd64"], ["arm64"], ["amd64", "arm64"], ["amd46"]]))
    def edit(self, archs):
        self.world.edit(archs=archs)

    @rule(timeout=st.sampled_from(["10m", "20m"]))
    def edit_what_makes_no_difference(self, timeout):
        self.world.edit(job={"timeout": timeout})

    @rule(names=st.lists(st.sampled_from(["dev", "fips", "debug"]), unique=True))
    def edit_variants(self, names):
        self.world.edit(variants=[{"name": name, "packages": ["bash"]} for name in names])

    @rule(suspend=st.booleans())
    def suspend(self, suspend):
        self.world.edit(suspend=suspend)

    @rule()
    def request(self):
        self.counter += 1
        self.world.annotate(REQUESTED_AT, str(self.counter))

    @rule(room=st.sampled_from([None, 0, 1]))
    def others(self, room):
        self.world.room = room

    @precondition(lambda self: self.world.status.build is not None)
    @rule()
    def cancel(self):
        self.world.annotate(CANCEL, self.world.status.build.id)

    @rule()
    def new_index(self):
        self.counter += 1
        self.world.repositories["wolfi"] = repository(f"sha256:{self.counter}")

    @rule(ready=st.booleans())
    def lose_the_repository(self, ready):
        self.world.repositories = {"wolfi": repository(ready=False)} if ready else {}

    @invariant()
    def no_job_is_made_twice(self):
        assert len(self.world.created) == len(set(self.world.created))

    @invariant()
    def one_build_at_a_time(self):
        """A crash may leave old Jobs running beside none of the new; no look does."""
        assert len({job.build for job in self.world.open()}) <= 1

    @invariant()
    def ready_holds_while_the_image_is_what_is_asked_for(self):
        world, status = self.world, self.world.status
        if not status.conditions or status.observed_generation != world.desired.metadata.generation:
            return
        if world.body["spec"]["archs"] == ["amd46"] or status.image is None:
            return
        wanted = configuration(world.desired, Observed()).hash
        satisfied = status.configuration == wanted
        assert (world.condition("Ready")[0] == "True") is satisfied

    @invariant()
    def tools_that_know_conditions_only_see_the_truth(self):
        """kstatus: not Ready and neither Reconciling nor Stalled would count as done."""
        world = self.world
        status = world.status
        if status.observed_generation != world.desired.metadata.generation:
            return
        if world.body["spec"].get("suspend"):
            return
        if world.condition("Ready")[0] != "True":
            moving = world.condition("Reconciling")[0] == "True"
            assert moving or world.condition("Stalled")[0] == "True"

    @invariant()
    def no_image_is_half_there(self):
        """The images of all variants are those of one build."""
        status = self.world.status
        if status.image is None:
            return
        version = status.image.rpartition("-")[2]
        for variant in status.variants:
            assert variant.image.endswith(f"-{variant.name}-{version}")
            assert {a.digest.rpartition("-")[2] for a in variant.architectures} == {version}

    @invariant()
    def numbers_only_grow_and_history_is_bounded(self):
        build = self.world.status.build
        if build is None:
            return
        assert self.was is None or build.number >= self.was
        self.was = build.number
        assert len(self.world.status.history) <= 3
        # One number is one build, for ever.
        assert self.seen.setdefault(build.number, build.id) == build.id

    def teardown(self):
        """From any state the image arrives once everything is well."""
        world = getattr(self, "world", None)
        if world is None:
            return
        world.repositories = {"wolfi": repository("sha256:end")}
        world.room = None
        world.edit(archs=["amd64"], suspend=False)
        world.annotate(REQUESTED_AT, "end")
        world.build(version=999)
        world.build(version=999)
        assert world.condition("Ready")[0] == "True"
        assert [a.arch for a in world.status.architectures] == ["amd64"]
        assert {job.build for job in world.jobs.values()} <= {r.id for r in world.status.history}


TestOperator = Operator.TestCase
TestOperator.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
