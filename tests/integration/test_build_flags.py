"""Options that people know from other tools, each with what it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from apk_repository import Repository
from plimsoll.builder.vcs import plain_url
from plimsoll.cli.main import cli
from plimsoll.cli.main import main as entry
from plimsoll.errors import Error
from plimsoll.oci.layout import Layout
from registries import distribution_registry

pytestmark = pytest.mark.integration


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIMSOLL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    repository = Repository(tmp_path / "repo")
    repository.add("base", {"etc/base": "b"}, origin="source")
    repository.write()
    assert repository.key_file.exists()
    (tmp_path / "image.yaml").write_text(
        f"contents:\n  keyring: [{repository.key_file}]\n  repositories: [{repository.root}]\n"
        "  packages: [base]\narchs: [amd64]\n"
    )
    (tmp_path / "bare.yaml").write_text("contents: {packages: [base]}\narchs: [amd64]\n")
    return tmp_path


def run(*arguments, status=0):
    result = CliRunner().invoke(cli, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def image(folder, *arguments):
    folder.mkdir()
    run("build", *arguments, "x:1", str(folder))
    layout = Layout.open(folder)
    index = layout.read_manifest(layout.resolve())
    manifest = layout.read_manifest(index.manifests[0])
    with tarfile.open(layout.blob_path(manifest.layers[0].digest)) as tar:
        return index, {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}


@pytest.mark.parametrize("place", ["before", "after"])
def test_workdir(desk, monkeypatch, place):
    monkeypatch.chdir("/")
    before, after = (("-C", str(desk)), ()) if place == "before" else ((), ("-C", str(desk)))
    assert run(*before, "show-packages", *after, "image.yaml").stdout == "base 1.0-r0\n"
    result = run("-C", "/nowhere", "version", status=2)
    assert "No such file" in result.output


def test_log_level(desk):
    def said(level):
        return run("--log-level", level, "build", "image.yaml", "x:1", f"{level}.tar").stderr

    assert "wrote" in said("info")
    assert "wrote" in said("INFO")
    assert said("warn") == said("error") == ""
    (desk / "image.yaml").write_text("contents: {packages: [base]}\nnonsense: 1\n")
    with pytest.raises(Error, match="nonsense"):
        run("show-config", "image.yaml", "--log-level", "info")
    result = CliRunner().invoke(cli, ["show-config", "image.yaml", "--log-level", "debug"])
    assert "Traceback" in result.output


def test_flags_with_values(desk):
    run("build", "image.yaml", "x:1", "a.tar", "--sbom=false", "--offline=false")
    assert not list(desk.glob("sbom-*"))
    run("build", "image.yaml", "x:1", "b.tar", "--sbom=true")
    assert list(desk.glob("sbom-*"))


def test_formats_of_packages(desk):
    def shown(form):
        return run("show-packages", "image.yaml", "--format", form).stdout

    assert shown("name-version") == "base 1.0-r0\n"
    assert shown("packagelock") == "- base=1.0-r0\n"
    assert shown("{{.Name}}={{ .Version }}") == "base=1.0-r0\n"
    assert shown("{name} {origin} {arch}") == "base source x86_64\n"
    url = f"{desk}/repo/x86_64/base-1.0-r0.apk"
    assert shown("name=version-source") == f"base=1.0-r0 {url}\n"
    assert shown("name-(version)") == "base (1.0-r0)\n"
    assert shown("packagelock-source") == f"- base=1.0-r0 # {url}\n"
    assert shown("{{.Source}}") == f"{url}\n"
    for wrong in ("{nope}", "{name.x}", "{0}", "{name:d}", "{{.Name | x}}"):
        told = run("show-packages", "image.yaml", "--format", wrong, status=2).output
        assert "fields are" in told, wrong


def test_packages_of_several_architectures(desk):
    """What all have in common is said once; in the compatible mode each is said as apko does."""
    options = ("show-packages", "image.yaml", "--arch", "amd64,arm64")
    assert run(*options).stdout == "base 1.0-r0\n"
    assert run(*options, "--compat", "apko").stdout == "base 1.0-r0\n" * 2


def test_a_shown_configuration_is_one(desk):
    text = (desk / "image.yaml").read_text()
    (desk / "image.yaml").write_text(
        text + "compression: zstd\nenvironment: {A: 'yes', B: '0o17', C: '1e3', D: \"x\\ny\"}\n"
        "paths: [{path: /x, type: directory, permissions: 0o755}]\ncmd: 'a: b #c'\n"
    )
    shown = run("show-config", "image.yaml").stdout
    (desk / "again.yaml").write_text(shown)
    assert run("show-config", "again.yaml").stdout == shown
    as_json = run("show-config", "image.yaml", "--json").stdout
    (desk / "again.json").write_text(as_json)
    assert run("show-config", "again.json").stdout == shown
    first, second = ([], [])
    for name, digests in (("image.yaml", first), ("again.yaml", second)):
        digests.append(run("build", name, "x:1", "a.tar", "--no-vcs").stdout)
    assert first == second


def test_the_first_second_of_1970_is_a_time(desk, monkeypatch):
    def created():
        told = json.loads(run("build", "image.yaml", "x:1", "a.tar", "--json").stdout)
        return told["images"][0]["created"]

    newest = created()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert created() == 0 != newest
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert created() == newest
    for wrong in ("x", "-1", "1.5", "9" * 20):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
        with pytest.raises(Error, match="SOURCE_DATE_EPOCH"):
            created()


def test_least_times(desk):
    def created(date):
        told = run("build", "image.yaml", "x:1", "a.tar", "--json", "--build-date", date).stdout
        return json.loads(told)["images"][0]["created"]

    assert created("2100-01-01T00:00:00Z") == created("2100-01-01") == 4_102_444_800
    assert created("0001-01-01T00:00:00Z") == created("1970-01-01T00:00:00+14:00") > 0
    for wrong in ("yesterday", "9999-12-31T23:59:59-14:00", "2026-13-01"):
        run("build", "image.yaml", "x:1", "a.tar", "--build-date", wrong, status=2)


def test_lists_of_annotations(desk):
    index, _ = image(desk / "out", "image.yaml", "--annotations", 'a:1,"b:2, 3"')
    assert {name: index.annotations[name] for name in "ab"} == {"a": "1", "b": "2, 3"}
    for wrong in ("a:1,a:2", "a", ":b"):
        run("build", "image.yaml", "x:1", "a.tar", "--annotations", wrong, status=2)


def test_references_of_what_was_published(desk):
    """Every image, then the index, whose reference is the result."""
    with distribution_registry() as registry:
        name = f"{registry.host}/team/app"
        told = run(
            "publish", "image.yaml", f"{name}:1", "--arch", "amd64,arm64", "--image-refs", "refs"
        ).stdout
        *images, index = (desk / "refs").read_text().splitlines()
        assert index == told.strip()
        assert len(images) == 2
        for reference in (*images, index):
            assert reference.startswith(f"{name}@sha256:")
            assert run("diff", reference, f"{name}:1").stdout
    for command in (("publish", "image.yaml", told.strip()), ("build", "image.yaml", index, "x")):
        assert "give a tag, no digest" in run(*command, status=2).output


def test_clean_says_first_what_it_would_do(desk):
    run("build", "image.yaml", "x:1", "a.tar")
    assert run("clean", "--dry-run").stdout.startswith("would remove")
    assert run("show-packages", "image.yaml", "--offline").stdout
    assert run("clean").stdout.startswith("removed")


def git(folder, *arguments):
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments],
        check=True,
        capture_output=True,
    )


def test_version_control(desk):
    """The remote and commit of the configuration, without its login; unless not wanted."""
    _, files = image(desk / "none", "image.yaml")
    assert "vcs-url" not in json.loads(files["etc/plimsoll.json"])
    git(desk, "init", "-q")
    git(desk, "add", "image.yaml")
    git(desk, "commit", "-q", "-m", "x")
    git(desk, "remote", "add", "origin", "https://me:secret@git.example/a/b.git")
    _, files = image(desk / "one", "image.yaml")
    url = json.loads(files["etc/plimsoll.json"])["vcs-url"]
    assert url.startswith("https://git.example/a/b.git@")
    assert len(url.partition("@")[2]) == 40
    _, files = image(desk / "two", "image.yaml", "--vcs=false")
    assert "vcs-url" not in json.loads(files["etc/plimsoll.json"])
    git(desk, "commit", "-q", "--allow-empty", "-m", "y")
    _, files = image(desk / "three", "image.yaml")
    assert json.loads(files["etc/plimsoll.json"])["vcs-url"] != url


def test_remotes_as_urls():
    assert plain_url("git@git.example:a/b.git") == "ssh://git.example/a/b.git"
    assert plain_url("ssh://git@git.example:22/a") == "ssh://git.example:22/a"
    assert plain_url("/srv/repo") == "/srv/repo"
    assert plain_url("https://u:p@ss@git.example/a?token=x#y") == "https://git.example/a"
    assert not plain_url("https://[git.example/a")


def test_a_lock_needs_no_further_options(desk):
    """What was appended for the lock is in the lock: the image is the same without it."""
    key, url = str(desk / "repo/test.rsa.pub"), str(desk / "repo")
    run("lock", "bare.yaml", "-k", key, "-r", url, "--output", "bare.lock.json")
    lock = ("--lockfile", "bare.lock.json")
    first, files = image(desk / "one", "bare.yaml", *lock, "-k", key, "-r", url)
    second, _ = image(desk / "two", "bare.yaml", *lock)
    assert first.manifests == second.manifests
    assert "etc/apk/keys/test.rsa.pub" in files
    assert json.loads(files["etc/plimsoll.json"])["contents"]["packages"] == ["base=1.0-r0"]


def test_a_lock_is_of_one_configuration(desk):
    """Whoever adds a package must not get an image without it."""
    run("lock", "image.yaml")
    text = (desk / "image.yaml").read_text()
    (desk / "image.yaml").write_text(text.replace("[base]", "[base, more]"))
    build = ("build", "image.yaml", "x:1", "a.tar", "--lockfile", "image.lock.json")
    with pytest.raises(Error, match=r"image\.lock\.json was made of another image\.yaml"):
        run(*build)
    (desk / "image.yaml").write_text(text)
    assert run(*build).stdout


def test_a_configuration_may_come_through_a_pipe(desk):
    text = (desk / "image.yaml").read_text().encode()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("plimsoll")), "show-packages", "/dev/stdin"],
        input=text,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == b"base 1.0-r0\n"


def test_what_may_pass_is_tried_again(monkeypatch, capsys):
    class PassingError(Error):
        retryable = True

    def fail(**_):
        raise PassingError("the server is busy")

    monkeypatch.setattr("plimsoll.cli.main.cli", fail)
    with pytest.raises(SystemExit):
        entry()
    assert "hint: try again" in capsys.readouterr().err


def test_dot_as_a_page(desk, tmp_path):
    """The page is there until it is ended, and only for pages of this machine."""
    command = [str(Path(sys.executable).with_name("plimsoll")), "dot", "image.yaml", "--web"]
    env = {**os.environ, "BROWSER": "true", "PATH": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(url) as answer:
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert b"graph.js" in answer.read()
            with urllib.request.urlopen(f"{url}graph.json") as answer:
                data = json.load(answer)
            assert data["archs"]["amd64"]["packages"] == [{"name": "base", "version": "1.0-r0"}]
            assert data["archs"]["amd64"]["why"]["base"] == [
                {"from": "", "needs": "base", "to": "base"}
            ]
            foreign = urllib.request.Request(f"{url}graph.json", headers={"Host": "evil.example"})
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(foreign)
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{url}server.py")
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_healthcheck(desk):
    text = (desk / "image.yaml").read_text()
    (desk / "more.yaml").write_text(
        "include: image.yaml\nhealthcheck: {command: \"/bin/app --say 'a b'\", interval: 1m30s}\n"
    )
    (desk / "out").mkdir()
    run("build", "more.yaml", "x:1", "out")
    layout = Layout.open(desk / "out")
    manifest = layout.read_manifest(layout.read_manifest(layout.resolve()).manifests[0])
    config = json.loads(layout.read_blob(manifest.config.digest))["config"]
    assert config["Healthcheck"] == {
        "Test": ["CMD", "/bin/app", "--say", "a b"],
        "Interval": 90 * 10**9,
        "Timeout": 30 * 10**9,
        "Retries": 3,
    }
    (desk / "bad.yaml").write_text(f"{text}healthcheck: {{interval: 1s}}\n")
    with pytest.raises(Error, match="one of command, shell-fragment"):
        run("show-config", "bad.yaml")
