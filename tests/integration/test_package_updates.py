"""Looking for new versions, against servers that speak the APIs of those that are asked."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from git_server import commit, git, git_server, make_repository
from plimsoll.builder.cli.packageupdates import read_requests
from plimsoll.builder.updates.check import Places, check
from plimsoll.builder.updates.github import BATCH, GitHub
from plimsoll.builder.updates.memory import Memory
from plimsoll.builder.updates.model import State
from plimsoll.cli.main import cli
from plimsoll.errors import Error
from plimsoll.http import NO_RETRY, Http
from plimsoll.oci.auth import Credentials
from plimsoll.oci.registry import Registry
from upstream_servers import Project, upstream_server

pytestmark = pytest.mark.integration

CONFIG = """package:
  name: {name}
  version: "{version}"
  epoch: 3

update:
  enabled: true
{update}"""
NOW = datetime(2026, 1, 10, 3, tzinfo=UTC)


@pytest.fixture
async def upstream():
    async with upstream_server() as found:
        yield found


@pytest.fixture
async def http():
    async with Http(retry=NO_RETRY) as client:
        yield client


def write(folder, name, update, version="1.0", more=""):
    path = folder / f"{name}.yaml"
    path.write_text(CONFIG.format(name=name, version=version, update=update) + more)
    return path


def hub(name, **options):
    lines = [f"    {key.replace('_', '-')}: {value}" for key, value in options.items()]
    return "\n".join(["  github:", f"    identifier: {name}", *lines, ""])


def places(upstream, token=""):
    github = GitHub(f"{upstream.url}/api", f"{upstream.url}/api/graphql", upstream.url, token)
    return Places(lambda: Registry(Credentials.none()), github, upstream.url)


async def look(http, where, folder, memory=None, **options):
    requests, broken = read_requests([folder])
    assert not broken
    found = await check(http, where, requests, memory or Memory(), now=NOW, **options)
    return {one.request.package: one for one in found}


async def test_github_with_a_token_asks_for_many_at_once(upstream, http, tmp_path):
    for number in range(BATCH + 5):
        upstream.projects[f"o/r{number}"] = Project(
            [("v1.2", False, False), ("v2.0-rc1", True, False), ("v3", False, True)]
        )
        write(tmp_path, f"r{number}", hub(f"o/r{number}", strip_prefix="v"))
    commit_of = "a" * 40
    upstream.projects["o/tags"] = Project(
        tags={"rel-1.1": commit_of, "rel-1.10": commit_of, "x-9": commit_of},
        annotated=frozenset({"rel-1.10"}),
    )
    options = {"strip_prefix": "rel-", "use_tag": "true", "tag_filter_prefix": "rel-"}
    write(tmp_path, "tags", hub("o/tags", **options))
    write(tmp_path, "gone", hub("o/gone"))
    old = {f"other-{n}": commit_of for n in range(200)} | {"1.5-lts": commit_of}
    upstream.projects["o/many"] = Project(tags=old)
    options = {"use_tag": "true", "tag_filter_contains": "-lts", "strip_suffix": "-lts"}
    write(tmp_path, "many", hub("o/many", **options))
    found = await look(http, places(upstream, "t0ken"), tmp_path)
    assert all(found[f"r{n}"].version == "1.2" for n in range(BATCH + 5))
    assert (found["tags"].version, found["tags"].commit) == ("1.10", commit_of)
    assert found["gone"].state is State.FAILED
    assert "o/gone" in found["gone"].reason
    assert found["many"].version == "1.5"
    assert sorted(upstream.batches) == [8, BATCH]
    assert len(upstream.asked) == 2


async def test_github_without_a_token(upstream, http, tmp_path):
    """Releases by REST, unchanged ones for nothing; tags by Git's protocol."""
    upstream.projects["o/r"] = Project([("1.1", False, False), ("1.2b1", True, False)])
    write(tmp_path, "r", hub("o/r"))
    memory = Memory(tmp_path / "state" / "updates.json")
    found = await look(http, places(upstream), tmp_path, memory)
    assert found["r"].version == "1.1"
    memory.save()
    memory = Memory(tmp_path / "state" / "updates.json")
    assert memory.answer(f"{upstream.url}/api/repos/o/r/releases?per_page=100")[0]
    again = await look(http, places(upstream), tmp_path, memory)
    assert again["r"].version == "1.1"
    upstream.projects["o/r"].releases.insert(0, ("1.3", False, False))
    third = await look(http, places(upstream), tmp_path, memory)
    assert third["r"].version == "1.3"


async def test_a_reached_limit_is_said_and_nobody_is_asked_in_vain(upstream, http, tmp_path):
    upstream.limit = 0
    for number in range(30):
        write(tmp_path, f"r{number}", hub(f"o/r{number}"))
    found = await look(http, places(upstream), tmp_path)
    assert {one.state for one in found.values()} == {State.FAILED}
    reason = found["r0"].reason
    assert "until 2100-01-01 00:00 UTC" in reason
    assert "GH_TOKEN" in reason
    assert len(upstream.asked) <= 16


async def test_a_token_that_is_not_accepted(upstream, http, tmp_path):
    upstream.projects["o/r"] = Project([("1.1", False, False)])
    write(tmp_path, "r", hub("o/r"))
    found = await look(http, places(upstream, "wrong"), tmp_path)
    assert "does not accept the token" in found["r"].reason
    assert "wrong" not in found["r"].reason


async def test_release_monitoring(upstream, http, tmp_path):
    upstream.monitored["7"] = {
        "latest_version": "2.0",
        "stable_versions": ["2.0", "1.5"],
        "versions": ["2.1.beta1", "2.0", "1.5"],
    }
    write(tmp_path, "stable", "  release-monitor:\n    identifier: 7\n")
    more = "  enable-prerelease-tags: true\n  release-monitor:\n    identifier: 7\n"
    write(tmp_path, "beta", more)
    write(tmp_path, "none", "  release-monitor:\n    identifier: 8\n")
    more = "  release-monitor:\n    identifier: 7\n    version-filter-prefix: '1.'\n"
    write(tmp_path, "old", more)
    found = await look(http, places(upstream), tmp_path)
    assert found["stable"].version == "2.0"
    assert found["beta"].version == "2.1_beta1"
    assert found["old"].version == "1.5"
    assert "no project 8" in found["none"].reason
    assert sum(path == "/api/v2/versions/" for _, path in upstream.asked) == 2


async def test_git_tags(upstream, http, tmp_path):
    async with git_server(tmp_path / "srv") as server:
        folder = make_repository(server.root / "p.git")
        first = commit(folder)
        git(folder, "tag", "-a", "-m", "m", "v1_4_0")
        git(folder, "tag", "v2_0_0rc1")
        checkout = (
            "pipeline:\n  - uses: git-checkout\n    with:\n"
            f"      repository: {server.url}/p.git\n      tag: v${{{{package.version}}}}\n"
        )
        (tmp_path / "c").mkdir()
        update = "  version-separator: _\n  git:\n    strip-prefix: v\n"
        write(tmp_path / "c", "p", update, more=checkout)
        found = await look(http, places(upstream), tmp_path / "c")
        assert (found["p"].version, found["p"].name) == ("1.4.0", "v1_4_0")
        assert found["p"].commit == first


async def test_sequential_updates_take_the_next(upstream, http, tmp_path):
    upstream.monitored["7"] = {"stable_versions": ["1.1", "1.2", "2.0"], "versions": []}
    more = "  require-sequential: true\n  release-monitor:\n    identifier: 7\n"
    write(tmp_path, "r", more)
    found = await look(http, places(upstream), tmp_path)
    assert (found["r"].version, found["r"].newest) == ("1.1", "2.0")


async def test_filters_that_leave_nothing_are_a_failure(upstream, http, tmp_path):
    upstream.monitored["7"] = {"stable_versions": ["release 3"], "versions": []}
    write(tmp_path, "r", "  release-monitor:\n    identifier: 7\n")
    found = await look(http, places(upstream), tmp_path)
    assert "none of the 1 names" in found["r"].reason


async def test_schedules(upstream, http, tmp_path):
    upstream.monitored["7"] = {"stable_versions": ["1.1"], "versions": []}
    more = "  schedule:\n    period: weekly\n    reason: r\n  release-monitor:\n    identifier: 7\n"
    write(tmp_path, "r", more)
    requests, _ = read_requests([tmp_path])
    memory = Memory(tmp_path / "state.json")

    async def at(moment, **options):
        found = await check(http, places(upstream), requests, memory, now=moment, **options)
        return found[0].state

    assert await at(NOW) is State.NEW
    memory.save()
    memory = Memory(tmp_path / "state.json")
    assert await at(NOW + timedelta(days=6)) is State.SKIPPED
    assert await at(NOW + timedelta(days=6), always=True) is State.NEW
    assert await at(NOW + timedelta(days=14)) is State.NEW


def invoke(*arguments, environment):
    return CliRunner().invoke(cli, ["package", "updates", *map(str, arguments)], env=environment)


async def test_the_command(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    upstream.projects["o/r"] = Project([("1.1", False, False)])
    folder = tmp_path / "configs"
    folder.mkdir()
    write(folder, "r", "  manual: true\n" + hub("o/r"))
    write(folder, "same", hub("o/r"), version="1.1")
    write(folder, "off", "").write_text(
        "package:\n  name: off\n  version: 1\n  epoch: 0\n"
        "update:\n  enabled: false\n  exclude-reason: no upstream\n"
    )
    environment = {**upstream.environment, "GH_TOKEN": "t0ken", "PLIMSOLL_CACHE_DIR": str(tmp_path)}
    state = ["--state", tmp_path / "s.json"]

    async def run(*arguments):
        return await asyncio.to_thread(invoke, *arguments, environment=environment)

    result = await run(folder, *state)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "PACKAGE  VERSION  UPDATE",
        "r        1.0      1.1     to be made by a person",
    ]
    result = await run(folder, "--all", *state)
    assert "no upstream" in result.output
    assert "up to date" in result.output
    value = json.loads((await run(folder, "--json", *state)).output)
    states = {one["package"]: one["state"] for one in value}
    assert states == {"off": "skipped", "r": "new", "same": "current"}
    write(folder, "broken", "  github:\n    identifier: no-slash\n")
    result = await run(folder, *state)
    assert isinstance(result.exception, Error)
    assert "broken.yaml:6" in result.output
    assert "1.1" in result.output
    assert "1 of 4 packages" in result.exception.message


async def test_a_registry(upstream, http, tmp_path):
    async def tags(request):
        return web.json_response(
            {"name": "a/b", "tags": ["latest", "v1.9", "1.10", "sha256-x.sig"]}
        )

    async def ping(request):
        return web.Response()

    app = web.Application()
    app.router.add_get("/v2/", ping)
    app.router.add_get("/v2/a/b/tags/list", tags)
    async with TestServer(app) as server:
        update = f"  oci:\n    identifier: {server.host}:{server.port}/a/b\n"
        write(tmp_path, "r", update)
        found = await look(http, places(upstream), tmp_path)
    assert (found["r"].version, found["r"].name) == ("1.10", "1.10")
