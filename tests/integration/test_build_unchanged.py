"""A build whose every input is what it was: fast, and never wrong."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest
from aiohttp import web

from apk_repository import Repository
from plimsoll.builder.store import Store

pytestmark = pytest.mark.integration

_PROGRAM = """
import sys
from plimsoll.cli.main import cli
cli(sys.argv[1:], standalone_mode=False)
slow = {"pydantic", "yaml", "asyncio", "cryptography", "aiohttp"} & set(sys.modules)
print("loaded", *sorted(slow), file=sys.stderr)
"""
_UNCHANGED = "nothing changed since the last build"


class Desk:
    def __init__(self, tmp):
        self.tmp = tmp
        self.repository = Repository(tmp / "repo")
        self.repository.add("app", {"usr/bin/app": "1"})
        self.repository.write()
        self.config()

    def config(self, extra=""):
        (self.tmp / "image.yaml").write_text(
            f"contents:\n  keyring: [{self.repository.key_file}]\n"
            f"  repositories: [{self.repository.root}]\n  packages: [app]\narchs: [amd64]\n{extra}"
        )

    def build(self, *arguments, status=0, **environment):
        done = subprocess.run(
            [
                *(sys.executable, "-c", _PROGRAM, "build", "image.yaml", "x.example/app:1"),
                *("out.tar", "--json", *arguments),
            ],
            cwd=self.tmp,
            env={**os.environ, "PLIMSOLL_CACHE_DIR": str(self.tmp / "cache"), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == status, done.stderr
        made = json.loads(done.stdout)["digest"] if status == 0 else ""
        return made, _UNCHANGED in done.stderr and "resolved" not in done.stderr, done.stderr


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_an_unchanged_build_loads_nothing_and_writes_the_same(desk):
    first, again, _ = desk.build()
    assert not again
    names = ("out.tar", "sbom-x86_64.spdx.json", "sbom-index.spdx.json")
    files = {name: (desk.tmp / name).read_bytes() for name in names}
    for name in names:
        (desk.tmp / name).unlink()
    second, again, said = desk.build()
    assert (second, again) == (first, True)
    assert said.splitlines()[-1] == "loaded"
    assert {name: (desk.tmp / name).read_bytes() for name in names} == files


def test_every_change_is_seen(desk):
    first, _, _ = desk.build()

    def changed(*arguments, **environment):
        digest, again, _ = desk.build(*arguments, **environment)
        assert not again
        return digest

    assert changed("--annotations", "a:b") != first
    assert changed(SOURCE_DATE_EPOCH="7") != first
    assert changed("--arch", "amd64", "--no-sbom") == first
    desk.config("cmd: /usr/bin/app\n")
    assert changed() != first
    desk.config()
    assert changed() == first
    assert desk.build()[:2] == (first, True)
    desk.repository.add("app", {"usr/bin/app": "2"}, "2-r0")
    desk.repository.write()
    second = changed()
    assert second != first
    assert desk.build()[:2] == (second, True)
    key = desk.repository.key_file
    pem = key.read_bytes()
    key.write_bytes(b"no key")
    assert not desk.build(status=1)[1]
    key.write_bytes(pem)
    assert desk.build()[:2] == (second, True)


def test_a_lock_is_an_input(desk):
    lock = desk.tmp / "lock.json"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "lock", "image.yaml", "--output", "lock.json"],
        cwd=desk.tmp,
        env={**os.environ, "PLIMSOLL_CACHE_DIR": str(desk.tmp / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, again, _ = desk.build("--lockfile", "lock.json")
    assert not again
    # The repository counts no more.
    (desk.repository.root / "x86_64" / "APKINDEX.tar.gz").unlink()
    assert desk.build("--lockfile", "lock.json")[:2] == (first, True)
    lock.write_text(lock.read_text() + "\n")
    assert desk.build("--lockfile", "lock.json")[:2] == (first, False)


def test_what_is_gone_from_the_cache_is_made_again(desk):
    first, _, _ = desk.build()
    for path in (desk.tmp / "cache").rglob("segment.gzip-*[0-9]"):
        path.unlink()
    assert desk.build()[:2] == (first, False)
    for path in (desk.tmp / "cache").rglob("segment.gzip-*[0-9]"):
        path.write_bytes(path.read_bytes()[::-1])
    (desk.tmp / "out.tar").unlink()
    digest, again, said = desk.build()
    assert (digest, again) == (first, False)
    assert "cache was damaged" in said


def test_another_version_of_the_program_builds_itself(desk):
    first, _, _ = desk.build()
    with Store(desk.tmp / "cache") as store:
        (path,) = (store.root / "builds").glob("*/*")
        value = store.get_record("builds", path.name)
        store.put_record("builds", path.name, {**value, "program": str(desk.tmp / "gone")})
    assert desk.build()[:2] == (first, False)
    assert desk.build()[:2] == (first, True)


async def test_a_server_is_always_asked(desk, unused_tcp_port):
    served = web.Application()
    served.router.add_static("/", desk.repository.root)
    runner = web.AppRunner(served)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    url = f"http://127.0.0.1:{unused_tcp_port}"
    text = (desk.tmp / "image.yaml").read_text()
    (desk.tmp / "image.yaml").write_text(
        text.replace(f"repositories: [{desk.repository.root}]", f"repositories: [{url}]")
    )
    try:
        first, _, _ = await asyncio.to_thread(desk.build)
        desk.repository.add("app", {"usr/bin/app": "2"}, "2-r0")
        desk.repository.write()
        second, again, _ = await asyncio.to_thread(desk.build)
    finally:
        await runner.cleanup()
    assert second != first
    assert not again
