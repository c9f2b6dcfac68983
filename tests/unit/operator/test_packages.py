import json
from dataclasses import replace

import pytest

from packages_world import PackagesWorld, Recipe, base
from plimsoll.api.meta import CANCEL, REQUESTED_AT

CHAIN = {"lib": Recipe(), "tool": Recipe(needs=("lib",)), "other": Recipe()}


def steps(world, package):
    return [n.rsplit("-", 1)[1] for n in world.created if f"-{package}-" in n]


def reasons(world):
    return [event.reason for event in world.events]


def test_from_sources_to_an_index():
    world = PackagesWorld(CHAIN)
    world.run()
    assert set(world.published) == {(name, "amd64") for name in CHAIN}
    for kind in ("Ready", "IndexVerified", "PackagesBuilt", "AbiStable"):
        assert world.condition(kind)[0] == "True", kind
    assert world.condition("Reconciling") == ("False", "Idle")
    assert world.condition("Stalled")[0] == "False"
    assert steps(world, "lib") == ["prepare", "build", "collect", "test"]
    status = world.status
    assert (status.url, status.progress) == ("oci://registry.example/packages", "3/3")
    assert [i.packages for i in status.indexes] == [3]
    assert status.builds == []
    assert status.keys.current == status.public_keys[0].name
    assert {r.name for r in status.history} == set(CHAIN)
    assert reasons(world).count("PackagePublished") == 3
    assert "PackagesBuilt" in reasons(world)


def test_dependents_wait_and_independent_ones_do_not():
    world = PackagesWorld(CHAIN)
    world.look()
    world.succeed(*world.open("keys"))
    world.look()
    world.succeed(*world.open("plan"))
    world.settle()
    assert {j.name.split("-")[1] for j in world.open("prepare")} == {"lib", "other"}
    assert [(b.name, b.on, b.failed) for b in world.status.blocked] == [("tool", "lib", False)]
    assert world.condition("Ready")[0] == "Unknown"
    assert world.condition("Reconciling") == ("True", "Building")


def test_a_package_that_is_built_is_published_while_others_are_built():
    world = PackagesWorld(CHAIN)
    world.run(but=("other",))
    assert {name for name, _ in world.published} == {"lib", "tool"}
    assert world.condition("Ready")[0] == "Unknown", "the first time images wait for the rest"
    world.run()
    assert world.condition("Ready")[0] == "True"


def test_only_what_changed_is_built_again():
    world = PackagesWorld(CHAIN)
    world.run()
    before = len(world.created)
    world.change("other", version=2)
    world.run()
    made = [n.rsplit("-", 1)[1] for n in world.created[before:]]
    assert made == ["plan", "prepare", "build", "collect", "test", "publish", "plan"]
    before = len(world.created)
    world.change("lib", version=2)
    world.run()
    built = {n.split("-")[1] for n in world.created[before:] if n.endswith("-build")}
    assert built == {"lib", "tool"}


def test_nothing_is_planned_without_a_reason():
    world = PackagesWorld(CHAIN)
    world.run()
    before = list(world.created)
    world.wait(hours=100)
    world.repositories["base"] = base("sha256:2")
    world.edit(parallelism=8, job={"timeout": "1h"})
    world.settle()
    assert world.created == before


def test_a_failed_package_blocks_only_what_needs_it():
    world = PackagesWorld(CHAIN)
    world.run(but=("lib",))
    world.settle()
    log = "\n".join(f"line {n}" for n in range(40))
    world.fail(world.job("lib", "prepare"), retryable=False, message="no such source")
    world.run()
    assert {name for name, _ in world.published} == {"other"}
    (build,) = world.status.builds
    assert (build.name, build.state) == ("lib", "Failed")
    assert world.condition("PackagesBuilt") == ("False", "PackageFailed")
    assert "no such source" in world.message("PackagesBuilt")
    assert "tool for amd64 waits for lib" in world.message("PackagesBuilt")
    assert world.condition("Ready")[0] == "True", "images may use what there is"
    assert world.condition("Stalled") == ("True", "PackageFailed")
    world.change("lib", version=2)
    world.run(but=("tool",))
    world.change("lib", version=3)
    world.look()
    world.succeed(*world.open("plan"))
    world.settle()
    world.succeed(world.job("lib", "prepare"))
    world.look()
    world.fail(world.job("lib", "build"), retryable=False, message=log)
    world.settle()
    (event,) = [e for e in world.events if e.reason == "PackageFailed" and "line" in e.message]
    assert event.message.endswith("line 39")
    assert len(event.message) < 1024
    failed = next(b for b in world.status.builds if b.name == "lib")
    assert failed.failure.message.count("\n") >= 10


def test_what_failed_is_tried_again_when_somebody_asks():
    world = PackagesWorld({"lib": Recipe()})
    world.run(but=("lib",))
    world.fail(world.job("lib", "prepare"), retryable=False)
    world.run()
    before = len(world.created)
    world.wait(hours=10)
    world.settle()
    assert len(world.created) == before
    world.annotate(REQUESTED_AT, "now")
    world.run()
    assert world.condition("Ready")[0] == "True"
    assert world.status.last_handled_reconcile_at == "now"


def test_what_lacked_a_dependency_is_tried_again_when_a_repository_changes():
    world = PackagesWorld({"lib": Recipe()})
    world.run(but=("lib",))
    world.fail(world.job("lib", "prepare"), retryable=False, message="no package gcc")
    world.run()
    assert world.condition("Stalled")[0] == "True"
    world.repositories["base"] = base("sha256:with-gcc")
    world.run()
    assert world.condition("Ready")[0] == "True"


def test_a_fault_that_may_pass_is_tried_again_later_with_growing_pauses():
    world = PackagesWorld({"lib": Recipe()})
    world.run(but=("lib",))
    waits = []
    for _ in range(8):
        world.fail(world.job("lib", "prepare"), retryable=True, message="answered 503")
        world.settle()
        assert world.condition("Reconciling") == ("True", "RetryScheduled")
        (build,) = world.status.builds
        waits.append((build.retry_at - world.now).total_seconds() / 60)
        assert world.open() == []
        world.now = build.retry_at
        world.settle()
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert len({n for n in world.created if n.endswith("prepare")}) == 9
    world.run()
    assert world.condition("Ready")[0] == "True"
    assert sum(r.state == "Failed" for r in world.status.history) == 8


def test_a_failed_test_publishes_nothing():
    world = PackagesWorld({"lib": Recipe(tests=2)})
    world.run(but=("lib",))
    for step in ("prepare", "build"):
        world.succeed(world.job("lib", step))
        world.look()
    world.succeed(world.job("lib", "collect"))
    world.look()
    test = world.job("lib", "test")
    containers = world.manifests[test.name]["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in containers] == ["test-0", "test-1"]
    world.fail(test, retryable=False, message="hello: command not found")
    world.run()
    assert world.published == {}
    (build,) = world.status.builds
    assert build.failure.reason == "TestFailed"
    assert "lib-0" in build.failure.message
    assert "command not found" in build.failure.message
    assert world.condition("Ready") == ("False", "PackageFailed")


def test_no_more_than_asked_for_are_built_at_the_same_time():
    world = PackagesWorld({f"p{n}": Recipe() for n in range(6)}, parallelism=2)
    most = 0
    for _ in range(200):
        world.look()
        most = max(most, len({j.build for j in world.open() if j.step not in {"plan", "publish"}}))
        todo = world.open()
        if not todo and not world.look().actions:
            break
        for job in todo:
            world.succeed(job)
    assert len(world.published) == 6
    assert most == 2


def test_an_architecture_without_node_does_not_hold_up_the_others():
    world = PackagesWorld({"lib": Recipe(), "b": Recipe()}, archs=["amd64", "arm64"], parallelism=1)
    world.run(but=("arm64",))
    while prepare := [j for j in world.open("prepare") if j.arch == "arm64"]:
        world.succeed(prepare[0])
        world.look()
    (job,) = world.open("build")
    pod = world.manifests[job.name]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    world.jobs[job.name] = replace(
        job, trouble_reason="Unschedulable", trouble="no node takes its pod: 0/1 nodes"
    )
    world.run(but=("arm64",))
    assert {a for _, a in world.published} == {"amd64"}
    assert len(world.published) == 2
    assert world.condition("Reconciling") == ("True", "NoNodeForArchitecture")
    assert "arm64" in world.message("Reconciling")
    assert world.condition("Ready")[0] == "True", "images for amd64 can be made"
    assert any(e.reason == "NoNodeForArchitecture" for e in world.events)
    world.jobs[job.name] = job
    world.run()
    assert len(world.published) == 4


def test_what_is_stuck_begins_anew_with_another_spec():
    world = PackagesWorld({"lib": Recipe()}, archs=["arm64"])
    world.run(but=("lib",))
    world.succeed(world.job("lib", "prepare"))
    world.look()
    job = world.job("lib", "build")
    world.jobs[job.name] = replace(job, trouble_reason="Unschedulable", trouble="no node")
    world.settle()
    world.edit(parallelism=5)
    world.edit(emulateOn="amd64")
    world.settle()
    assert job.name not in world.jobs
    world.run()
    assert len(world.published) == 1
    build = [n for n in world.created if n.endswith("-build")][-1]
    selector = world.manifests[build]["spec"]["template"]["spec"]["nodeSelector"]
    assert selector == {"kubernetes.io/arch": "amd64"}


def test_emulated_builds_run_on_nodes_that_emulate():
    world = PackagesWorld({"lib": Recipe()}, archs=["arm64"], emulateOn="amd64")
    world.run()
    (name,) = [n for n in world.created if n.endswith("-build")]
    selector = world.manifests[name]["spec"]["template"]["spec"]["nodeSelector"]
    assert selector == {"kubernetes.io/arch": "amd64"}
    assert {request["emulateOn"] for request in world.requests.values()} == {"amd64"}


def test_a_changed_configuration_supersedes_only_its_own_build():
    world = PackagesWorld(CHAIN)
    world.run(but=("lib", "other"))
    lib, other = world.job("lib", "prepare"), world.job("other", "prepare")
    world.change("lib", version=2)
    world.look()
    assert world.open("plan")
    world.succeed(*world.open("plan"))
    world.settle()
    assert lib.name not in world.jobs
    assert world.job("lib", "prepare").name != lib.name
    assert world.job("other", "prepare") == other
    world.run()
    assert world.published["lib", "amd64"] == world.inputs_hash("lib", "amd64")


def test_a_running_plan_is_cancelled_by_a_change():
    world = PackagesWorld(CHAIN)
    world.look()
    world.succeed(*world.open("keys"))
    world.look()
    (plan,) = world.open("plan")
    world.change("lib", version=2)
    world.settle()
    (second,) = world.open("plan")
    assert second.name != plan.name
    assert plan.name not in world.jobs


def test_plans_and_publications_never_overlap():
    world = PackagesWorld({f"p{n}": Recipe() for n in range(4)}, parallelism=4)
    for turn in range(300):
        world.look()
        assert not (world.open("plan") and world.open("publish"))
        assert len(world.open("publish")) <= 1
        todo = world.open()
        if not todo and not world.look().actions:
            break
        world.succeed(todo[turn % len(todo)])
        if todo[0].step == "build":
            for job in todo:
                world.succeed(job)
    assert len(world.published) == 4


def test_a_failed_publication_with_others_is_tried_alone():
    world = PackagesWorld({"a": Recipe(), "b": Recipe()})
    world.run(but=("a", "b", "publish"))
    for _ in range(6):
        for job in world.open():
            world.succeed(job) if job.step not in {"plan", "publish"} else None
        world.look()
    (publish,) = world.open("publish")
    if len(world.status.publishing[0].builds) == 1:
        pytest.fail("both were to be published together")
    world.fail(publish, retryable=False, message="exists with other bytes")
    world.settle()
    (first,) = world.status.publishing
    assert len(first.builds) == 1
    world.fail(*world.open("publish"), retryable=False, message="exists with other bytes")
    world.run()
    assert len(world.published) == 1
    (failed,) = world.status.builds
    assert failed.failure.step == "publish"
    assert world.condition("PackagesBuilt") == ("False", "PackageFailed")
    # Somebody repairs it and asks: what was built is not built again.
    before = len(world.created)
    world.annotate(REQUESTED_AT, "repaired")
    world.run()
    assert len(world.published) == 2
    assert {n.rsplit("-", 1)[1] for n in world.created[before:]} == {"keys", "plan", "publish"}


def test_a_publication_that_may_succeed_later_is_tried_again():
    world = PackagesWorld({"a": Recipe()})
    world.run(but=("publish",))
    world.fail(*world.open("publish"), retryable=True, message="answered 503")
    world.settle()
    assert world.condition("Reconciling") == ("True", "RetryScheduled")
    assert "PublishFailed" in reasons(world)
    world.wait(minutes=1)
    world.run()
    assert len(world.published) == 1
    assert sum(n.endswith("-build") for n in world.created) == 1


def test_a_failed_plan_stalls_or_is_tried_again():
    world = PackagesWorld(CHAIN)
    world.look()
    world.succeed(*world.open("keys"))
    world.look()
    world.fail(*world.open("plan"), retryable=True, message="registry answered 502")
    world.settle()
    assert world.condition("Reconciling") == ("True", "RetryScheduled")
    world.wait(minutes=1)
    world.look()
    world.fail(*world.open("plan"), retryable=False, message="lib.yaml:3: unknown field")
    world.settle()
    assert world.condition("Stalled") == ("True", "Broken")
    assert "lib.yaml:3" in world.message("Ready")
    world.change("lib", version=2)
    world.run()
    assert world.condition("Ready")[0] == "True"


def test_withdrawn_versions_need_a_publication_and_no_build():
    world = PackagesWorld({"a": Recipe()})
    world.run()
    before = len(world.created)
    digest = world.status.indexes[0].digest
    world.edit(withdrawn=["a=1-r0"])
    world.run()
    made = [n.rsplit("-", 1)[1] for n in world.created[before:]]
    assert made == ["plan", "publish"]
    assert world.status.indexes[0].digest != digest


def test_the_first_key_is_made_and_later_ones_overlap():
    world = PackagesWorld({"a": Recipe()})
    world.run()
    assert list(world.secrets) == ["ours-signing"]
    old = world.status.keys.current
    world.edit(
        signing={"keySecret": {"name": "new"}, "previousKeySecrets": [{"name": "ours-signing"}]}
    )
    before = len(world.created)
    world.run()
    assert [k.name for k in world.status.public_keys] == sorted([old, world.secrets["new"]])
    assert world.status.keys.current == world.secrets["new"]
    assert world.signers["amd64"] == sorted([old, world.secrets["new"]])
    made = [n.rsplit("-", 1)[1] for n in world.created[before:]]
    assert made == ["keys", "plan", "publish"], "no package is built for a new key"
    publish = next(n for n in reversed(world.created) if n.endswith("-publish"))
    args = world.manifests[publish]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--previous-key" in args


def test_a_key_that_cannot_be_read_stalls():
    world = PackagesWorld({"a": Recipe()})
    world.look()
    world.fail(*world.open("keys"), retryable=False, message="no RSA key")
    world.settle()
    assert world.condition("Stalled")[0] == "True"
    assert "no RSA key" in world.message("Ready")
    world.annotate(REQUESTED_AT, "repaired")
    world.run()
    assert world.condition("Ready")[0] == "True"


def test_suspended_nothing_new_starts_and_what_runs_ends():
    world = PackagesWorld({"a": Recipe(), "b": Recipe()}, parallelism=1)
    world.run(but=("a", "b"))
    world.suspend(suspend=True)
    world.run()
    assert len(world.published) == 1
    assert world.condition("Reconciling") == ("False", "Suspended")
    world.suspend(suspend=False)
    world.run()
    assert len(world.published) == 2


def test_a_missing_config_map_is_said():
    world = PackagesWorld({"a": Recipe()})
    world.config_maps = {}
    world.settle()
    assert world.condition("Reconciling") == ("True", "ConfigMapNotFound")
    assert world.plan.requeue_after is not None
    world.config_maps = None
    world.run()
    assert world.condition("Ready")[0] == "True"
    world.config_maps = {}
    world.settle()
    assert world.condition("Ready")[0] == "True", "what was published still is"


def test_a_missing_repository_is_waited_for():
    world = PackagesWorld({"a": Recipe()})
    world.repositories = {}
    world.run()
    assert world.condition("Reconciling") == ("True", "PackageRepoNotFound")
    world.repositories = {"base": base()}
    world.run()
    assert world.condition("Ready")[0] == "True"


def test_a_repository_of_itself_is_refused():
    world = PackagesWorld({"a": Recipe()}, repositories=[{"name": "ours"}])
    world.settle()
    assert world.condition("Stalled") == ("True", "InvalidSpec")


def test_abi_changes_are_a_condition_until_a_version_without_one():
    world = PackagesWorld({"lib": Recipe(abi=("libx.so.1 lost x_open",))})
    world.run()
    assert world.condition("AbiStable") == ("False", "AbiChanged")
    assert "x_open" in world.message("AbiStable")
    assert "AbiChanged" in reasons(world)
    world.change("lib", version=2, abi=())
    world.run()
    assert world.condition("AbiStable")[0] == "True"


def test_history_and_jobs_are_bounded():
    world = PackagesWorld({f"p{n}": Recipe() for n in range(6)}, retention={"builds": 2})
    world.run()
    status = world.status
    assert len(status.history) == 2
    kept = {r.id for r in status.history} | {r.published_by for r in status.history}
    kept |= {status.plan.id, status.keys.id}
    assert {job.build for job in world.jobs.values()} <= kept
    assert len(world.requests) <= 3


def test_an_output_that_is_lost_is_built_again():
    world = PackagesWorld({"a": Recipe()})
    world.run(but=("a",))
    world.succeed(world.job("a", "prepare"))
    world.look()
    build = world.job("a", "build")
    world.jobs[build.name] = replace(build, phase="succeeded")
    world.settle()
    (entry,) = world.status.builds
    assert (entry.failure.reason, entry.retry_at is not None) == ("OutputLost", True)
    world.wait(minutes=1)
    world.run()
    assert len(world.published) == 1


def test_a_refused_job_is_told():
    world = PackagesWorld({"a": Recipe()})
    world.refused = "Job x cannot be created: exceeded quota"
    world.look()
    assert world.condition("Reconciling") == ("True", "CreateRefused")
    assert "quota" in world.message("Reconciling")


def test_trouble_of_the_next_plan_does_not_let_images_in_early():
    world = PackagesWorld(CHAIN)
    world.run(but=("plan", "other"))
    world.succeed(*world.open("plan"))
    world.look()
    world.run(but=("plan", "other"))
    assert world.published
    assert world.status.indexes
    (job,) = world.open("plan")
    world.jobs[job.name] = replace(job, trouble_reason="ImagePullBackOff", trouble="not yet")
    world.look()
    assert world.condition("Reconciling") == ("True", "ImagePullBackOff")
    assert world.condition("Ready")[0] == "Unknown"
    world.jobs[job.name] = job
    world.run()
    assert world.condition("Ready")[0] == "True"


def test_a_package_that_waits_for_its_turn_can_be_cancelled():
    world = PackagesWorld({"a": Recipe(), "b": Recipe()}, parallelism=1)
    world.look()
    world.succeed(*world.open("keys"))
    world.look()
    world.succeed(*world.open("plan"))
    world.settle()
    (queued,) = [b for b in world.status.builds if b.state == "Queued"]
    world.annotate(CANCEL, queued.id)
    world.run()
    assert set(world.published) == {("a", "amd64")}
    assert world.condition("PackagesBuilt") == ("False", "PackageFailed")
    world.annotate(REQUESTED_AT, "now")
    world.run()
    assert set(world.published) == {("a", "amd64"), ("b", "amd64")}


def test_another_storage_begins_anew():
    world = PackagesWorld({"a": Recipe(), "b": Recipe()})
    world.run(but=("b",))
    world.published.clear()
    world.signers.clear()
    world.edit(storage={"repository": "registry.example/elsewhere"})
    world.look()
    assert world.condition("Ready")[0] == "Unknown"
    assert world.status.indexes == []
    world.run()
    assert len(world.published) == 2
    assert world.status.url == "oci://registry.example/elsewhere"
    assert world.condition("Ready")[0] == "True"


def test_what_was_followed_before_is_forgotten():
    world = PackagesWorld({"a": Recipe()})
    world.body["status"] = {
        "url": "https://packages.example/os",
        "conditions": [{"type": "Ready", "status": "True"}],
        "indexes": [{"arch": "amd64", "digest": "sha256:9", "packages": 9}],
        "packages": 9,
    }
    world.look()
    assert world.condition("Ready")[0] == "Unknown"
    world.run()
    assert world.status.packages == 1


def test_git_sources_are_looked_at_again():
    world = PackagesWorld(
        {"a": Recipe()},
        sources=[{"name": "tree", "git": {"url": "https://git.example/x"}}],
        refreshInterval="30m",
    )
    world.run()
    before = len(world.created)
    world.wait(minutes=29)
    world.settle()
    assert len(world.created) == before
    world.change("a", version=2)
    world.wait(minutes=2)
    world.run()
    assert world.published["a", "amd64"] == world.inputs_hash("a", "amd64")


def test_the_status_holds_no_secret_but_for_the_outbox():
    world = PackagesWorld({"a": Recipe()})
    world.run()
    assert "PRIVATE" not in json.dumps(world.body["status"])


def test_another_plan_only_where_it_can_find_something():
    world = PackagesWorld({f"p{n}": Recipe() for n in range(4)}, parallelism=1)
    world.run()
    assert len(world.published) == 4
    assert sum(name.endswith("-plan") for name in world.created) == 2
    assert world.status.progress == "4/4"


def test_a_key_that_gets_lost_stops_everything_with_a_sentence():
    """Also what a plan had begun: nothing goes on, so nothing is said to."""
    world = PackagesWorld({"a": Recipe()})
    world.look()
    world.succeed(*world.open("keys"))
    world.look()
    world.annotate(REQUESTED_AT, "again")
    world.look()
    world.fail(*world.open("keys"), retryable=False, message="no key in it")
    world.settle()
    assert world.condition("Stalled")[0] == "True"
    assert world.condition("Reconciling")[0] == "False"
    assert "no key in it" in world.message("Ready")
