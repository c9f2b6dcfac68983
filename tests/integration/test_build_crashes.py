"""What a power cut, a full disk or a failing one leave behind: the next build is as good as new."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from apk_repository import Repository
from command import PLIMSOLL
from handlers import served_folder
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.imagecontents import Contents
from plimsoll.arch import Arch
from plimsoll.builder.engine import Engine, build_all
from plimsoll.builder.settings import Settings

pytestmark = pytest.mark.integration


async def digest_of_build(cache, wanted):
    """Build with a cache, and read what was built to its end."""
    async with Engine(Settings(cache_dir=cache)) as engine:
        lock, _ = await engine.resolve(wanted, [Arch.AMD64])

        async def once():
            (image,) = await build_all(engine, wanted, lock, [Arch.AMD64])
            for layer in image.layers:
                for _ in layer.chunks():
                    pass
            return image.descriptor.digest

        return await engine.repairing(once)


async def test_files_that_a_crash_cut_short(tmp_path):
    """Each file of a cache in turn is empty, half or gone."""
    repository = Repository(tmp_path / "repo")
    repository.add("base", {"etc/base": "b"})
    repository.add("app", {"usr/bin/app": os.urandom(200_000)}, depends=("base",))
    async with served_folder(repository.write()) as url:
        wanted = ImageConfiguration(
            contents=Contents(
                repositories=[url], keyring=[str(repository.key_file)], packages=["app"]
            )
        )
        good = tmp_path / "good"
        digest = await digest_of_build(good, wanted)
        files = [
            path.relative_to(good)
            for path in sorted(good.rglob("*"))
            if path.is_file() and path.relative_to(good).parts[1] not in {"locks", "tmp"}
        ]
        assert {path.parts[1] for path in files} >= {"packages", "indexes", "layers", "images"}
        for number, file in enumerate(files):
            for share in (0, 2, None):
                cache = tmp_path / f"{number}-{share}"
                shutil.copytree(good, cache)
                if share is None:
                    (cache / file).unlink()
                else:
                    data = (cache / file).read_bytes()
                    (cache / file).write_bytes(data[: len(data) // share] if share else b"")
                assert await digest_of_build(cache, wanted) == digest, (file, share)
                # What was damaged was made anew, not only passed over.
                assert await digest_of_build(cache, wanted) == digest
                shutil.rmtree(cache)


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_full_at_some_moment(tmp_path):
    """Too small for packages, for layers, for the output: an error, and nothing in the way."""
    repository = Repository(tmp_path / "repo")
    for number in range(4):
        repository.add(f"p{number}", {f"usr/share/p{number}": os.urandom(300_000)})
    repository.write()
    (tmp_path / "image.yaml").write_text(
        f"contents:\n  keyring: [{repository.key_file}]\n  repositories: [{repository.root}]\n"
        "  packages: [p0, p1, p2, p3]\narchs: [amd64]\n"
    )
    disk = tmp_path / "disk"
    disk.mkdir()

    def build(cache):
        return subprocess.run(
            [PLIMSOLL, "build", "image.yaml", "x:1", f"{cache}/out.tar"],
            cwd=tmp_path,
            env={**os.environ, "PLIMSOLL_CACHE_DIR": str(cache)},
            capture_output=True,
            text=True,
            check=False,
        )

    (tmp_path / "cold").mkdir()
    expected = build(tmp_path / "cold").stdout
    for size in ("60k", "1500k", "3000k"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk], check=True)
        try:
            done = build(disk)
            assert done.returncode == 1, size
            assert "no space left" in done.stderr or "free some space" in done.stderr
            assert "Traceback" not in done.stderr
            assert not [path for path in disk.iterdir() if "out" in path.name]
            assert not list(disk.glob("*/tmp/*"))
            subprocess.run(["mount", "-o", "remount,size=30m", disk], check=True)
            done = build(disk)
            assert (done.returncode, done.stdout) == (0, expected)
            assert "damaged" not in done.stderr
        finally:
            subprocess.run(["umount", "-l", disk], check=True)
