"""Configurations and sources from where teams keep them: Git, registries, servers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import io
import shutil
import subprocess
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from git_server import commit, git, git_server, make_repository
from package_builds import StepFailedError, debian_base, package_builds
from plimsoll.api.packagerequest import PackageRequest
from plimsoll.arch import Arch
from plimsoll.builder.git.errors import GitError, NotSignedError
from plimsoll.builder.package.compile import compile_package
from plimsoll.builder.package.library import Library
from plimsoll.builder.package.load import CACHE, load_text
from plimsoll.builder.package.runner import Host, Place, Settings
from plimsoll.builder.steps.common import registry_of
from plimsoll.builder.steps.packagecommon import TITLE, Storage
from plimsoll.builder.steps.packagegit import GitMirrors
from plimsoll.builder.steps.packagerecord import UNSIGNED_TYPE
from plimsoll.builder.steps.packagestate import read_snapshot
from plimsoll.errors import Error
from plimsoll.http import Http
from plimsoll.oci.descriptor import Descriptor
from plimsoll.oci.model import EMPTY_DESCRIPTOR, EMPTY_JSON, OCI_MANIFEST, Manifest
from plimsoll.oci.reference import Reference
from registries import distribution_registry

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get"),
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap"),
]

CONFIG = """\
package:
  name: {name}
  version: 1.0.0
  epoch: 0
  description: a test
  copyright: [{{license: MIT}}]
environment:
  contents: {{packages: [bash, coreutils, tar, gzip]}}
pipeline:
{steps}
"""
LOCAL = "  - uses: team/install\n    with: {file: words.txt}\n"
PIPELINE = """\
inputs:
  file: {required: true}
pipeline:
  - runs: |
      mkdir -p ${{targets.contextdir}}/usr/share/x
      cp ${{inputs.file}} ${{targets.contextdir}}/usr/share/x/
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return debian_base(tmp_path_factory)


@pytest.fixture
def builds(tmp_path, base):
    with (
        distribution_registry() as registry,
        package_builds(tmp_path, registry.host, base) as builds,
    ):
        yield builds


@contextlib.contextmanager
def serving_git(root):
    """A Git server in a thread of its own, as the steps run event loops themselves."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = contextlib.AsyncExitStack()
    try:
        entering = stack.enter_async_context(git_server(root))
        yield asyncio.run_coroutine_threadsafe(entering, loop).result(20)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@contextlib.contextmanager
def serving_files(folder):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(20)


def test_git(builds, tmp_path):
    with serving_git(tmp_path / "srv") as server:
        folder = make_repository(server.root / "packages.git")
        commit(folder, "os/hello.yaml", CONFIG.format(name="hello", steps=LOCAL))
        commit(folder, "os/pipelines/team/install.yaml", PIPELINE)
        number = commit(folder, "os/hello/words.txt", "words")
        source = {"url": f"{server.url}/packages.git/.git", "path": "os"}
        builds.sources = [{"name": "tree", "git": source}]
        builds.all()
        record = _record(builds, "hello")
        assert record["commit"] == number
        assert record["repository"] == source["url"]
        # A commit that changes nothing of it leaves it alone.
        commit(folder, "os/README", "words")
        assert builds.plan()["unchanged"]
        commit(folder, "os/hello/words.txt", "other words")
        assert builds.ready(builds.plan()) == ["hello-1.0.0-r1"]
        # Nobody signed it.
        source["requireSigned"] = {"people": [{"name": "Ada", "sshKeys": [KEY]}]}
        with pytest.raises(StepFailedError, match="NotSigned"):
            builds.plan()
        # Ada did.
        key = tmp_path / "ada"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", str(key)], check=True
        )
        source["requireSigned"]["people"][0]["sshKeys"] = [key.with_suffix(".pub").read_text()]
        git(folder, "config", "gpg.format", "ssh")
        git(folder, "config", "user.signingkey", str(key))
        number = commit(folder, "os/hello/words.txt", "signed words", "-S")
        assert builds.all() == ["hello-1.0.0-r1"]
        record = _record(builds, "hello")
        assert (record["signer"]["name"], record["signer"]["commit"]) == ("Ada", number)
        builds.sources = [{"name": "tree", "git": {"url": f"{server.url}/none.git"}}]
        with pytest.raises(StepFailedError, match="there is no repository"):
            builds.plan()


def test_registry(builds):
    files = {
        "hello.yaml": CONFIG.format(name="hello", steps=LOCAL),
        "pipelines/team/install.yaml": PIPELINE,
        "hello/words.txt": "words",
    }
    builds.sources = [{"name": "artifact", "oci": _push(builds, "tree", _tar(files))}]
    builds.all()
    assert builds.plan()["unchanged"]
    single = CONFIG.format(name="other", steps="  - runs: exit 0\n")
    name = _push(builds, "single", single.encode(), title="other.yaml")
    builds.sources.append({"name": "single", "oci": name})
    assert builds.ready(builds.plan()) == ["other-1.0.0-r0"]


@pytest.mark.parametrize(
    ("data", "title", "said"),
    [
        (b"nonsense", "", "neither a tar nor a file with a title"),
        (b"x", "../x.yaml", "not relative and plain"),
        (b"x", "x.txt", "has no package configuration"),
        (b"\x1f\x8bnonsense", "", "source artifact"),
    ],
)
def test_artifacts_that_are_none(builds, data, title, said):
    builds.sources = [{"name": "artifact", "oci": _push(builds, "odd", data, title=title)}]
    with pytest.raises(StepFailedError, match=said):
        builds.plan()


def test_tars_that_lead_elsewhere(builds):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("../../x.yaml")
        archive.addfile(member)
    builds.sources = [{"name": "artifact", "oci": _push(builds, "evil", out.getvalue())}]
    with pytest.raises(StepFailedError, match="not relative and plain"):
        builds.plan()


def test_sources_by_checksum(builds, tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        member = tarfile.TarInfo("project-1.0/words.txt")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"words"))
    (tmp_path / "www").mkdir()
    (tmp_path / "www/project.tar.gz").write_bytes(out.getvalue())
    digest = hashlib.sha256(out.getvalue()).hexdigest()
    with serving_files(tmp_path / "www") as url:
        fetch = f"""\
  - uses: fetch
    with: {{uri: {url}/project.tar.gz, expected-sha256: {digest}}}
  - runs: |
      mkdir -p ${{{{targets.destdir}}}}/usr/share/x
      cp words.txt ${{{{targets.destdir}}}}/usr/share/x/
"""
        builds.configurations["hello"] = CONFIG.format(name="hello", steps=fetch)
        builds.all()
        (source,) = _record(builds, "hello")["sources"]
        assert (source["uses"], source["expected-sha256"]) == ("fetch", digest)
        wrong = fetch.replace(digest, "0" * 64)
        builds.configurations["hello"] = CONFIG.format(name="hello", steps=wrong)
        with pytest.raises(StepFailedError, match="DigestMismatch"):
            builds.prepare(builds.plan(), "hello")
        none = fetch.replace(f"expected-sha256: {digest}", "expected-none: yes")
        builds.configurations["hello"] = CONFIG.format(name="hello", steps=none)
        with pytest.raises(StepFailedError, match="has no checksum, and steps have no network"):
            builds.prepare(builds.plan(), "hello")


CHECKOUT = """\
package: {name: a, version: 1.2, epoch: 0}
pipeline:
  - uses: git-checkout
    with:
"""


@pytest.mark.parametrize(
    "inputs",
    [
        {"tag": "v1.0"},
        {"branch": "main"},
        {"branch": "main", "expected-commit": "COMMIT"},
        {"tag": "v1.0", "expected-commit": "COMMIT"},
        {},
        {"tag": "v1.0", "cherry-picks": "side/PICK: because"},
        {"tag": "v1.0", "depth": "-1"},
    ],
)
async def test_checkouts_without_network(tmp_path, inputs):
    async with git_server(tmp_path / "srv") as server:
        folder = make_repository(server.root / "project.git")
        commit(folder, "old", "old")
        number = commit(folder, "file", "text")
        git(folder, "tag", "-a", "v1.0", "-m", "one")
        git(folder, "checkout", "-q", "-b", "side")
        pick = commit(folder, "picked", "picked")
        git(folder, "checkout", "-q", "main")
        url = f"{server.url}/project.git/.git"
        lines = {"repository": url, **inputs}
        text = CHECKOUT + "".join(f"      {k}: '{v}'\n" for k, v in lines.items())
        text = text.replace("COMMIT", number).replace("PICK", pick)
        compiled = compile_package(load_text(text, "a.yaml"), Library(), Arch.host())
        cache = tmp_path / "cache"
        async with Http() as http:
            mirrors = GitMirrors(http, cache / "git", _request())
            await mirrors.add(compiled.sources[0].inputs)
    config = tmp_path / "gitconfig"
    config.write_text(mirrors.config().replace(CACHE, str(cache)))
    (tmp_path / "home").mkdir()
    settings = Settings(environment={"GIT_CONFIG_GLOBAL": str(config)}, say=lambda _: None)
    runner = Host(Place(tmp_path / "home", tmp_path, cache), settings)
    for script in compiled.scripts["a"]:
        await runner.run(script)
    assert (tmp_path / "home/file").read_text() == "text"
    assert (tmp_path / "home/picked").exists() == ("cherry-picks" in inputs)


async def test_checkouts_that_are_not_fetched(tmp_path):
    async with git_server(tmp_path / "srv") as server, Http() as http:
        folder = make_repository(server.root / "project.git")
        number = commit(folder)
        url = f"{server.url}/project.git/.git"
        mirrors = GitMirrors(http, tmp_path / "git", _request())
        with pytest.raises(GitError, match="has no tag v9"):
            await mirrors.add({"repository": url, "tag": "v9"})
        with pytest.raises(Error, match=r"submodules of .* are not fetched"):
            await mirrors.add({"repository": url, "recurse-submodules": "true"})
        with pytest.raises(Error, match="is no number"):
            await mirrors.add({"repository": url, "depth": "x"})
        assert not mirrors
        rule = {
            "repository": "http://**",
            "requireSigned": {"people": [{"name": "Ada", "sshKeys": [KEY]}]},
        }
        mirrors = GitMirrors(http, tmp_path / "git", _request(signedSources=[rule]))
        with pytest.raises(NotSignedError):
            await mirrors.add({"repository": url, "branch": "main", "expected-commit": number})


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzQ6FrdT7xU7wX6MkeCXbGwDPHLkyHN3r2zHW1VEsPW"


def _request(**more):
    return PackageRequest.model_validate(
        {
            "name": "x", "namespace": "x", "uid": "x", "sources": [], "archs": [], "storage": "x/y",
            "keys": {}, "signingKey": "x", "started": "2026-11-21T00:00:00Z", "builderId": "x",
            "trustedHosts": ["127.0.0.1"], **more,
        }
    )  # fmt: skip


def _record(builds, name):
    async def read():
        request = PackageRequest.model_validate(builds.request())
        async with registry_of(request) as registry:
            storage = Storage(registry, request)
            snapshot = await read_snapshot(storage, Arch.AMD64, request.keys)
            artifact = snapshot.state.origins[name].artifact
            return (await storage.pull(UNSIGNED_TYPE, artifact)).record

    return asyncio.run(read())


def _tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def _push(builds, tag, data, *, title=""):
    host = builds.storage.partition("/")[0]
    target = Reference.parse(f"{host}/team/sources:{tag}")

    async def push():
        request = PackageRequest.model_validate(builds.request())
        async with registry_of(request) as registry:
            await registry.push_blob(target, EMPTY_JSON)
            blob = await registry.push_blob(target, data, "application/octet-stream")
            notes = {TITLE: title} if title else {}
            layer = Descriptor(
                media_type=blob.media_type, digest=blob.digest, size=blob.size, annotations=notes
            )
            manifest = Manifest(
                config=EMPTY_DESCRIPTOR, layers=(layer,), artifact_type="application/vnd.test"
            )
            await registry.push_manifest(target, manifest.to_bytes(), OCI_MANIFEST)

    asyncio.run(push())
    return str(target)
