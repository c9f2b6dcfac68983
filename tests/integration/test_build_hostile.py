"""Repositories that lie: endless answers, false sizes, links that should lead out of the image."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import tarfile
from dataclasses import replace

import pytest
from aiohttp import web

from apk_repository import Repository
from command import run
from handlers import served, served_folder
from plimsoll.api.image import ImageConfiguration
from plimsoll.api.imagecontents import Contents
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile
from plimsoll.arch import Arch
from plimsoll.builder.engine import Engine, build_all
from plimsoll.builder.node import FileConflictError
from plimsoll.builder.settings import Settings
from plimsoll.errors import Error

pytestmark = pytest.mark.integration


async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b"\x1f\x8b" * 4096)
    return response


def configuration(url, key, *packages):
    return ImageConfiguration(
        contents=Contents(repositories=[str(url)], keyring=[str(key)], packages=list(packages))
    )


async def tree_of(tmp, wanted, **settings):
    async with Engine(Settings(cache_dir=tmp / "cache", **settings)) as engine:
        lock, _ = await engine.resolve(wanted, [Arch.AMD64])
        images = await build_all(engine, wanted, lock, [Arch.AMD64])
        data = gzip.decompress(b"".join(c for layer in images[0].layers for c in layer.chunks()))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {item.name: item for item in tar}


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repo")


async def test_an_endless_index(repository, tmp_path):
    repository.add("app", {"a": "a"})
    async with served(endless) as url:
        wanted = configuration(url, repository.key_file, "app")
        with pytest.raises(Error, match=r"APKINDEX\.tar\.gz sends more than 65536 bytes") as error:
            await tree_of(tmp_path, wanted, max_http=1 << 16)
        assert "--max-http-response-size" in error.value.hint
        # What could not be inflated anyway is not taken into memory, however much may be sent.
        with pytest.raises(Error, match=f"sends more than {(1 << 20) + 4096} bytes"):
            await tree_of(tmp_path, wanted, max_index=4096)


async def test_an_endless_package(repository, tmp_path):
    repository.add("app", {"a": "a"})
    root = repository.write()

    async def handle(request):
        if request.path.endswith(".apk"):
            return await endless(request)
        return web.FileResponse(root / request.path.lstrip("/"))

    async with served(handle) as url:
        wanted = configuration(url, repository.key_file, "app")
        size = next((root / "x86_64").glob("*.apk")).stat().st_size
        with pytest.raises(Error, match=f"sends more than the {size} bytes that it must"):
            await tree_of(tmp_path, wanted)
        # An index that names a size of its own does not raise the limit.
        with pytest.raises(Error, match=rf"app-1\.0-r0\.apk is said to have {size} bytes, over 99"):
            await tree_of(tmp_path, wanted, max_http=99, max_index=1 << 20)
    assert not list(tmp_path.rglob("cache/*/tmp/*"))


async def test_a_package_of_another_size_than_its_index_says(repository, tmp_path):
    repository.add("app", {"a": "a" * 5000})
    root = repository.write()
    package = next((root / "x86_64").glob("*.apk"))
    package.write_bytes(package.read_bytes() + b"\0" * 512)

    async with served_folder(root) as url:
        with pytest.raises(Error, match=r"app-1\.0-r0\.apk has \d+ bytes, not \d+"):
            await tree_of(tmp_path, configuration(url, repository.key_file, "app"))


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"name": "sudo"}, "calls itself app-1.0-r0, its index calls it sudo-1.0-r0"),
        ({"version": "9.0-r0"}, "calls itself app-1.0-r0, its index calls it app-9.0-r0"),
        ({"checksum": b"0" * 20}, "app-1.0-r0.apk is not the package that its index names"),
    ],
)
async def test_an_index_that_gives_a_package_another_name(repository, tmp_path, lie, words):
    repository.add("app", {"a": "a"}, archs=("x86_64",))
    (entry,) = repository.entries["x86_64"]
    told = replace(entry, **lie)
    repository.entries["x86_64"] = [told]
    folder = repository.write() / "x86_64"
    (folder / "app-1.0-r0.apk").rename(folder / f"{told.name}-{told.version}.apk")
    wanted = configuration(repository.root, repository.key_file, told.name)
    with pytest.raises(Error) as error:
        await tree_of(tmp_path, wanted)
    assert words in error.value.message


async def test_links_of_one_package_under_files_of_another(repository, tmp_path):
    """What goes below a link of another package stays in the image, wherever the link points."""
    outside = tmp_path / "outside"
    outside.mkdir()
    repository.add("one", {"srv": f"-> {outside}", "up": "-> ../../../../.."})
    repository.add("two", {"srv/evil": "evil"})
    repository.add("three", {"up/tmp/evil": "evil"})
    repository.add("four", {"srv": "a file"})
    repository.write()

    async def names(*packages):
        wanted = configuration(repository.root, repository.key_file, *packages)
        return set(await tree_of(tmp_path, wanted))

    assert f"{outside}/evil".lstrip("/") in await names("one", "two")
    assert "tmp/evil" in await names("one", "three")
    assert not list(outside.iterdir())
    with pytest.raises(FileConflictError, match="/srv is a file in package four and a link to"):
        await names("one", "four")


async def test_links_in_a_circle_under_files_of_another(repository, tmp_path):
    repository.add("one", {"a": "-> b", "b": "-> a"})
    repository.add("two", {"a/x": "x"})
    repository.write()
    with pytest.raises(Error, match="links at /a lead in a circle"):
        await tree_of(tmp_path, configuration(repository.root, repository.key_file, "one", "two"))


async def test_nothing_of_a_package_is_written_under_its_own_name(repository, tmp_path):
    """Packages are never unpacked: there is no moment at which a link could be put in the way."""
    names = {"etc/plain": "x", "srv/link": "-> /etc", "usr/bin/tool": "y"}
    repository.add("app", {**names, "srv/very-own-name": "z"})
    repository.write()
    found = await tree_of(tmp_path, configuration(repository.root, repository.key_file, "app"))
    assert set(names) <= set(found)
    written = [p for p in (tmp_path / "cache").rglob("*") if p.is_symlink() or p.is_file()]
    assert written
    assert not any(p.is_symlink() for p in written)
    assert not {p.name for p in written} & {name.rpartition("/")[2] for name in found}


async def test_names_that_differ_in_case_only_are_two_files(repository, tmp_path):
    repository.add("one", {"etc/Passwd": "1"})
    repository.add("two", {"etc/passwd": "2"})
    repository.write()
    wanted = configuration(repository.root, repository.key_file, "one", "two")
    assert {"etc/Passwd", "etc/passwd"} <= set(await tree_of(tmp_path, wanted))


async def test_owners_special_bits_and_attributes_stay(repository, tmp_path):
    repository.add(
        "app",
        {
            "var/mail": PackageFile("var/mail", Type.DIRECTORY, mode=0o3775, uid=8, gid=12),
            "usr/bin/ping": PackageFile(
                "usr/bin/ping", mode=0o4755, uid=3, gid=4, content=b"ping",
                xattrs={"security.capability": b"\x01\0\0\2\0 \0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
            ),
        },
    )  # fmt: skip
    repository.write()
    found = await tree_of(tmp_path, configuration(repository.root, repository.key_file, "app"))
    mail, ping = found["var/mail"], found["usr/bin/ping"]
    assert (mail.mode, mail.uid, mail.gid) == (0o3775, 8, 12)
    assert (ping.mode, ping.uid, ping.gid) == (0o4755, 3, 4)
    assert any(key.endswith("security.capability") for key in ping.pax_headers)


async def test_files_of_this_machine_that_never_end(repository, tmp_path):
    repository.add("app", {"a": "a"}, archs=("x86_64",))
    root = repository.write()
    with pytest.raises(Error, match="the key /dev/zero is larger than 65536 bytes"):
        await tree_of(tmp_path, configuration(root, "/dev/zero", "app"))
    (root / "x86_64/APKINDEX.tar.gz").unlink()
    (root / "x86_64/APKINDEX.tar.gz").symlink_to("/dev/zero")
    wanted = configuration(root, repository.key_file, "app")
    with pytest.raises(Error, match=r"the index .*APKINDEX\.tar\.gz is larger than 1052672 bytes"):
        await tree_of(tmp_path, wanted, max_index=4096)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--max-apkindex-decompressed-size", "APKINDEX.tar.gz inflates to more than 100 bytes"),
        ("--max-apk-control-size", "app-1.0-r0.apk inflates to more than 100 bytes"),
        ("--max-apk-data-size", "app-1.0-r0.apk inflates to more than 100 bytes"),
        ("--max-http-response-size", "bytes, over 100"),
    ],
)
async def test_every_limit_is_a_flag(repository, tmp_path, flag, words):
    repository.add("app", {"a": "a" * 5000})
    async with served_folder(repository.write()) as url:
        (tmp_path / "image.yaml").write_text(
            f"contents: {{repositories: ['{url}'], keyring: ['{repository.key_file}'], "
            "packages: [app]}\narchs: [amd64]\n"
        )
        command = ("build", "image.yaml", "x:1", "out.tar", flag, "100")
        done = await asyncio.to_thread(run, tmp_path / "cache", *command, status=1, cwd=tmp_path)
    assert words in done.stderr
    assert flag in done.stderr[done.stderr.index("hint:") :]
    assert not (tmp_path / "out.tar").exists()


def test_what_a_repository_says_steers_no_terminal(repository, tmp_path):
    """Names of dependencies, origins, descriptions, documents: shown by every command."""
    evil = "\x1b[2J\x07\x9b\u202e"
    document = {"var/lib/db/sbom/ok.spdx.json": "{" + evil}
    repository.add(
        "ok", document, origin=f"o{evil}", description=evil, provides=(f"cmd:{evil}=1",),
        licenses=(evil,),
    )  # fmt: skip
    repository.add("user", {"u": "u"}, depends=(f"cmd:{evil}",))
    repository.add("lost", {"l": "l"}, depends=(f"lib{evil}",))
    repository.write()

    def shown(package, *words, status=0):
        (tmp_path / "image.yaml").write_text(
            f"contents: {{repositories: ['{repository.root}'], "
            f"keyring: ['{repository.key_file}'], packages: [{package}]}}\narchs: [amd64]\n"
        )
        done = run(tmp_path / "cache", *words, status=status, cwd=tmp_path)
        text = done.stdout + done.stderr
        unseen = {c for c in text if not c.isprintable() and c != "\n"}
        assert not unseen, words
        return text

    assert "cmd:" in shown("user", "dot", "image.yaml")
    assert "lib" in shown("lost", "build", "image.yaml", "x:1", "lost.tar", status=1)
    shown("ok", "build", "image.yaml", "x:1", "one.tar")
    shown("user", "build", "image.yaml", "x:1", "two.tar")
    shown("ok", "show-packages", "image.yaml", "--format", "{name} {origin}")
    shown("ok", "diff", "one.tar", "two.tar")
