"""Branches, commits and pull requests for new versions: a real Git server, and forges' APIs."""

from __future__ import annotations

import asyncio
import subprocess
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from git_server import commit, git, git_server, make_repository
from plimsoll.cli.main import cli
from plimsoll.errors import Error
from upstream_servers import upstream_server

pytestmark = pytest.mark.integration

CONFIG = """# A package.
package:
  name: {name}
  version: "1.0"   # upstream's
  epoch: 3
  dependencies:
    runtime: [{needs}]

update:
  enabled: true
{update}  release-monitor:
    identifier: {number}
"""


@pytest.fixture
async def world(tmp_path, monkeypatch):
    """A server with a repository of configurations, a clone of it, and upstream's APIs."""
    home = tmp_path / "home"
    home.mkdir()
    config = home / ".gitconfig"
    config.write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
    async with upstream_server() as upstream, git_server(tmp_path / "srv") as server:
        origin = make_repository(server.root / "o" / "configs.git")
        files = {
            "lib": CONFIG.format(name="lib", needs="", update="  shared: true\n", number=1),
            "app": CONFIG.format(name="app", needs='"lib>=1"', update="  manual: true\n", number=2),
            "tool": CONFIG.format(name="tool", needs="", update="", number=3),
        }
        for name, text in files.items():
            commit(origin, f"{name}.yaml", text)
        clone = tmp_path / "clone"
        url = f"{server.url}/o/configs.git"
        await asyncio.to_thread(git, tmp_path, "clone", "-q", url, str(clone))
        environment = {
            "HOME": str(home),
            "GIT_CONFIG_GLOBAL": str(config),
            "PLIMSOLL_CACHE_DIR": str(tmp_path / "cache"),
            "PLIMSOLL_RELEASE_MONITORING_URL": upstream.url,
            "GITHUB_SERVER_URL": server.url,
            "GITHUB_API_URL": f"{upstream.url}/api",
            "GH_TOKEN": upstream.token,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for number in (1, 2, 3):
            upstream.monitored[str(number)] = {"stable_versions": ["1.0"], "versions": []}
        yield SimpleNamespace(
            upstream=upstream, server=server, origin=origin, clone=clone, files=files
        )


async def run(world, *arguments, command="updates"):
    words = ["package", command, *map(str, arguments)]
    result = await asyncio.to_thread(CliRunner().invoke, cli, words)
    assert result.exit_code == 0, f"{result.output}\n{result.exception}"
    return result.output


def release(world, number, *versions):
    world.upstream.monitored[str(number)]["stable_versions"] = list(versions)


def heads(world):
    out = git(world.origin, "for-each-ref", "--format=%(refname:short)", "refs/heads/plimsoll")
    return out.split()


async def test_files(world):
    release(world, 3, "1.1")
    release(world, 2, "1.1")
    output = await run(world, world.clone, "--bump")
    assert "tool: 1.0 → 1.1" in output
    text = (world.clone / "tool.yaml").read_text()
    assert text == world.files["tool"].replace('"1.0"', '"1.1"').replace("epoch: 3", "epoch: 0")
    assert (world.clone / "app.yaml").read_text() == world.files["app"]


async def test_a_branch_and_a_commit_for_each_package(world):
    release(world, 1, "1.1")
    release(world, 3, "1.1")
    main = git(world.clone, "rev-parse", "HEAD")
    (world.clone / "tool.yaml").write_text(world.files["tool"] + "# not committed\n")
    await run(world, world.clone, "--bump", "--git")
    clone = world.clone
    assert git(clone, "rev-parse", "HEAD") == main
    assert git(clone, "status", "--porcelain").split() == ["M", "tool.yaml"]
    changed = {}
    for name in ("lib", "tool"):
        branch = f"plimsoll/update/{name}/1.1"
        assert git(clone, "rev-parse", f"{branch}^") == main
        changed[name] = git(clone, "diff", "--name-only", main, branch).split()
        assert "Plimsoll-Update:" in git(clone, "log", "-1", "--format=%B", branch)
    assert changed == {"lib": ["app.yaml", "lib.yaml"], "tool": ["tool.yaml"]}
    shown = git(clone, "diff", "-U0", main, "plimsoll/update/lib/1.1", "--", "app.yaml")
    assert "+  epoch: 4" in shown
    assert "not committed" not in git(clone, "show", "plimsoll/update/tool/1.1:tool.yaml")
    assert "as it was" in await run(world, clone, "--bump", "--git")


async def test_pull_requests(world):
    release(world, 3, "1.1")
    arguments = [world.clone, "--bump", "--git", "--pull-request"]
    output = await run(world, *arguments)
    pulls = world.upstream.pulls
    assert [(one["head"]["ref"], one["base"]["ref"]) for one in pulls] == [
        ("plimsoll/update/tool/1.1", "main")
    ]
    assert pulls[0]["html_url"] in output
    assert pulls[0]["title"] == "tool: 1.0 → 1.1"
    assert heads(world) == ["plimsoll/update/tool/1.1"]
    await run(world, *arguments)
    assert len(pulls) == 1
    # Somebody else's request from a repository of their own, under a name like ours.
    pulls.append({**pulls[0], "number": 2})
    pulls[1]["head"] = {"ref": "plimsoll/update/tool/0.9", "repo": {"full_name": "eve/configs"}}
    release(world, 3, "1.2")
    await run(world, *arguments)
    assert [one["state"] for one in pulls] == ["closed", "open", "open"]
    assert world.upstream.comments == [(1, f"Superseded by {pulls[2]['html_url']}.")]
    assert heads(world) == ["plimsoll/update/tool/1.2"]


async def test_merge_requests(world, monkeypatch):
    monkeypatch.delenv("GITHUB_SERVER_URL")
    monkeypatch.setenv("CI_SERVER_URL", world.server.url)
    monkeypatch.setenv("CI_API_V4_URL", f"{world.upstream.url}/api/v4")
    monkeypatch.setenv("GITLAB_TOKEN", world.upstream.token)
    arguments = [world.clone / "tool.yaml", "--git", "--pull-request"]
    await run(world, arguments[0], "1.1", *arguments[1:], command="bump")
    await run(world, arguments[0], "1.2", *arguments[1:], command="bump")
    pulls = world.upstream.pulls
    assert [(one["source_branch"], one["state"]) for one in pulls] == [
        ("plimsoll/update/tool/1.1", "closed"),
        ("plimsoll/update/tool/1.2", "opened"),
    ]
    assert heads(world) == ["plimsoll/update/tool/1.2"]


async def test_changes_that_are_taken_one_after_the_other_stay(world):
    text = world.files["tool"].replace("enabled: true", "enabled: true\n  require-sequential: true")
    (world.clone / "tool.yaml").write_text(text)
    git(world.clone, "commit", "-q", "-a", "-m", "sequential")
    await asyncio.to_thread(git, world.clone, "push", "-q", "origin", "main:next")
    arguments = ["--git", "--pull-request", "--base", "next"]
    for version in ("1.1", "1.2"):
        await run(world, world.clone / "tool.yaml", version, *arguments, command="bump")
    assert [one["state"] for one in world.upstream.pulls] == ["open", "open"]
    assert world.upstream.pulls[0]["base"]["ref"] == "next"


async def test_dependents(world):
    output = await run(
        world, world.clone / "lib.yaml", "2.0", "--dependents", world.clone, command="bump"
    )
    assert "built again: app" in output
    assert "epoch: 4" in (world.clone / "app.yaml").read_text()


async def test_signed_commits(world, tmp_path):
    key = tmp_path / "key"
    await asyncio.to_thread(_keygen, key)
    git(world.clone, "config", "gpg.format", "ssh")
    git(world.clone, "config", "user.signingkey", str(key))
    git(world.clone, "config", "commit.gpgsign", "true")
    await run(world, world.clone / "tool.yaml", "1.1", "--git", command="bump")
    raw = git(world.clone, "cat-file", "commit", "plimsoll/update/tool/1.1")
    assert "BEGIN SSH SIGNATURE" in raw


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--push"], "add --git"),
        (["--git", "--base", "none"], "no branch 'none'"),
        (["--git", "--pull-request"], "neither GitHub nor GitLab"),
    ],
)
async def test_what_cannot_be_done(world, monkeypatch, arguments, said):
    monkeypatch.delenv("GITHUB_SERVER_URL")
    words = ["package", "bump", str(world.clone / "tool.yaml"), "1.1", *arguments]
    result = await asyncio.to_thread(CliRunner().invoke, cli, words)
    assert isinstance(result.exception, Error)
    assert said in str(result.exception)


async def test_no_repository(world, tmp_path):
    path = tmp_path / "tool.yaml"
    path.write_text(world.files["tool"])
    words = ["package", "bump", str(path), "1.1", "--git"]
    result = await asyncio.to_thread(CliRunner().invoke, cli, words)
    assert "is in no Git repository" in str(result.exception)


def _keygen(path):
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)
