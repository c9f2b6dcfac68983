"""Sources of packages: signed by named people, fetched with logins that no step sees, offline."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import tarfile
from types import SimpleNamespace

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from git_server import commit, git, git_server, make_repository
from plimsoll.cli.main import cli
from plimsoll.errors import Error

pytestmark = pytest.mark.integration

CONFIG = """package:
  name: hello
  version: "1.0"
  epoch: 0
  description: d
  copyright:
    - license: MIT
pipeline:
  - uses: git-checkout
    with:
      repository: {url}
      tag: v${{{{package.version}}}}
      expected-commit: {commit}
      destination: src
  - runs: |
      mkdir -p "${{{{targets.destdir}}}}/usr/share"
      cp src/file "${{{{targets.destdir}}}}/usr/share/hello"
      env > "${{{{targets.destdir}}}}/usr/share/env"
"""


@pytest.fixture
async def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "apk-cache"))
    key = tmp_path / "ada"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", str(key)]
    await asyncio.to_thread(subprocess.run, command, check=True)
    async with git_server(tmp_path / "srv") as server:
        pairs = [("gpg.format", "ssh"), ("user.signingkey", str(key))]
        folder = make_repository(server.root / "private" / "hello.git", *pairs)
        number = commit(folder, "file", "hello")
        git(folder, "tag", "-s", "-m", "one", "v1.0")
        server.logins["private"] = "ada:s3cret"
        url = f"{server.url}/private/hello.git"
        config = tmp_path / "hello.yaml"
        config.write_text(CONFIG.format(url=url, commit=number))
        logins = tmp_path / "logins"
        logins.write_text(server.url.replace("://", "://ada:s3cret@") + "\n")
        rules = tmp_path / "rules.yaml"
        rule = {
            "repository": f"{server.url}/private/*",
            "requireSigned": {
                "object": "tag",
                "people": [{"name": "Ada", "sshKeys": [key.with_suffix(".pub").read_text()]}],
            },
        }
        rules.write_text(yaml.safe_dump({"sources": [rule]}))
        yield SimpleNamespace(
            server=server, folder=folder, number=number, config=config, logins=logins,
            rules=rules, url=url, path=tmp_path,
        )  # fmt: skip


async def run(command, *arguments, fails=False):
    words = ["package", command, *map(str, arguments)]
    result = await asyncio.to_thread(CliRunner().invoke, cli, words)
    if fails:
        assert isinstance(result.exception, Error), result.output
        return str(result.exception)
    assert result.exit_code == 0, f"{result.output}\n{result.exception}"
    return result.output


def build_options(world):
    return [world.config, "--runner", "host", "--out-dir", world.path / "out"]


def content(world, name):
    apk = next((world.path / "out").rglob("hello-1.0-r0.apk"))
    with tarfile.open(apk, ignore_zeros=True) as tar:
        return tar.extractfile(name).read().decode()


async def test_a_login_reaches_no_step_and_no_package(world):
    said = await run("build", *build_options(world), "--git-credentials", world.logins)
    assert content(world, "usr/share/hello") == "hello"
    for text in (said, content(world, "usr/share/env"), content(world, ".melange.yaml")):
        assert "s3cret" not in text
    apk = next((world.path / "out").rglob("*.apk")).read_bytes()
    assert b"s3cret" not in apk


async def test_without_a_login_there_is_nothing(world):
    said = await run("build", *build_options(world), fails=True)
    assert "git-checkout" in said


async def test_who_signed_stands_in_sbom_and_provenance(world):
    options = ["--git-credentials", world.logins, "--signed-sources", world.rules]
    said = await run("build", *build_options(world), *options, "--generate-provenance")
    assert "the tag is signed by Ada" in said
    sbom = json.loads(content(world, "var/lib/db/sbom/hello-1.0-r0.spdx.json"))
    source = next(one for one in sbom["packages"] if one["primaryPackagePurpose"] == "SOURCE")
    assert f"(commit {world.number}) is signed by Ada (ssh SHA256:" in source["sourceInfo"]
    path = next((world.path / "out").rglob("*.intoto.json"))
    found = json.loads(path.read_text())["predicate"]["buildDefinition"]["resolvedDependencies"]
    signer = next(one["annotations"]["signer"] for one in found if "annotations" in one)
    assert (signer["name"], signer["object"], signer["commit"]) == ("Ada", "tag", world.number)


async def test_a_source_that_is_not_signed_is_not_built(world):
    git(world.folder, "tag", "-f", "-a", "-m", "one", "v1.0")
    options = ["--git-credentials", world.logins, "--signed-sources", world.rules]
    said = await run("build", *build_options(world), *options, fails=True)
    assert "the tag v1.0 is not signed" in said
    assert not (world.path / "out").exists()


async def test_offline(world):
    cache = world.path / "cache"
    options = ["--git-credentials", world.logins, "--signed-sources", world.rules]
    output = await run("update-cache", world.config, "--cache-dir", cache, *options)
    assert str(cache / "git") in output
    world.server.requests.clear()
    again = await run("update-cache", world.config, "--cache-dir", cache)
    assert "there already" in again
    await run("build", *build_options(world), "--offline", "--cache-dir", cache)
    assert not world.server.requests
    assert content(world, "usr/share/hello") == "hello"


async def test_a_new_version_must_be_signed_too(world):
    number = commit(world.folder, "file", "more")
    git(world.folder, "tag", "-s", "-m", "two", "v1.1")
    commit(world.folder, "file", "evil")
    git(world.folder, "tag", "-a", "-m", "three", "v1.2")
    options = ["--git-credentials", world.logins, "--signed-sources", world.rules]
    words = ["package", "bump", str(world.config), "1.1", *map(str, options)]
    result = await asyncio.to_thread(CliRunner().invoke, cli, words)
    assert "The tag is signed by Ada." in result.output
    assert f"expected-commit: {number}" in world.config.read_text()
    before = world.config.read_text()
    said = await run("bump", world.config, "1.2", *options, fails=True)
    assert "the tag v1.2 is not signed" in said
    assert world.config.read_text() == before


async def test_two_tags_of_one_repository(world):
    number = commit(world.folder, "file", "more")
    git(world.folder, "tag", "v1.0.1")
    text = world.config.read_text()
    step = text.partition("pipeline:\n")[2].partition("  - runs")[0]
    second = step.replace("v${{package.version}}", "v1.0.1").replace(world.number, number)
    third = second.replace("      tag: v1.0.1\n", "      branch: main\n")
    steps = step + second.replace("src", "two") + third.replace("src", "three")
    world.config.write_text(text.replace(step, steps))
    cache = world.path / "cache"
    options = ["--cache-dir", cache, "--git-credentials", world.logins]
    await run("update-cache", world.config, *options)
    await run("build", *build_options(world), "--offline", "--cache-dir", cache)
    assert content(world, "usr/share/hello") == "hello"


async def test_a_download_with_a_login(world):
    data = b"data"

    async def answer(request):
        given = request.headers.get("Authorization")
        return web.Response(body=data) if given else web.Response(status=401)

    app = web.Application()
    app.router.add_get("/data.bin", answer)
    async with TestServer(app) as server:
        uri = str(server.make_url("/data.bin"))
        digest = hashlib.sha256(data).hexdigest()
        fetch = (
            f"  - uses: fetch\n    with:\n      uri: {uri}\n      expected-sha256: {digest}\n"
            "      extract: false\n"
        )
        text = world.config.read_text()
        world.config.write_text(text.replace("pipeline:\n", f"pipeline:\n{fetch}"))
        with world.logins.open("a") as file:
            file.write(f"http://ada:other@127.0.0.1:{server.port}\n")
        cache = world.path / "cache"
        options = ["--cache-dir", cache, "--git-credentials", world.logins]
        await run("update-cache", world.config, *options)
        assert (cache / f"sha256:{digest}").read_bytes() == data


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--offline", "--network"], "contradict"),
        (["--offline", "--signed-sources", "rules.yaml"], "update-cache"),
        (["--signed-sources", "bad.yaml"], "bad.yaml:2"),
    ],
)
async def test_options_that_make_no_sense(world, options, said):
    (world.path / "bad.yaml").write_text("sources:\n  - repository: x\n")
    assert said in await run("build", *build_options(world), *options, fails=True)
