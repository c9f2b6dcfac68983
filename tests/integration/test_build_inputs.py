"""What goes wrong with configurations, repositories and disks, as a person sees it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from aiohttp import web

from apk_repository import Repository, signing_key
from command import PLIMSOLL, plimsoll, run

pytestmark = pytest.mark.integration


class World:
    """A repository, a configuration, a cache, and the command."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.repository = Repository(tmp / "repo")
        self.repository.add("base", {"etc/base": "b"}, licenses=("MIT",))
        self.repository.add("app", {"usr/bin/app": "a" * 100_000}, depends=("base",))
        self.repository.write()
        self.url = str(self.repository.root)
        self.extra = ""

    def config(self, packages: str = "app", extra: str = "") -> Path:
        path = self.tmp / "image.yaml"
        path.write_text(
            f"contents:\n  keyring: [{self.repository.key_file}]\n  repositories: [{self.url}]\n"
            f"  packages: [{packages}]\narchs: [amd64]\n{extra}"
        )
        return path

    def run(self, *arguments: str, status: int = 0, **config: str) -> subprocess.CompletedProcess:
        words = ("build", self.config(**config), "x.example/app:1", *arguments)
        return run(self.tmp / "cache", *words, status=status, cwd=self.tmp)

    def fails(self, *words: str, **config: str) -> str:
        done = self.run("out.tar", status=1, **config)
        assert "Traceback" not in done.stderr
        for word in words:
            assert word in done.stderr
        assert "hint:" in done.stderr
        assert not (self.tmp / "out.tar").exists()
        assert not list(self.tmp.glob(".out*"))
        return done.stderr


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@contextlib.asynccontextmanager
async def served(handler):
    """Serve with ``handler`` on a free port; yields the base URL."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def test_it_works(world):
    done = world.run("out.tar", "--json")
    result = json.loads(done.stdout)
    assert result["images"][0]["packages"] == [
        {"name": "base", "version": "1.0-r0"},
        {"name": "app", "version": "1.0-r0"},
    ]
    again = json.loads(world.run("out.tar", "--json").stdout)
    assert again == result


def test_unknown_field(world):
    world.fails("image.yaml:6:1", "did you mean 'entrypoint'?", extra="entrypiont: {}\n")


def test_unknown_package(world):
    world.fails("no package ap", "did you mean app?", packages="ap")


def test_unknown_architecture(world):
    done = world.run("out.tar", "--arch", "amd46", status=1)
    assert "unknown architecture 'amd46'" in done.stderr
    assert "amd64" in done.stderr


def test_architecture_without_an_index(world):
    done = world.run("out.tar", "--arch", "riscv64", status=1)
    assert "has no index for riscv64" in done.stderr


def test_unsigned_index(world):
    world.repository.write(signed=False)
    world.fails("is not signed")
    world.run("out.tar", "--ignore-signatures")
    # What was let in once is not remembered as trusted.
    (world.tmp / "out.tar").unlink()
    world.fails("is not signed")


def test_index_signed_by_another_key(world):
    world.repository.write(key=signing_key("other.rsa.pub"))
    world.fails("is signed by other.rsa.pub", "test.rsa.pub")


def test_changed_index(world):
    path = world.repository.root / "x86_64" / "APKINDEX.tar.gz"
    data = bytearray(path.read_bytes())
    other = Repository(world.tmp / "other")
    other.add("evil", {"x": "y"})
    other.write()
    foreign = (other.root / "x86_64" / "APKINDEX.tar.gz").read_bytes()
    # The signature of one index before the body of another.
    cut = data.find(b"\x1f\x8b", 10)
    path.write_bytes(data[:cut] + foreign[foreign.find(b"\x1f\x8b", 10) :])
    world.fails("wrong signature by key test.rsa.pub")


def test_package_that_is_not_what_the_index_names(world):
    folder = world.repository.root / "x86_64"
    (folder / "app-1.0-r0.apk").write_bytes((folder / "base-1.0-r0.apk").read_bytes())
    world.fails("is not the package that its index names")


def test_package_with_changed_data(world):
    path = world.repository.root / "x86_64" / "app-1.0-r0.apk"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    world.fails("app-1.0-r0.apk")


def test_truncated_package(world):
    path = world.repository.root / "x86_64" / "app-1.0-r0.apk"
    path.write_bytes(path.read_bytes()[:-50])
    world.fails("cut short")


def test_two_packages_own_one_file(world):
    world.repository.add("rival", {"usr/bin/app": "other"})
    world.repository.write()
    world.fails("packages app and rival both own /usr/bin/app", packages="app, rival")


def test_no_repository_and_no_key(world):
    path = world.tmp / "bare.yaml"
    path.write_text("contents: {packages: [app]}\narchs: [amd64]\n")
    command = [PLIMSOLL, "build", str(path), "x.example/app", "out.tar"]
    done = subprocess.run(command, cwd=world.tmp, capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert "no repository" in done.stderr
    done = subprocess.run(
        [*command, "-r", world.url], cwd=world.tmp, capture_output=True, check=False, text=True
    )
    assert done.returncode == 1
    assert "no key to verify" in done.stderr


async def test_statuses_and_truncation(world):
    """A server that fails in every way; what it sent in full is kept."""
    import asyncio  # noqa: PLC0415

    state = {"status": 200, "cut": 0, "requests": []}

    async def handler(request):
        path = world.repository.root / request.match_info["path"]
        state["requests"].append(request.path)
        if state["status"] != 200:
            return web.Response(status=state["status"])
        data = path.read_bytes()
        if state["cut"] and path.suffix == ".apk":
            response = web.StreamResponse(headers={"Content-Length": str(len(data))})
            await response.prepare(request)
            await response.write(data[: state["cut"]])
            request.transport.close()
            return response
        etag = f'"{len(data)}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=data, headers={"ETag": etag})

    async with served(handler) as url:
        world.url = url
        for status, words in ((401, "401"), (403, "403"), (404, "has no index")):
            state["status"] = status
            await asyncio.to_thread(world.fails, words)
        state["status"], state["cut"] = 200, 100
        await asyncio.to_thread(world.fails, "the answer was cut off")
        state["cut"] = 0
        await asyncio.to_thread(world.run, "out.tar")
        state["requests"].clear()
        await asyncio.to_thread(world.run, "out.tar")
        # The index is asked for by its entity tag, no package is fetched twice.
        assert state["requests"] == ["/x86_64/APKINDEX.tar.gz"]
    # The server is gone: offline still builds.
    world.run("out.tar", "--offline")


async def test_two_builds_at_once_fetch_each_file_once(world):
    import asyncio  # noqa: PLC0415

    sent = []

    async def handler(request):
        # Long enough that all builds ask for packages before the first one has one.
        await asyncio.sleep(1.5 if request.path.endswith(".apk") else 0.05)
        if request.headers.get("If-None-Match") == '"1"':
            return web.Response(status=304)
        sent.append(request.path)
        data = (world.repository.root / request.path[1:]).read_bytes()
        return web.Response(body=data, headers={"ETag": '"1"'})

    async with served(handler) as url:
        world.url = url
        done = await asyncio.gather(
            *(asyncio.to_thread(world.run, f"out{n}.tar", "--no-sbom") for n in range(3))
        )
    assert len({d.stdout for d in done}) == 1
    names = ("APKINDEX.tar.gz", "app-1.0-r0.apk", "base-1.0-r0.apk")
    assert sorted(sent) == [f"/x86_64/{name}" for name in names]


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("full", ["cache", "output"])
def test_full_disk(world, full):
    world.repository.add("big", {"big": os.urandom(3 << 20)})
    world.repository.write()
    disk = world.tmp / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], check=True)
    try:
        if full == "cache":
            (world.tmp / "cache").symlink_to(disk)
            done = world.run("out.tar", status=1, packages="big")
            assert "no space left" in done.stderr
            assert not (world.tmp / "out.tar").exists()
            # What fits still builds: nothing half-written is in the way.
            world.run("out.tar", "--no-sbom")
        else:
            done = world.run(str(disk / "out.tar"), "--no-sbom", status=1, packages="big")
            assert "space" in done.stderr
            assert list(disk.iterdir()) == []
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_damaged_cache_heals(world):
    first = world.run("out.tar").stdout
    for path in (world.tmp / "cache").rglob("segment.*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    (world.tmp / "out.tar").unlink()
    done = world.run("out.tar")
    assert "cache was damaged" in done.stderr
    assert done.stdout == first
    assert "damaged" not in world.run("out.tar").stderr


def test_kills_spread_over_a_whole_build_leave_the_cache_valid(world):
    """Killed at moments from the start to the end, while packages, layers and records are written.

    What is built from the cache afterwards is the same as without it, and nothing in it is damaged.
    """
    for number in range(12):
        world.repository.add(f"p{number}", {f"usr/share/p{number}": os.urandom(400_000)})
    world.repository.write()
    names = ", ".join(f"p{number}" for number in range(12))
    config = world.config(names, extra="layering: {strategy: package, budget: 20}\n")
    cold = world.tmp / "cold"
    command = [PLIMSOLL, "build", str(config), "x.example/app:1"]

    def start(cache: Path, out: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, out],
            cwd=world.tmp,
            env={**os.environ, "PLIMSOLL_CACHE_DIR": str(cache)},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    began = time.monotonic()
    assert start(cold, "cold.tar").wait(120) == 0
    whole = time.monotonic() - began
    kills = 9
    for number in range(kills):
        # Every third starts from nothing, so that early moments are met too.
        if number % 3 == 0:
            shutil.rmtree(world.tmp / "cache", ignore_errors=True)
        process = start(world.tmp / "cache", "killed.tar")
        try:
            process.wait(whole * (number + 0.5) / kills)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
    world.run("warm.tar", packages=names, extra="layering: {strategy: package, budget: 20}\n")
    assert (world.tmp / "warm.tar").read_bytes() == (world.tmp / "cold.tar").read_bytes()
    said = plimsoll(world.tmp / "cache", "cache", "verify", "--json")
    assert json.loads(said) == {"intact": 12, "removed": []}


def test_show_and_lock(world):
    config = world.config()

    def say(*arguments):
        return run(world.tmp / "cache", *arguments, cwd=world.tmp).stdout

    assert say("show-packages", str(config)) == "base 1.0-r0\napp 1.0-r0\n"
    assert say("show-packages", str(config), "--format", "{name}={version}").splitlines() == [
        "base=1.0-r0",
        "app=1.0-r0",
    ]
    shown = json.loads(say("show-config", str(config), "-p", "more", "--json"))
    assert shown["contents"]["packages"] == ["app", "more"]
    lock = say("lock", str(config)).strip()
    built = world.run("out.tar", "--no-sbom").stdout
    # A newer package appears: the lock still means the old one.
    world.repository.add("app", {"usr/bin/app": "new"}, "1.1-r0", depends=("base",))
    world.repository.write()
    assert world.run("out.tar", "--no-sbom", "--lockfile", lock).stdout == built
    assert world.run("out.tar", "--no-sbom").stdout != built
    done = world.run("out.tar", "--lockfile", lock, "--arch", "arm64", status=1)
    assert "no packages for arm64" in done.stderr
