from __future__ import annotations

import hashlib
import os
import shutil
import subprocess

import pytest

from plimsoll.builder.cli.packagevalues import (
    configuration_origin,
    read_environment,
    source_date_epoch,
)
from plimsoll.builder.package import filecaps
from plimsoll.builder.package.compile import Source
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.processes import sealed
from plimsoll.builder.package.progress import Progress
from plimsoll.builder.package.runner import StepError
from plimsoll.builder.package.sbom import Origin
from plimsoll.builder.package.script import Script
from plimsoll.builder.package.sources import preload
from plimsoll.builder.package.workspace import copy_sources, identity, outputs


def test_sources_are_copied_without_what_is_ignored(tmp_path):
    source = tmp_path / "source"
    for name in ("a.txt", "b.log", "sub/c.log", "sub/d.txt", "other/d.txt", "build/x", "sub/build"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (source / "link").symlink_to("/etc/passwd")
    (source / ".melangeignore").write_text("# comment\n*.log\n\nother/d.txt\n/build/\n")
    target = tmp_path / "target"
    copy_sources(source, target)
    found = sorted(str(p.relative_to(target)) for p in target.rglob("*") if not p.is_dir())
    assert found == ["a.txt", "link", "sub/build", "sub/d.txt"]
    assert (target / "link").is_symlink()


def test_outputs_are_directories_and_nothing_else(tmp_path):
    found = outputs(tmp_path, ["a", "b"])
    assert found == {"a": tmp_path / "melange-out/a", "b": tmp_path / "melange-out/b"}
    assert outputs(tmp_path, ["a"])["a"].is_dir()
    found["a"].rmdir()
    (tmp_path / "mine").mkdir()
    found["a"].symlink_to(tmp_path / "mine")
    with pytest.raises(StepError, match="in the place of the directory"):
        outputs(tmp_path, ["a"])
    found["b"].rmdir()
    found["b"].write_text("")
    with pytest.raises(StepError, match="in the place of the directory"):
        outputs(tmp_path, ["b"])
    other = tmp_path / "other"
    other.mkdir()
    (other / "melange-out").symlink_to(tmp_path / "mine")
    with pytest.raises(StepError, match="in the place of the directory"):
        outputs(other, ["a"])
    assert list((tmp_path / "mine").iterdir()) == []
    dangling = tmp_path / "dangling"
    dangling.mkdir()
    (dangling / "melange-out").symlink_to("nowhere")
    with pytest.raises(StepError, match="in the place of the directory"):
        outputs(dangling, ["a"])


@pytest.mark.parametrize(
    ("capabilities", "value"),
    [
        # As setcap(8) writes them (vfs_cap_data, version 2, little-endian).
        ({"cap_net_raw": "+ep"}, "0100000200200000000000000000000000000000"),
        ({"cap_net_bind_service,cap_net_admin": "=p"}, "0000000200140000000000000000000000000000"),
        ({"cap_bpf": "+i", "cap_chown": "+eip"}, "0100000201000000010000000000000080000000"),
    ],
)
def test_file_capabilities(capabilities, value):
    assert filecaps.encode(capabilities).hex() == value


@pytest.mark.parametrize("wrong", [{"cap_x": "+p"}, {"cap_chown": "ep"}, {"cap_chown": "+x"}])
def test_what_is_no_capability(wrong):
    with pytest.raises(PackageConfigError, match="capability"):
        filecaps.encode(wrong)


def test_progress_counts_only_while_nothing_changed(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    one, two = Script("one", "1", "/"), Script("two", "2", "/")

    first = Progress(tmp_path, keep=True)
    assert first.begin([one, two], ["amd64"]) == 0
    first.restore()
    (home / "file").write_text("good")
    first.finished(0)
    (home / "file").write_text("half done")

    second = Progress(tmp_path, keep=True)
    assert second.begin([one, two], ["amd64"]) == 1
    second.restore()
    assert (home / "file").read_text() == "good"

    changed = Progress(tmp_path, keep=True)
    assert changed.begin([two, one], ["amd64"]) == 0
    changed.restore()
    assert list(home.iterdir()) == []
    assert Progress(tmp_path, keep=True).begin([one, two], ["arm64"]) == 0
    assert Progress(tmp_path, keep=False).begin([one, two], ["amd64"]) == 0


def test_dates_of_packages(monkeypatch):
    assert source_date_epoch("", None) == 0
    assert source_date_epoch("0", "2026-01-02") == 0
    assert source_date_epoch("", "2026-01-02T00:00:00Z") == 1767312000
    with pytest.raises(PackageConfigError, match="tacocat"):
        source_date_epoch("tacocat", None)


def test_environment_files(tmp_path):
    path = tmp_path / "env"
    path.write_text("# a\nA=1\nexport B='two words'\n\nC=x=y\n")
    assert read_environment(path) == {"A": "1", "B": "two words", "C": "x=y"}
    path.write_text("A=1\nnonsense\n")
    with pytest.raises(PackageConfigError, match="env:2: no NAME=VALUE"):
        read_environment(path)


def test_sources_are_taken_from_a_folder_of_checksums(tmp_path):
    store, cache = tmp_path / "store", tmp_path / "cache"
    store.mkdir()
    good, bad = (hashlib.sha256(text).hexdigest() for text in (b"good", b"bad"))
    (store / f"sha256:{good}").write_bytes(b"good")
    (store / f"sha256:{bad}").write_bytes(b"other")
    sources = [
        Source("fetch", {"uri": "http://x/a", "expected-sha256": good}),
        Source("fetch", {"uri": "http://x/b", "expected-sha256": bad}),
        Source("git-checkout", {"repository": "x"}),
    ]
    assert preload(sources, store, cache) == [cache / f"sha256:{good}"]
    assert preload(sources, store, cache) == []
    assert [path.read_bytes() for path in cache.iterdir()] == [b"good"]


def test_sources_are_the_same_by_what_they_hold(tmp_path):
    (tmp_path / "a").write_text("1")
    first = identity(tmp_path)
    (tmp_path / ".melangeignore").write_text("*.log\n")
    (tmp_path / "b.log").write_text("2")
    assert identity(tmp_path) == first
    (tmp_path / "a").chmod(0o755)
    second = identity(tmp_path)
    (tmp_path / "link").symlink_to("a")
    assert len({first, second, identity(tmp_path)}) == 3


def test_arguments_that_nobody_sees():
    with sealed(["--setenv", "A", "two words"]) as descriptor:
        assert os.read(descriptor, 100) == b"--setenv\0A\0two words\0"
    with pytest.raises(ValueError, match="NUL"), sealed(["a\0--bind"]):
        pass


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://me:secret@example.org/os.git", "https://example.org/os.git"),
        ("git@example.org:team/os.git", "git@example.org:team/os.git"),
        ("/srv/os", ""),
    ],
)
def test_where_a_configuration_comes_from(tmp_path, remote, shown):
    def git(*words):
        identity = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
        command = ["git", "-C", tmp_path, *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    config = tmp_path / "packages/x.yaml"
    assert configuration_origin(config, "", "", "MIT") == Origin("x.yaml", license="MIT")
    git("init", "-q")
    assert configuration_origin(config, "", "", "MIT").path == "packages/x.yaml"
    git("commit", "-q", "--allow-empty", "-m", "one")
    git("remote", "add", "origin", remote)
    head = git("rev-parse", "HEAD")
    assert configuration_origin(config, "", "", "MIT") == Origin(
        "packages/x.yaml", shown, head, "MIT"
    )
    given = configuration_origin(config, "https://a:b@given.example/x", "f" * 40, "MIT")
    assert (given.repository, given.commit) == ("https://given.example/x", "f" * 40)
