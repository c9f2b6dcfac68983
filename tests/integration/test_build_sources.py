"""Where packages come from: announced keys, logins, mirrors, registries; and what must not leak."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from apk_repository import Repository, signing_key
from command import run
from plimsoll.api.image import Contents, ImageConfiguration
from plimsoll.apk.index import IndexSignatureError
from plimsoll.apk.keys import SigningKey
from plimsoll.arch import Arch
from plimsoll.builder.discovery import DiscoveryError, discover_keys
from plimsoll.builder.engine import Engine, build_all
from plimsoll.builder.events import Events
from plimsoll.builder.lock import Lock, locked_sources
from plimsoll.builder.logins import Logins, LoginVariableError
from plimsoll.builder.ocirepo import (
    INDEX_TYPE,
    PACKAGE_TYPE,
    OciRepositoryError,
    file_reference,
    file_tag,
)
from plimsoll.builder.repository import RepositoryError, parse_repository
from plimsoll.builder.settings import Settings
from plimsoll.builder.transport import MirrorError, Transport
from plimsoll.http import Http, HttpError, RetryPolicy
from plimsoll.oci.auth import Credentials
from plimsoll.oci.descriptor import Descriptor
from plimsoll.oci.model import Manifest
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Registry
from registries import distribution_registry

pytestmark = pytest.mark.integration
SECRET = "s3cr3t-w0rd"


@contextlib.asynccontextmanager
async def served(handler):
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def files(root: Path, login: str = "", seen: list | None = None, extra=None):
    """A handler that shows a folder, to those who log in if ``login`` says so."""
    expected = f"Basic {base64.b64encode(login.encode()).decode()}"

    async def handle(request):
        if seen is not None:
            seen.append((request.path, request.headers.get("Authorization")))
        if login and request.headers.get("Authorization") != expected:
            return web.Response(status=401)
        if extra and request.path in extra:
            return web.json_response(extra[request.path](request))
        path = root / request.path.lstrip("/")
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)

    return handle


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "repo")
    made.add("app", {"usr/bin/app": "app"})
    made.write()
    return made


def _key_set(repository):
    numbers = load_pem_public_key(repository.key.public_pem()).public_numbers()

    def b64(number):
        raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    kid = repository.key.name.removesuffix(".rsa.pub")
    return [
        {"kty": "EC", "kid": "other"},
        {"kty": "RSA", "kid": kid, "n": b64(numbers.n), "e": b64(numbers.e)},
    ]


def config(url, keys=()):
    return ImageConfiguration(
        contents=Contents(repositories=[url], keyring=[str(k) for k in keys], packages=["app"])
    )


async def build(tmp, configuration, **settings):
    async with Engine(Settings(cache_dir=tmp / "cache", **settings)) as engine:
        lock, _ = await engine.resolve(configuration, [Arch.AMD64])
        images = await build_all(engine, configuration, lock, [Arch.AMD64])
        layers = b"".join(chunk for layer in images[0].layers for chunk in layer.chunks())
        return lock, images[0], layers


async def test_announced_key_set_verifies_and_is_locked(repository, tmp_path):
    keys = _key_set(repository)
    extra = {
        "/apk-configuration": lambda request: {"jwks_uri": f"http://{request.host}/keys.json"},
        "/keys.json": lambda _: {"keys": keys},
    }
    async with served(files(repository.root, extra=extra)) as url:
        lock, image, _ = await build(tmp_path, config(url))
        assert [key.name for key in lock.contents.keyring] == [repository.key.name]
        offline, again, _ = await build(tmp_path, config(url), offline=True)
        assert offline == lock
        assert again.descriptor == image.descriptor
        modulus, keys[1]["n"] = keys[1]["n"], "AQAB"
        with pytest.raises(DiscoveryError, match="RSA key that is none"):
            await build(tmp_path, config(url))
        keys[1] |= {"kid": "../../evil", "n": modulus}
        with pytest.raises(DiscoveryError, match="no file name"):
            await build(tmp_path, config(url))


async def test_each_repository_that_no_known_key_signed_is_asked(repository, tmp_path, monkeypatch):
    """As with two publishers of which one is named in the keyring and the other announces."""
    named = Repository(tmp_path / "named", signing_key("named.rsa.pub"))
    named.add("lib", {"usr/lib/lib": "lib"})
    named.write()
    asked: list = []
    extra = {
        "/apk-configuration": lambda request: {"jwks_uri": f"http://{request.host}/keys.json"},
        "/keys.json": lambda _: {"keys": _key_set(repository)},
    }
    async with (
        served(files(repository.root, seen=asked, extra=extra)) as announcing,
        served(files(named.root, extra={"/apk-configuration": lambda _: {}})) as other,
    ):
        wanted = ImageConfiguration(
            contents=Contents(
                repositories=[announcing, other],
                keyring=[str(named.key_file)],
                packages=["app", "lib"],
            )
        )
        lock, image, _ = await build(tmp_path, wanted)
        assert [key.name.rpartition("/")[2] for key in lock.contents.keyring] == [
            "named.rsa.pub",
            repository.key.name,
        ]
        offline, again, _ = await build(tmp_path, wanted, offline=True)
        assert (offline, again.descriptor) == (lock, image.descriptor)
        # Announced keys count for their repository alone.
        named.key = repository.key
        named.write()
        with pytest.raises(IndexSignatureError) as refused:
            await build(tmp_path, wanted)
        assert refused.value.message.startswith(other)
        assert "announces none" in refused.value.hint
        assert "no jwks_uri" in refused.value.hint
        monkeypatch.setenv("PLIMSOLL_KEY_DISCOVERY", "off")
        asked.clear()
        with pytest.raises(IndexSignatureError):
            await build(tmp_path, wanted)
        assert {path for path, _ in asked} == {"/x86_64/APKINDEX.tar.gz"}


async def test_a_wrong_signature_under_a_known_name_is_not_made_good(repository, tmp_path):
    impostor = Repository(
        tmp_path / "impostor", SigningKey.generate(repository.key.name, bits=2048)
    )
    impostor.add("app", {"usr/bin/app": "other"})
    impostor.write()
    extra = {
        "/apk-configuration": lambda request: {"jwks_uri": f"http://{request.host}/keys.json"},
        "/keys.json": lambda _: {"keys": _key_set(impostor)},
    }
    seen: list = []
    async with served(files(impostor.root, seen=seen, extra=extra)) as url:
        with pytest.raises(IndexSignatureError, match="wrong signature"):
            await build(tmp_path, config(url, [repository.key_file]))
        assert "/apk-configuration" not in {path for path, _ in seen}
        with pytest.raises(RepositoryError, match="different keys named"):
            await build(tmp_path, config(url, [repository.key_file, impostor.key_file]))


async def test_a_repository_with_a_key_is_not_asked(repository, tmp_path):
    seen: list = []
    async with served(files(repository.root, seen=seen)) as url:
        await build(tmp_path, config(url, [repository.key_file]))
        with pytest.raises(RepositoryError, match="no key to verify"):
            await build(tmp_path, config(url))
    assert [path for path, _ in seen].count("/apk-configuration") == 1


async def test_announced_keys_are_installed(repository, tmp_path):
    extra = {
        "/apk-configuration": lambda request: {"jwks_uri": f"http://{request.host}/keys.json"},
        "/keys.json": lambda _: {"keys": _key_set(repository)},
    }
    listing = tmp_path / "root/etc/apk/repositories"
    listing.parent.mkdir(parents=True)
    words = ("install-keys", "--root", tmp_path / "root")
    async with served(files(repository.root, f"me:{SECRET}", extra=extra)) as url:
        place = url.replace("http://", f"http://me:{SECRET}@")
        listing.write_text(f"# comment\n\n/some/folder\n@t {place}\n")
        done = await asyncio.to_thread(run, tmp_path / "cache", *words)
        listing.write_text("/some/folder\n")
        none = await asyncio.to_thread(run, tmp_path / "cache", *words, status=1)
    file = listing.parent / "keys" / repository.key.name
    assert done.stdout == f"{file}\n"
    assert load_pem_public_key(file.read_bytes()) == load_pem_public_key(
        repository.key.public_pem()
    )
    assert "none of the repositories" in none.stderr


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500])
async def test_what_is_not_announced(status):
    async def fetch(url, max_size):
        assert url == "https://h.example/os/apk-configuration"
        assert max_size
        raise HttpError("no", status=status)

    if status == 500:
        with pytest.raises(HttpError):
            await discover_keys(fetch, "https://h.example/os", Arch.AMD64)
    else:
        assert await discover_keys(fetch, "https://h.example/os", Arch.AMD64) == {}


async def test_alpine_keys(repository, tmp_path):
    pem = repository.key_file.read_bytes()
    listing = {
        "release_branches": [
            {"rel_branch": "v3.22", "keys": {"x86_64": [{"url": "/keys/alpine%40x-1.rsa.pub"}]}},
            {"rel_branch": "v3.21"},
        ],
        "latest_stable": "v3.22",
    }
    (tmp_path / "site" / "keys").mkdir(parents=True)
    (tmp_path / "site" / "keys" / "alpine@x-1.rsa.pub").write_bytes(pem)
    extra = {"/releases.json": lambda _: listing}
    async with served(files(tmp_path / "site", extra=extra)) as url, Http() as http:
        environ = {"PLIMSOLL_ALPINE_RELEASES": f"{url}/releases.json"}

        async def fetch(url, max_size):
            return await http.get_bytes(url, max_size=max_size)

        async def find(repo, arch=Arch.AMD64):
            return await discover_keys(fetch, repo, arch, environ)

        base = "https://mirror.example/alpine"
        assert await find(f"{base}/v3.22/main") == {"alpine@x-1.rsa.pub": pem.decode()}
        assert await find(f"{base}/latest-stable/main") == {"alpine@x-1.rsa.pub": pem.decode()}
        assert await find(f"{base}/v3.22/main", Arch.ARM64) == {}
        assert await find(f"{base}/v3.21/main") == {}
        assert await find(f"{base}/edge/main") == {}
        listing["release_branches"][0]["keys"]["x86_64"] = [
            {"url": "http://keys.example/a.rsa.pub"}
        ]
        with pytest.raises(DiscoveryError, match="not protected by TLS"):
            await find(f"{base}/v3.22/main")
        listing["release_branches"] = 7
        with pytest.raises(DiscoveryError, match="not Alpine's list"):
            await find(f"{base}/v3.22/main")


async def test_the_image_of_a_lock_is_that_of_its_configuration(repository, tmp_path, monkeypatch):
    """With a login in the URL, a tag, and a folder whose name has a blank."""
    monkeypatch.chdir(tmp_path)
    local = Repository(tmp_path / "my repo", repository.key)
    local.add("lib", {"usr/lib/lib": "lib"})
    local.write()
    async with served(files(repository.root, f"me:{SECRET}")) as url:
        contents = Contents(
            repositories=[url.replace("http://", f"http://me:{SECRET}@"), "@t my repo"],
            build_repositories=["./my repo"],
            runtime_repositories=["./my repo"],
            keyring=[str(repository.key_file)],
            packages=["app", "lib@t"],
        )
        wanted = ImageConfiguration(contents=contents)
        lock, image, _ = await build(tmp_path, wanted)
        assert [r.name for r in lock.contents.build_repositories] == ["./my repo/x86_64"]
        assert [r.name for r in lock.contents.repositories] == [f"{url}/x86_64", "my repo/x86_64"]
        async with Engine(Settings(cache_dir=tmp_path / "other")) as engine:
            locked = locked_sources(wanted, Lock.parse(lock.dump(), "lock"))
            (again,) = await build_all(engine, locked, lock, [Arch.AMD64])
    assert again.descriptor == image.descriptor


async def test_a_tag_that_no_repository_has_is_told(repository, tmp_path):
    told = []
    wanted = config(str(repository.root), [repository.key_file])
    contents = wanted.contents.model_copy(update={"packages": ["app@edge"]})
    settings = Settings(cache_dir=tmp_path / "cache")
    async with Engine(settings, Events(say=told.append)) as engine:
        await engine.resolve(wanted.model_copy(update={"contents": contents}), [Arch.AMD64])
    assert told == ["app@edge: no repository has the tag edge, so any may serve it"]


async def test_logins_of_two_hosts_leak_nowhere(repository, tmp_path, monkeypatch, capfd):
    other = Repository(tmp_path / "other", repository.key)
    other.add("lib", {"usr/lib/lib": "lib"})
    other.write()
    netrc = tmp_path / "netrc"
    seen: list = []
    monkeypatch.setenv("NETRC", str(netrc))
    one = files(repository.root, f"me:{SECRET}", seen)
    two = files(other.root, f"you:{SECRET}", seen)
    async with served(one) as first, served(two) as second:
        host = second.removeprefix("http://")
        netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
        monkeypatch.setenv("HTTP_AUTH", f"basic:{host}:you:{SECRET}")
        wanted = ImageConfiguration(
            contents=Contents(
                repositories=[first, second],
                keyring=[str(repository.key_file)],
                packages=["app", "lib"],
            )
        )
        lock, image, layers = await build(tmp_path, wanted)
        with_login = first.replace("http://", f"http://me:{SECRET}@")
        netrc.write_text("")
        contents = wanted.contents.model_copy(update={"repositories": [with_login, second]})
        inline = wanted.model_copy(update={"contents": contents})
        second_lock, second_image, more = await build(tmp_path / "b", inline)
        monkeypatch.setenv("HTTP_AUTH", f"basic:{host}:you:wrong-{SECRET}")
        with pytest.raises(HttpError) as refused:
            await build(tmp_path / "c", wanted)
    assert SECRET not in str(refused.value)
    texts = [lock.dump(), second_lock.dump(), image.config, second_image.config, image.sbom,
             second_image.sbom, gzip.decompress(layers), gzip.decompress(more)]  # fmt: skip
    encoded = base64.b64encode(f"me:{SECRET}".encode())
    for text in texts:
        assert SECRET.encode() not in text
        assert encoded not in text
    for path in tmp_path.rglob("cache/**/*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes()
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err


async def test_what_docker_is_logged_in_to_is_used_where_nothing_else_is(
    repository, tmp_path, monkeypatch
):
    seen: list = []
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    async with served(files(repository.root, f"me:{SECRET}", seen)) as url:
        auth = base64.b64encode(f"me:{SECRET}".encode()).decode()
        text = json.dumps({"auths": {url.removeprefix("http://"): {"auth": auth}}})
        (tmp_path / "config.json").write_text(text)
        await build(tmp_path, config(url, [repository.key_file]))
        # Asked without a login first, and never again.
        assert [login is None for _, login in seen] == [True, False, False]
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(HttpError) as refused:
            await build(tmp_path, config(url, [repository.key_file]))
    assert "401" in str(refused.value)
    assert "docker" in str(refused.value)


async def test_a_mirror_that_is_away_is_waited_for_once(repository, tmp_path, unused_tcp_port):
    environ = {}
    seen: list = []
    async with served(files(repository.root, seen=seen)) as url:
        environ["PLIMSOLL_MIRRORS"] = f"{url}=http://127.0.0.1:{unused_tcp_port}"
        async with Transport(Logins({}), environ) as http:
            http.retry = RetryPolicy(attempts=2, base=0.01)
            index = f"{url}/x86_64/APKINDEX.tar.gz"
            await http.get_bytes(index, max_size=1 << 20)
            http.retry = RetryPolicy(attempts=5, base=60)
            await http.get_bytes(index, max_size=1 << 20)
    assert len(seen) == 2


async def test_mirrors_come_first_and_get_no_foreign_login(repository, tmp_path):
    asked, mirrored = [], []
    original = files(repository.root, f"me:{SECRET}", asked)
    async with served(original) as url, served(files(repository.root, "", mirrored)) as mirror:
        environ = {
            "PLIMSOLL_MIRRORS": f"{url}={mirror}",
            "HTTP_AUTH": f"basic:{url[7:]}:me:{SECRET}",
        }
        logins = Logins(environ)
        index = f"{url}/x86_64/APKINDEX.tar.gz"
        async with Transport(logins, environ) as http:
            data = await http.get_bytes(index, max_size=1 << 20, headers=logins.headers(index))
            assert data == (repository.root / "x86_64/APKINDEX.tar.gz").read_bytes()
            target = tmp_path / "a.apk"
            package = f"{url}/x86_64/app-1.0-r0.apk"
            await http.download(package, target, max_size=1 << 20, headers=logins.headers(package))
            assert not asked
            assert all(login is None for _, login in mirrored)
            (repository.root / "only-here").write_text("x")
            mirrored.clear()
        async with Transport(logins, {"PLIMSOLL_MIRRORS": f"{url}={mirror}/nothing"}) as http:
            await http.get_bytes(index, max_size=1 << 20, headers=logins.headers(index))
            assert len(asked) == 1
    with pytest.raises(MirrorError, match="not ORIGINAL=MIRROR"):
        Transport(Logins({}), {"PLIMSOLL_MIRRORS": "x"})


async def push(registry, place, arch, path, kind):
    """Write one file of a repository, as the ADR says."""
    reference = Reference.parse(f"{place}:{file_tag(arch, path.name)}")
    layer = await registry.push_blob(reference, path.read_bytes(), kind)
    empty = Descriptor.of(b"{}", "application/vnd.oci.empty.v1+json")
    await registry.push_blob(reference, b"{}", empty.media_type)
    manifest = Manifest(config=empty, layers=(layer,), artifact_type=kind).to_bytes()
    await registry.push_manifest(reference, manifest, "application/vnd.oci.image.manifest.v1+json")


async def test_repository_in_a_registry(repository, tmp_path, monkeypatch):
    repository.add("lib++", {"usr/lib/l": "l"}, version="1.2_p3-r0")
    repository.write()
    with distribution_registry(auth=True) as server:
        monkeypatch.setenv("DOCKER_CONFIG", str(server.docker_config(tmp_path / "docker")))
        place = f"{server.host}/team/packages"
        async with Registry(Credentials.default()) as registry:
            folder = repository.root / "x86_64"
            for path in sorted(folder.glob("*.apk")):
                await push(registry, place, "x86_64", path, PACKAGE_TYPE)
            index = folder / "APKINDEX.tar.gz"
            await push(registry, place, "x86_64", index, INDEX_TYPE)
        wanted = config(f"oci://{place}", [repository.key_file])
        contents = wanted.contents.model_copy(update={"packages": ["app", "lib++"]})
        wanted = wanted.model_copy(update={"contents": contents})
        lock, image, layers = await build(tmp_path, wanted)
        assert {p.name for p in lock.contents.packages} == {"app", "lib++"}
        again, same, _ = await build(tmp_path, wanted)
        assert (again, same.descriptor) == (lock, image.descriptor)
        assert b"oci://" not in gzip.decompress(layers).replace(b'"oci://', b"")
        empty = config(f"oci://{server.host}/team/none", [repository.key_file])
        with pytest.raises(RepositoryError, match="no index for x86_64"):
            await build(tmp_path, empty)


async def test_the_cache_shows_an_index_only_to_whom_its_keys_are_trusted(repository, tmp_path):
    """Tenants of one cache: another keyring, or none where signatures were ignored."""
    stranger = SigningKey.generate("stranger.rsa.pub", bits=2048)
    (tmp_path / stranger.name).write_bytes(stranger.public_pem())
    async with served(files(repository.root)) as url:
        ours, theirs = (
            config(url, [key]) for key in (repository.key_file, tmp_path / stranger.name)
        )
        for settings in ({"ignore_signatures": True}, {}):
            _, image, _ = await build(tmp_path, ours, **settings)
            assert image.packages == (("app", "1.0-r0"),)
            # The server says that nothing changed, and so does the cache.
            with pytest.raises(IndexSignatureError, match="the keyring has stranger"):
                await build(tmp_path, theirs)
            with pytest.raises(RepositoryError, match="not in the cache"):
                await build(tmp_path, theirs, offline=True)
        # What the cache has is verified as if it came just now.
        for entry in (tmp_path / "cache").rglob("indexes/*/*"):
            head, _, body = entry.read_bytes().partition(b"\n")
            body = body[:-9] + bytes([body[-9] ^ 1]) + body[-8:]
            meta = json.loads(head) | {"sha256": hashlib.sha256(body).hexdigest()}
            entry.write_bytes(json.dumps(meta).encode() + b"\n" + body)
        with pytest.raises(IndexSignatureError, match="wrong signature"):
            await build(tmp_path, ours, offline=True)


@pytest.mark.parametrize(
    ("place", "message", "hint"),
    [
        ("https://", "names no server", "https://HOST/PATH"),
        ("file://far/os", "names no server", "or a path"),
        ("ftp://h.example/os", "the scheme 'ftp'", "use a path"),
        ("", "has no URL", "leave it out"),
        ("@t-x /os", "is no repository", "'@tag URL'"),
    ],
)
def test_what_is_no_repository_is_said_in_words(place, message, hint):
    with pytest.raises(RepositoryError) as refused:
        parse_repository(place)
    assert message in refused.value.message
    assert hint in refused.value.hint


async def test_repositories_of_this_machine(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    repository.root.rename(tmp_path / "my repo")
    repository.root = tmp_path / "my repo"
    key = repository.key_file
    for place in (
        "my repo",
        "./my repo/",
        "@t my repo",
        "file://localhost" + quote(f"{tmp_path}/my repo"),
    ):
        wanted = config(place, [key])
        tagged = ["app@t"] if place.startswith("@") else ["app"]
        contents = wanted.contents.model_copy(update={"packages": tagged})
        _, image, _ = await build(tmp_path, wanted.model_copy(update={"contents": contents}))
        assert image.packages == (("app", "1.0-r0"),)
    with pytest.raises(RepositoryError) as refused:
        await build(tmp_path, config("my repo/x86_64", [key]))
    assert "leave /x86_64 off" in refused.value.hint


def test_oci_urls_say_which_registry():
    with pytest.raises(OciRepositoryError, match="does not say which registry"):
        file_reference("oci://registry/os/x86_64/APKINDEX.tar.gz")
    for host in ("registry:443", "registry.example", "localhost"):
        reference, _ = file_reference(f"oci://{host}/os/x86_64/APKINDEX.tar.gz")
        assert (reference.registry, reference.repository) == (host, "os")
    with pytest.raises(LoginVariableError, match="login in the URL") as refused:
        Logins({}).strip(f"oci://me:{SECRET}@registry.example/os")
    assert SECRET not in str(refused.value)


def test_tags_of_files():
    assert file_tag("x86_64", "APKINDEX.tar.gz") == "x86_5F64.index"
    assert file_tag("aarch64", "lib++-1.2_p3-r0.apk") == "aarch64.apk.lib_2B_2B-1.2_5Fp3-r0.apk"
    assert file_tag("x86_64", "a" * 200).startswith("sha256.")
    assert len({file_tag("a", name) for name in ("x_2B", "x+", "x", "X")}) == 4
    assert json.dumps(file_tag("a", "é.apk")) == '"a.apk._C3_A9.apk"'


def _bytes_within(data: bytes) -> Iterator[bytes]:
    """Everything in an archive, whatever it is packed in."""
    yield data
    if data.startswith(b"\x1f\x8b"):
        yield from _bytes_within(gzip.decompress(data))
    with contextlib.suppress(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if member.isfile():
                yield from _bytes_within(tar.extractfile(member).read())


async def test_no_command_shows_or_keeps_a_login(repository, tmp_path):
    """Neither does the log of everything, nor what is said of URLs that are not understood."""
    secret = SECRET.replace("-", "%2D")
    file, cache = tmp_path / "image.yaml", tmp_path / "cache"
    assert repository.key_file.exists()
    async with served(files(repository.root, f"me:{SECRET}")) as url:
        place = url.replace("http://", f"http://me:{secret}@")

        def write(packages="app", place=place):
            lines = [
                "contents:",
                f"  repositories: ['{place}']",
                f"  runtime_repositories: ['{place}/more', '@tag {place}/tagged']",
                f"  keyring: ['{place}/{repository.key.name}']",
                f"  packages: [{packages}]",
                "archs: [amd64]",
            ]
            file.write_text("\n".join(lines))

        async def command(name, *arguments, status=0):
            words = [name, file, *arguments, "--log-level", "debug"]
            done = await asyncio.to_thread(run, cache, *words, status=status, cwd=tmp_path)
            return done.stdout + done.stderr

        write()
        told = [
            await command("show-config"),
            await command("show-packages", "--format", "{repository}"),
            await command("lock"),
            await command("build", "x:1", tmp_path / "out.tar"),
        ]
        write(packages="nothing")
        told.append(await command("lock", status=1))
        write(place=place.replace("me:", "m/e:"))
        told.append(await command("lock", status=1))
        write(place=place.replace(secret, f"wrong-{secret}"))
        told.append(await command("show-packages", status=1))
    assert "401" in told[-1]
    kept = [tmp_path / "image.lock.json", *tmp_path.glob("*.tar"), *tmp_path.glob("*.spdx.json")]
    kept += [path for path in cache.rglob("*") if path.is_file()]
    assert len(kept) > 10
    secrets = [SECRET, secret, base64.b64encode(f"me:{SECRET}".encode()).decode()]
    for text in [*(text.encode() for text in told), *(path.read_bytes() for path in kept)]:
        for data in _bytes_within(text):
            assert not any(word.encode() in data for word in secrets)
