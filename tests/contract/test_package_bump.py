"""New versions of configurations, against a server that has the sources."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
import re

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from git_server import commit, git, git_server, make_repository
from plimsoll.builder.package import bump as engine
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.load import load_text
from plimsoll.cli.main import cli
from plimsoll.http import Http, HttpError
from shared_data import DATA, shared

CASES = DATA / "melange/bump/expected.json"


@pytest.fixture
async def upstream():
    data = (shared("melange") / "bump/cheese-7.0.1.tar.gz").read_bytes()

    async def answer(request):
        return web.Response(body=data)

    app = web.Application()
    app.router.add_get("/wine/cheese/cheese-7.0.1.tar.gz", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def _bump(text, version, commit=""):
    plan = engine.plan(text, "x.yaml", version)

    async def commit_of(_):
        return commit

    async with Http() as http:
        return await engine.apply(text, "x.yaml", plan, http=http, commit_of=commit_of)


@pytest.mark.parametrize(
    "case",
    json.loads(CASES.read_text())["cases"] if CASES.exists() else [],
    ids=lambda c: c["before"],
)
async def test_bump(case, upstream):
    before = (shared("melange") / case["before"]).read_text().replace("REPLACE_ME", upstream)
    wanted = case["bump_to"]
    after = await _bump(before, wanted["version"], wanted.get("expected_commit", ""))
    for text in case["after"].get("contains", []):
        assert text in after
    config = load_text(after, "x.yaml").config
    assert config.package.version == case["after"]["package.version"]
    assert config.package.epoch == case["after"]["package.epoch"]
    commit = case["after"].get("pipeline[0].with.expected-commit")
    if commit:
        assert config.pipeline[0].with_["expected-commit"] == commit
    changed = [
        line[2:].strip().split(":")[0]
        for line in difflib.ndiff(before.splitlines(), after.splitlines())
        if line.startswith("+ ")
    ]
    assert set(changed) <= {"version", "epoch", "expected-sha256", "expected-commit"}


@pytest.mark.parametrize("name", ["bash.yaml", "gcc.yaml", "icu.yaml", "openjdk-21.yaml"])
async def test_layout_of_real_files_stays(name):
    before = (shared("wolfi") / name).read_text()
    commit = "0123456789abcdef0123456789abcdef01234567"
    version = "999.1"
    plan = engine.plan(before, name, version)
    plan = engine.Bump(plan.version, plan.epoch, (), plan.checkouts)

    async def commit_of(_):
        return commit

    async with Http() as http:
        after = await engine.apply(before, name, plan, http=http, commit_of=commit_of)
    old, new = before.splitlines(), after.splitlines()
    assert len(old) == len(new)
    different = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert 2 <= len(different) <= 2 + len(plan.checkouts)
    for a, b in different:
        assert re.sub(r":.*", "", a) == re.sub(r":.*", "", b)
        assert ("#" in a) == ("#" in b)


async def test_the_same_version_gets_the_next_epoch():
    before = "package:\n  name: a # its name\n  version: 1.10\n  epoch: 4   # why\n"
    after = await _bump(before, "1.10")
    assert after == 'package:\n  name: a # its name\n  version: "1.10"\n  epoch: 5   # why\n'


async def test_a_missing_epoch_is_added():
    before = "package:\n  name: a\n  version: 1.2 # now\n"
    after = await _bump(before, "1.3")
    assert after == 'package:\n  name: a\n  version: "1.3" # now\n  epoch: 0\n'


async def test_only_checkouts_of_the_version_get_the_commit():
    step = "  - uses: git-checkout\n    with:\n      repository: {}\n      tag: {}\n" + (
        "      expected-commit: " + "0" * 40 + "\n"
    )
    before = "package:\n  name: a\n  version: 1.2\n  epoch: 3\n\npipeline:\n"
    before += step.format("x", "v${{package.version}}") + step.format("y", "fixed")
    after = await _bump(before, "1.3", "f" * 40)
    config = load_text(after, "x.yaml").config
    assert [s.with_["expected-commit"][0] for s in config.pipeline] == ["f", "0"]


@pytest.mark.parametrize(
    ("text", "version", "said"),
    [
        ("package:\n  name: a\n  version: 1\n", "1 2", "is no version"),
        ("package:\n  name: a\n", "1", r"x.yaml:1:1: package.version is missing"),
        ("vars: {v: '1'}\npackage:\n  name: a\n  version: ${{vars.v}}\n", "2", "made of variables"),
    ],
)
async def test_what_cannot_be_bumped(text, version, said):
    with pytest.raises(PackageConfigError, match=said):
        await _bump(text, version)


async def test_a_source_that_is_not_there_changes_nothing(upstream, tmp_path):
    text = (shared("melange") / "bump/float_issue.yaml").read_text()
    with pytest.raises(HttpError, match="404"):
        await _bump(text.replace("REPLACE_ME", upstream), "8.0")


async def test_commit_of_a_tag_is_asked_from_the_repository(tmp_path):
    async with git_server(tmp_path / "srv") as server:
        repository = make_repository(server.root / "a.git")
        number = commit(repository)
        git(repository, "tag", "-a", "-m", "two", "v2.0")
        config = tmp_path / "a.yaml"
        config.write_text(
            "package:\n  name: a\n  version: 1.0\n  epoch: 1\n\npipeline:\n"
            f"  - uses: git-checkout\n    with:\n      repository: {server.url}/a.git\n"
            f"      tag: v${{{{package.version}}}}\n      expected-commit: {'0' * 40}\n"
        )
        command = ["package", "bump", str(config)]
        result = await asyncio.to_thread(CliRunner().invoke, cli, [*command, "2.0"])
        assert result.exit_code == 0, result.output
        assert f"expected-commit: {number}" in config.read_text()
        digest = hashlib.sha256(config.read_bytes()).digest()
        result = await asyncio.to_thread(CliRunner().invoke, cli, [*command, "3.0"])
        assert "has no tag v3.0" in str(result.exception)
        assert hashlib.sha256(config.read_bytes()).digest() == digest


def test_repositories_on_this_machine_are_not_asked(tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text(
        "package:\n  name: a\n  version: 1.0\n  epoch: 1\n\npipeline:\n"
        "  - uses: git-checkout\n    with:\n      repository: file:///etc\n"
        f"      tag: v${{{{package.version}}}}\n      expected-commit: {'0' * 40}\n"
    )
    result = CliRunner().invoke(cli, ["package", "bump", str(config), "2.0"])
    assert "neither https nor http" in str(result.exception)
