"""Tokens, forges, what is remembered, and what is asked for a configuration."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.load import load_text
from plimsoll.builder.updates.dependents import needed, offered
from plimsoll.builder.updates.forge import _parts, forge_of
from plimsoll.builder.updates.memory import Memory
from plimsoll.builder.updates.model import Service, UpdateError
from plimsoll.builder.updates.plan import plan
from plimsoll.builder.updates.tokens import github_token, gitlab_token
from plimsoll.http import Http

HUB = ("https://github.com", "https://api.github.com")


def token(environ, credentials=None):
    return github_token(environ, credentials or GitCredentials(), *HUB)


def test_where_a_token_comes_from(tmp_path):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine api.github.com login x password from-netrc\n")
    logins = GitCredentials.read(netrc)
    home = {"HOME": str(tmp_path)}
    assert token(home) == ""
    assert token(home, logins) == "from-netrc"
    folder = tmp_path / ".config" / "gh"
    folder.mkdir(parents=True)
    (folder / "hosts.yml").write_text("github.com:\n  oauth_token: from-gh\n  user: x\n")
    assert token(home, logins) == "from-gh"
    assert token({**home, "GITHUB_TOKEN": "second"}, logins) == "second"
    assert token({**home, "GITHUB_TOKEN": "second", "GH_TOKEN": " first\n"}) == "first"
    assert gitlab_token({"GITLAB_TOKEN": "lab"}, GitCredentials(), "https://gitlab.com") == "lab"
    assert gitlab_token({}, GitCredentials(), "https://gitlab.com") == ""


@pytest.mark.parametrize("text", ["", "[]", "github.com: x", "github.com:\n  oauth_token: 7"])
def test_files_of_gh_without_a_token(tmp_path, text):
    (tmp_path / "hosts.yml").write_text(text)
    assert token({"GH_CONFIG_DIR": str(tmp_path)}) == ""


def test_what_is_no_token(tmp_path):
    with pytest.raises(UpdateError, match="the token in GH_TOKEN is none") as caught:
        token({"GH_TOKEN": "two words"})
    assert "two words" not in str(caught.value)
    (tmp_path / "hosts.yml").write_text("{")
    with pytest.raises(UpdateError, match="cannot be read"):
        token({"GH_CONFIG_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://github.com/o/r.git", ("github.com", "o/r")),
        ("https://x:y@github.com/o/r/", ("github.com", "o/r")),
        ("git@github.com:o/r.git", ("github.com", "o/r")),
        ("ssh://git@gitlab.example:2222/a/b/c.git", ("gitlab.example", "a/b/c")),
        ("http://127.0.0.1:8080/o/r", ("127.0.0.1:8080", "o/r")),
    ],
)
def test_urls_of_remotes(url, parts):
    assert _parts(url) == parts


@pytest.mark.parametrize(
    ("url", "environ", "said"),
    [
        ("https://github.com/o/r", {"HOME": "/none"}, "no token for github.com"),
        ("https://gitlab.example/o/r", {}, "no token for gitlab.example"),
        ("https://git.example/o/r", {}, "neither GitHub nor GitLab"),
    ],
)
async def test_forges_that_cannot_be_used(url, environ, said):
    async with Http() as http:
        with pytest.raises(UpdateError, match=said):
            forge_of(http, url, environ, GitCredentials())


NOW = datetime(2026, 5, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"version": 9}',
        '{"version": 1, "looked": [], "answers": 7}',
        '{"version": 1, "looked": {"a": 7}, "answers": {"u": {"etag": 1}}}',
        '{"version": 1, "answers": {"u": {"etag": "e", "content": [["a", "b"]]}}}',
    ],
)
def test_files_that_remember_nothing(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_text(content)
    memory = Memory(path)
    assert memory.due("a", "weekly", NOW)
    assert memory.answer("u") == ("", None)


def test_what_is_remembered(tmp_path):
    path = tmp_path / "new" / "state.json"
    memory = Memory(path)
    memory.looked("a", NOW)
    memory.remember("u", '"e"', [["1", "", False]])
    memory.remember("v", "", [])
    memory.save()
    assert json.loads(path.read_text())["version"] == 1
    memory = Memory(path)
    assert memory.answer("u") == ('"e"', [["1", "", False]])
    assert memory.answer("v") == ("", None)
    assert not memory.due("a", "daily", NOW + timedelta(hours=22))
    assert memory.due("a", "daily", NOW + timedelta(hours=23, minutes=30))
    assert memory.due("a", "daily", NOW - timedelta(days=1)), "a clock that went back"
    assert memory.due("a", "", NOW)
    assert memory.due("b", "monthly", NOW)


HEAD = 'package:\n  name: a\n  version: "1"\n  epoch: 0\nupdate:\n  enabled: true\n'


def request(text):
    return plan(load_text(text, "a.yaml"), Path("a.yaml"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "  github:\n    identifier: a/b\n  git: {strip-prefix: v}\n",
            "several places: github, git",
        ),
        ("  github:\n    identifier: https://github.com/a/b\n", "no repository on GitHub"),
        ("  release-monitor:\n    identifier: curl\n", "no project of release-monitoring"),
        ("  git:\n    strip-prefix: v\n", "there is none"),
        ("  ignore-regex-patterns: ['(']\n  release-monitor: {identifier: 7}\n", "no regular expr"),
        (
            "  git: {}\npipeline:\n  - {uses: git-checkout, with: {repository: 'git://x/y'}}\n",
            "cannot be asked for its tags",
        ),
    ],
)
def test_sections_that_make_no_sense(text, said):
    with pytest.raises(PackageConfigError, match=said) as caught:
        request(HEAD + text)
    assert caught.value.message.startswith("a.yaml:5")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no place"),
        ("  manual: true\n", "a person makes"),
    ],
)
def test_sections_that_ask_nothing(text, reason):
    found = request(HEAD + text)
    assert found.query is None
    assert reason in found.reason
    assert request(HEAD.partition("update:")[0]).reason == "it has no 'update'"
    off = HEAD.replace("true", "false") + "  exclude-reason: no more\n"
    assert request(off).reason == "no more"


def test_other_names_of_the_same():
    found = request(HEAD + "  crane:\n    identifier: example.org/a/b\n")
    assert (found.query.service, found.query.target) == (Service.OCI, "example.org/a/b")


def test_dependents():
    library = load_text(
        HEAD + "  shared: true\nsubpackages:\n  - name: a-dev\n    dependencies:\n"
        "      provides: [virtual=1]\n",
        "a.yaml",
    ).config
    assert offered(library) == {"a", "a-dev", "virtual"}
    user = load_text(
        HEAD.replace("name: a", "name: b")
        + "environment:\n  contents:\n    packages: ['a-dev~1', '!other', '${{x}}']\n"
        "pipeline:\n  - pipeline:\n      - needs: {packages: [c>2]}\n        runs: 'true'\n",
        "b.yaml",
    ).config
    assert {"a-dev", "c"} <= needed(user)
    assert "other" not in needed(user)
