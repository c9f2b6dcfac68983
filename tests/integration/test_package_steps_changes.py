"""A repository that changes: ABI, failures, withdrawal, keys, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from package_builds import (
    STARTED,
    StepFailedError,
    debian_base,
    outbox,
    package_builds,
    push_unsigned,
    repository_key,
)
from plimsoll.api.packagerequest import PackageRequest
from plimsoll.arch import Arch
from plimsoll.builder.engine import Engine
from plimsoll.builder.ocirepo import file_tag
from plimsoll.builder.settings import Settings
from plimsoll.builder.steps import packagepublish
from plimsoll.builder.steps.common import registry_of
from plimsoll.builder.steps.packagecollect import Outbox, collect_package
from plimsoll.builder.steps.packagecommon import Storage
from plimsoll.builder.steps.packagefetch import fetch_output
from plimsoll.builder.steps.packagestate import read_snapshot
from plimsoll.builder.steps.packageunpack import Limits, OutputError
from plimsoll.errors import Error
from plimsoll.oci.errors import ImageNotFoundError
from plimsoll.oci.model import Descriptor
from registries import distribution_registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get"),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap"),
]

HEAD = """\
package:
  name: {name}
  version: {version}
  epoch: 0
  description: a test
  copyright: [{{license: MIT}}]
environment:
  contents: {{packages: [{packages}]}}
pipeline:
  - runs: |
{script}
"""


def config(
    name,
    script="mkdir -p ${{targets.destdir}}/usr/share/x",
    packages="bash, coreutils",
    version="1.0",
):
    lines = "\n".join(f"      {line}" for line in script.splitlines())
    return HEAD.format(name=name, version=version, packages=packages, script=lines)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return debian_base(tmp_path_factory)


@pytest.fixture
def builds(tmp_path, base):
    with (
        distribution_registry() as registry,
        package_builds(tmp_path, registry.host, base) as builds,
    ):
        yield builds


async def snapshot(builds):
    request = PackageRequest.model_validate(builds.request())
    async with registry_of(request) as registry:
        return await read_snapshot(Storage(registry, request), Arch.AMD64, request.keys)


def versions(builds):
    found = asyncio.run(snapshot(builds))
    return sorted(f"{e.name}-{e.version}" for e in found.index.entries())


def compile_library(folder, symbols):
    source = "".join(f"int {name}(void) {{ return 1; }}\n" for name in symbols)
    (folder / "lib.c").write_text(source)
    subprocess.run(
        [
            *("gcc", "-shared", "-nostdlib", "-fPIC", "-Wl,-soname,libgreet.so.1"),
            *("-o", folder / "libgreet.so.1", folder / "lib.c"),
        ],
        check=True,
    )
    (folder / "lib.c").unlink()


LIBRARY = """\
mkdir -p ${{targets.destdir}}/usr/lib
cp libgreet.so.1 ${{targets.destdir}}/usr/lib/libgreet.so.1"""
PROGRAM = """\
test -e /usr/lib/libgreet.so.1
mkdir -p ${{targets.destdir}}/usr/bin
cp program ${{targets.destdir}}/usr/bin/program"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_library_and_what_links_it(builds, tmp_path):
    folder = tmp_path / "library"
    folder.mkdir()
    compile_library(folder, ["greet", "wave"])
    (folder / "greet.yaml").write_text(config("greet", LIBRARY))
    program = tmp_path / "program"
    program.mkdir()
    (program / "main.c").write_text("int greet(void); int _start(void) { return greet(); }")
    subprocess.run(
        [
            *("gcc", "-nostdlib", "-o", program / "program", program / "main.c"),
            *(folder / "libgreet.so.1", "-Wl,--allow-shlib-undefined"),
        ],
        check=True,
    )
    (program / "main.c").unlink()
    (program / "app.yaml").write_text(config("app", PROGRAM, "bash, coreutils, greet"))
    builds.sources = [
        {"name": "library", "folder": str(folder)},
        {"name": "program", "folder": str(program)},
    ]
    builds.configurations["other"] = config("other")
    plan = builds.plan()
    assert builds.ready(plan) == ["other-1.0-r0", "greet-1.0-r0"]
    assert [(b["name"], b["on"], b["failed"]) for b in plan["blocked"]] == [("app", "greet", False)]
    assert builds.all() == ["other-1.0-r0", "greet-1.0-r0", "app-1.0-r0"]
    assert asyncio.run(snapshot(builds)).state.origins["app"].links

    # More symbols: nobody misses any, so nothing but the library is built.
    compile_library(folder, ["greet", "wave", "shout"])
    assert builds.all() == ["greet-1.0-r1"]
    assert builds.plan()["unchanged"]

    # Fewer: what links it is built again, and the change is reported.
    compile_library(folder, ["greet", "shout"])
    plan = builds.plan()
    collected = builds.build(plan, "greet")
    assert collected["abi"] == ["libgreet.so.1 has no longer wave"]
    assert builds.publish(collected["artifact"])["abi"] == collected["abi"]
    plan = builds.plan()
    assert [(r["name"], r["version"], r["reason"]) for r in plan["ready"]] == [
        ("app", "1.0-r1", "AbiChanged")
    ]
    assert builds.all() == ["app-1.0-r1"]
    assert builds.plan()["unchanged"]


def test_failure_withdrawal_retention_and_keys(builds):
    builds.configurations = {
        "good": config("good"),
        "bad": config("bad", "echo about to fail\nfalse"),
        "user": config("user", packages="bash, coreutils, bad"),
    }
    plan = builds.plan()
    assert plan["counts"] == {"total": 3, "published": 0, "ready": 2, "blocked": 1, "failed": 0}
    good = builds.build(plan, "good")
    with pytest.raises(
        StepFailedError, match=r"about to fail\nthe step '.*' failed, with status 1"
    ):
        builds.build(plan, "bad")
    builds.publish(good["artifact"])
    (bad,) = (one for one in plan["ready"] if one["name"] == "bad")
    builds.options["failed"] = [{"name": "bad", "arch": "amd64", "inputsHash": bad["inputsHash"]}]
    plan = builds.plan()
    assert (plan["failed"], plan["ready"], plan["unchanged"]) == (["bad/amd64"], [], False)
    assert [(b["name"], b["on"], b["failed"]) for b in plan["blocked"]] == [("user", "bad", True)]
    builds.configurations["bad"] = config("bad")
    assert builds.ready(builds.plan()) == ["bad-1.0-r0"]
    assert builds.all() == ["bad-1.0-r0", "user-1.0-r0"]

    # Another version, of which the older one is taken back.
    builds.configurations["good"] = config("good", version="1.1")
    assert builds.all() == ["good-1.1-r0"]
    assert {"good-1.0-r0", "good-1.1-r0"} <= set(versions(builds))
    # Its guest has the packages of an earlier one, so nothing was composed.
    assert any("the guest is there already" in text for text in builds.log)
    builds.options["withdrawn"] = ["good=1.1-r0"]
    plan = builds.plan()
    assert (plan["publish"], plan["ready"]) == (["amd64"], [])
    published = builds.publish()
    assert (published["removed"], published["changed"]) == (1, True)
    assert "good-1.1-r0" not in versions(builds)
    assert builds.plan()["unchanged"]

    # Retention, and files of what left the index long ago.
    builds.configurations["good"] = config("good", version="1.2")
    builds.options["retention"] = {"versions": 1, "days": 30}
    assert builds.all() == ["good-1.2-r0"]
    assert [v for v in versions(builds) if v.startswith("good")] == ["good-1.2-r0"]
    assert _has_file(builds, "good-1.1-r0.apk")
    builds.options["started"] = (STARTED + timedelta(days=31)).isoformat()
    builds.configurations["good"] = config("good", version="1.3")
    builds.all()
    assert not _has_file(builds, "good-1.1-r0.apk")
    assert _has_file(builds, "good-1.2-r0.apk")

    # Another key: both sign while both are given, then only the new one.
    old = builds.key
    builds.key, builds.previous = repository_key("team-2.rsa.pub"), [old]
    assert builds.plan()["publish"] == ["amd64"]
    builds.publish()
    assert asyncio.run(snapshot(builds)).signers == ("team-2.rsa.pub", "team-1.rsa.pub")
    assert builds.plan()["unchanged"]
    builds.previous = []
    assert builds.plan()["publish"] == ["amd64"]
    builds.publish()
    assert asyncio.run(snapshot(builds)).signers == ("team-2.rsa.pub",)
    builds.key = old
    with pytest.raises(StepFailedError, match="IndexVerificationFailed"):
        builds.plan()


def test_architectures_are_planned_each_for_itself(builds):
    only = config("only").replace("  epoch: 0", "  epoch: 0\n  target-architecture: [aarch64]")
    builds.configurations = {"a": config("a"), "only": only}
    builds.options["archs"] = ["amd64", "arm64"]
    plan = builds.plan()
    found = sorted((one["name"], one["arch"]) for one in plan["ready"])
    assert found == [("a", "amd64"), ("a", "arm64"), ("only", "arm64")]
    assert plan["counts"]["total"] == 3
    builds.publish(builds.build(plan, "a")["artifact"])
    plan = builds.plan()
    assert plan["counts"] == {"total": 3, "published": 1, "ready": 2, "blocked": 0, "failed": 0}
    assert [index["packages"] for index in plan["indexes"]] == [1, 0]
    with pytest.raises(StepFailedError, match="no index for aarch64"):
        builds.step("prepare", "--plan", plan["plan"], "--package", "a", "--arch", "arm64")


def test_a_package_must_have_a_test_before_it_is_built(builds):
    builds.configurations = {"a": config("a")}
    builds.options["requireTests"] = True
    with pytest.raises(StepFailedError, match=r"TestMissing.*no test: a"):
        builds.prepare(builds.plan(), "a")


def test_a_guest_must_have_a_shell(builds):
    builds.configurations = {"a": config("a", packages="coreutils")}
    with pytest.raises(StepFailedError, match="the guest has no shell"):
        builds.prepare(builds.plan(), "a")
    builds.configurations = {"a": config("a", packages="nonsense")}
    with pytest.raises(StepFailedError, match="nonsense"):
        builds.prepare(builds.plan(), "a")


def _has_file(builds, name):
    async def look():
        request = PackageRequest.model_validate(builds.request())
        async with registry_of(request) as registry:
            where = Storage(registry, request).repository
            try:
                await registry.resolve(where.with_tag(file_tag("x86_64", name)))
            except ImageNotFoundError:
                return False
            return True

    return asyncio.run(look())


def test_a_version_never_has_two_contents(builds, monkeypatch):
    one = push_unsigned(builds, "a", {"usr/bin/a": b"one"})
    other = push_unsigned(builds, "a", {"usr/bin/a": b"other"})
    builds.publish(one)
    with pytest.raises(StepFailedError, match=r"PackageExists.*raise the epoch"):
        builds.publish(other)
    builds.options["withdrawn"] = ["a=1.0-r0"]
    builds.publish()
    assert versions(builds) == []
    # What was taken back keeps its bytes, too; publishing it again says no more than before.
    with pytest.raises(StepFailedError, match=r"PackageExists.*raise the epoch"):
        builds.publish(other)
    assert not builds.publish(one)["changed"]
    # What nobody ever saw in an index may be replaced.
    with monkeypatch.context() as patch:
        patch.setattr(packagepublish, "move_index", _killed)
        with pytest.raises(StepFailedError):
            builds.publish(push_unsigned(builds, "b", {"usr/bin/b": b"one"}))
    builds.publish(push_unsigned(builds, "b", {"usr/bin/b": b"other"}))
    assert versions(builds) == ["b-1.0-r0"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arch": "arm64"}, "is for arm64, not for amd64"),
        ({"epoch": 1}, "does not hold what its record says"),
        ({"name": "b"}, "calls itself a-1.0-r0 of a"),
    ],
)
def test_artifacts_that_lie_are_not_signed(builds, change, said):
    artifact = push_unsigned(builds, "a", {"usr/bin/a": b"one"}, change=change)
    with pytest.raises(StepFailedError, match=said):
        builds.publish(artifact)
    assert asyncio.run(snapshot(builds)).manifest == ""


def test_keys_that_are_not_known_do_not_sign(builds):
    artifact = push_unsigned(builds, "a", {"usr/bin/a": b"one"})
    builds.options["keys"] = {"other.rsa.pub": builds.key.public_pem().decode()}
    with pytest.raises(StepFailedError, match="is not among the keys that verify"):
        builds.publish(artifact)


async def _killed(*_):
    raise RuntimeError("killed")


def test_two_publishers(builds, monkeypatch):
    builds.configurations = {"a": config("a"), "b": config("b")}
    plan = builds.plan()
    artifacts = [builds.build(plan, name)["artifact"] for name in ("a", "b")]
    request = PackageRequest.model_validate(builds.request())
    keys = [builds.key]
    interrupted = False
    stage = packagepublish.stage_index

    async def second_is_faster(storage, index, state):
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            await packagepublish.publish_packages(request, Arch.AMD64, artifacts[1:], keys)
        return await stage(storage, index, state)

    monkeypatch.setattr(packagepublish, "stage_index", second_is_faster)
    asyncio.run(packagepublish.publish_packages(request, Arch.AMD64, artifacts[:1], keys))
    assert versions(builds) == ["a-1.0-r0", "b-1.0-r0"]
    assert builds.plan()["unchanged"]


def test_an_end_in_the_middle_of_publishing_leaves_the_old_index(builds, monkeypatch):
    builds.configurations = {"a": config("a")}
    builds.all()
    before = versions(builds)
    builds.configurations["b"] = config("b")
    artifact = builds.build(builds.plan(), "b")["artifact"]
    request = PackageRequest.model_validate(builds.request())

    class KilledError(BaseException):
        pass

    for name in ("stage_index", "move_index"):
        with monkeypatch.context() as patch:

            async def killed(*_):
                raise KilledError

            patch.setattr(packagepublish, name, killed)
            with pytest.raises(KilledError):
                asyncio.run(
                    packagepublish.publish_packages(request, Arch.AMD64, [artifact], [builds.key])
                )
        assert versions(builds) == before
    builds.publish(artifact)
    assert versions(builds) == ["a-1.0-r0", "b-1.0-r0"]


def test_a_state_that_somebody_changed_is_not_believed(builds):
    builds.configurations = {"a": config("a")}
    builds.all()

    async def tamper():
        request = PackageRequest.model_validate(builds.request())
        async with registry_of(request) as registry:
            storage = Storage(registry, request)
            snap = await read_snapshot(storage, Arch.AMD64, request.keys)
            data = await storage.blob(Descriptor(media_type="x", digest=snap.file, size=0))
            changed = snap.state.model_copy(update={"origins": {}}).dump()
            manifest = await packagepublish.stage_index(storage, data, changed)
            await packagepublish.move_index(storage, Arch.AMD64, manifest)

    asyncio.run(tamper())
    with pytest.raises(StepFailedError, match="StateInvalid"):
        builds.plan()


def _tar(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _member(name, kind=tarfile.REGTYPE, link="", size=0):
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


TOP = (_member("evil", tarfile.DIRTYPE), b"")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (_tar(TOP, (_member("evil/../../../x", size=1), b"x")), "InvalidOutput"),
        (_tar(TOP, (_member("evil/d", tarfile.CHRTYPE), b"")), "InvalidOutput"),
        (_tar((_member("evil", tarfile.SYMTYPE, "/etc"), b"")), "StepFailed"),
        (_tar((_member("evil", size=3), b"abc")), "StepFailed"),
        (b"\xff" * 4096, "CorruptArchive"),
        (_tar(TOP)[:700], "CorruptArchive"),
    ],
)
def test_hostile_output(hostile, body, reason):
    async def answer(request):
        return web.Response(body=body)

    assert hostile(answer)["reason"] == reason


def test_an_outbox_that_says_why(hostile):
    async def answer(request):
        return web.Response(status=422, text="'x' is a socket")

    failure = hostile(answer)
    assert failure["reason"] == "InvalidOutput"
    assert "'x' is a socket" in failure["message"]
    assert "tokentokentokentoken" not in failure["message"]


def test_an_outbox_that_is_gone(hostile):
    async def answer(request):
        return web.Response(status=404)

    failure = hostile(answer)
    assert failure["reason"] == "OutboxUnavailable"
    assert "tokentokentokentoken" not in failure["message"]


@pytest.fixture
def hostile(builds, monkeypatch):
    """Runs collect against an outbox that somebody else wrote."""
    builds.configurations = {"evil": config("evil")}
    plan = builds.plan()
    prepared = builds.prepare(plan, "evil")

    def run(handler):
        async def work():
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            request = PackageRequest.model_validate(builds.request())
            async with (
                TestServer(app) as server,
                Engine(Settings(cache_dir=builds.tmp / "cache")) as engine,
            ):
                outbox = Outbox(str(server.make_url("/")), "tokentokentokentoken")
                try:
                    await collect_package(
                        engine, request, plan["plan"], "evil", Arch.AMD64, prepared["guest"], outbox
                    )
                except Error as error:
                    return {"reason": error.reason, "message": str(error)}
                return {}

        return asyncio.run(work())

    return run


def test_an_endless_output_is_cut(tmp_path):
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    async def silent(request):
        await asyncio.sleep(30)
        return web.Response()

    async def work(handler, **options):
        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        async with TestServer(app) as server:
            place = str(server.make_url("/"))
            await fetch_output(place, "token", tmp_path / "output", **options)

    with pytest.raises(OutputError, match="more than 1000000 bytes"):
        asyncio.run(work(endless, limits=Limits(size=1_000_000)))
    with pytest.raises(OutputError, match="did not come within"):
        asyncio.run(work(silent, patience=0.2))
    assert not (tmp_path / "output").exists()


def test_the_outbox(tmp_path):
    folder = tmp_path / "out"
    (folder / "a").mkdir(parents=True)
    (folder / "a/file").write_bytes(b"x" * 1_000_000)
    token = "t" * 20

    def ask(url, method="GET"):
        request = urllib.request.Request(url, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    with outbox(folder, token) as url:
        for wrong in ("", "t" * 19, "../etc/passwd", f"{token}/x"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                ask(f"{url}/{wrong}")
        for _ in range(2):
            with tarfile.open(fileobj=io.BytesIO(ask(f"{url}/{token}"))) as archive:
                assert archive.getnames() == ["a", "a/file"]
        ask(f"{url}/{token}", "DELETE")
        deadline = time.monotonic() + 20
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            while time.monotonic() < deadline:
                ask(f"{url}/healthz")
        assert time.monotonic() < deadline
