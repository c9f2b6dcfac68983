from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess

import pytest

from gotools import tool
from layout_copy import pull_layout, push_layout
from oci_images import add_image, add_index
from plimsoll.http import RetryPolicy
from plimsoll.oci.archive import Tagged, write_archive
from plimsoll.oci.auth import Credentials
from plimsoll.oci.digest import digest_of
from plimsoll.oci.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    LayoutError,
    RegistryUnauthorizedError,
    RegistryUnavailableError,
    ResponseTooLargeError,
)
from plimsoll.oci.layout import Layout
from plimsoll.oci.model import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from plimsoll.oci.reference import Reference
from plimsoll.oci.referrers import fallback_tag
from plimsoll.oci.registry import Artifact, Registry
from registries import PASSWORD, USER, RegistryServer, crane_registry, distribution_registry

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def distribution():
    with distribution_registry() as server:
        yield server


@pytest.fixture(scope="module")
def guarded():
    with distribution_registry(auth=True) as server:
        yield server


@pytest.fixture(scope="module")
def with_referrers():
    with crane_registry(page_size=2) as server:
        yield server


@pytest.fixture(params=["distribution", "with_referrers"])
def server(request) -> RegistryServer:
    return request.getfixturevalue(request.param)


@pytest.fixture
def ref(server, request) -> Reference:
    name = request.node.name.partition("[")[0].replace("_", "-")
    return Reference.parse(f"{server.host}/{name}/app:v1")


@pytest.fixture
async def registry():
    async with Registry() as client:
        yield client


def crane(*argv: str, **environ: str) -> str:
    done = subprocess.run(
        [str(tool("crane")), *argv],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def push_subject(registry: Registry, ref: Reference, text: str = "") -> Descriptor:
    config = await registry.push_blob(ref, json.dumps({"x": text}).encode(), OCI_CONFIG)
    manifest = Manifest(config=config, layers=()).to_bytes()
    return await registry.push_manifest(ref, manifest, OCI_MANIFEST)


async def test_what_we_push_others_read_and_we_read_what_others_push(registry, ref, tmp_path):
    layout = Layout.create(tmp_path / "layout")
    top = add_index(layout)
    await push_layout(registry, layout, top, ref)

    await asyncio.to_thread(crane, "validate", "--remote", str(ref))
    assert (await asyncio.to_thread(crane, "digest", str(ref))).strip() == top.digest
    copied = ref.with_tag("copied")
    await asyncio.to_thread(crane, "copy", str(ref), str(copied))

    assert (await registry.resolve(copied)).digest == top.digest
    again = Layout.create(tmp_path / "again")
    pulled = await pull_layout(registry, copied, again)
    assert [d.digest for d in again.blobs_of(pulled)] == [d.digest for d in layout.blobs_of(top)]


async def test_a_large_blob_goes_in_pieces_and_comes_back_whole(server, ref, tmp_path):
    source = tmp_path / "blob"
    source.write_bytes(os.urandom(5_000_001))
    async with Registry(piece=1 << 20) as registry:
        pushed = await registry.push_blob(ref, source)
        target = tmp_path / "back"
        await registry.download_blob(ref, pushed.digest, target, size=pushed.size)
    assert target.read_bytes() == source.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".part"] == []


async def test_a_blob_that_is_there_is_not_read(registry, ref, tmp_path):
    pushed = await registry.push_blob(ref, b"content")
    # The file has other bytes: had they been sent, the registry would have refused them.
    other = tmp_path / "file"
    other.write_bytes(b"different")
    again = await registry.push_blob(ref, other, digest=pushed.digest)
    assert again.digest == pushed.digest
    assert await registry.blob_size(ref, pushed.digest) == len(b"content")


async def test_a_blob_is_mounted_from_another_repository(registry, ref):
    pushed = await registry.push_blob(ref, b"somewhere else")
    other = Reference.parse(f"{ref.name}/other")
    await registry.push_blob(
        other, b"somewhere else", digest=pushed.digest, mount_from=[ref.repository]
    )
    assert await registry.get_blob(other, pushed.digest, 100) == b"somewhere else"


async def test_mounting_what_is_not_there_falls_back_to_pushing(registry, ref):
    other = Reference.parse(f"{ref.name}/other")
    pushed = await registry.push_blob(other, b"new", mount_from=[ref.repository, "no/such"])
    assert await registry.get_blob(other, pushed.digest, 100) == b"new"


async def test_a_file_that_is_not_what_its_digest_says_is_refused(registry, ref, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"wrong")
    with pytest.raises(DigestMismatchError) as caught:
        await registry.push_blob(ref, wrong, digest=digest_of(b"right"))
    assert caught.value.retryable is False
    with pytest.raises(DigestMismatchError):
        await registry.push_blob(ref, b"wrong", digest=digest_of(b"right"))
    with pytest.raises(LayoutError, match="cannot read"):
        await registry.push_blob(ref, tmp_path / "none")


async def test_tags_are_made_listed_and_deleted(registry, ref):
    pushed = await push_subject(registry, ref)
    assert await registry.tag(ref, "v2") == pushed
    assert await registry.list_tags(ref) == ["v1", "v2"]
    await registry.delete_manifest(ref.with_digest(pushed.digest))
    with pytest.raises(ImageNotFoundError):
        await registry.resolve(ref.with_digest(pushed.digest))
    await registry.delete_manifest(ref.with_digest(pushed.digest))


async def test_missing_things_are_named(registry, ref):
    await push_subject(registry, ref)
    with pytest.raises(ImageNotFoundError, match="nothing-here") as caught:
        await registry.resolve(ref.with_tag("nothing-here"))
    assert caught.value.host == ref.registry
    assert caught.value.code == "MANIFEST_UNKNOWN"
    assert await registry.blob_size(ref, digest_of(b"unknown")) is None
    with pytest.raises(ImageNotFoundError):
        await registry.get_blob(ref, digest_of(b"unknown"), 10)


async def test_a_blob_over_the_limit_is_refused(registry, ref):
    pushed = await registry.push_blob(ref, bytes(1000))
    with pytest.raises(ResponseTooLargeError, match="over 999"):
        await registry.get_blob(ref, pushed.digest, 999)


async def test_attached_artifacts_are_found_by_type(registry, ref):
    subject = await push_subject(registry, ref)
    for number in range(5):
        attached = await registry.attach(
            ref,
            subject,
            artifact_type="application/vnd.test.a",
            layers=[Artifact("text/plain", b"%d" % number, {"n": str(number)})],
            annotations={"number": str(number)},
        )
        manifest = Manifest.parse(
            (await registry.get_manifest(ref.with_digest(attached.digest)))[1]
        )
        assert manifest.subject == subject
        assert await registry.get_blob(ref, manifest.layers[0].digest, 9) == b"%d" % number
    other = Artifact("text/plain", b"other")
    await registry.attach(ref, subject, artifact_type="application/vnd.test.b", layers=[other])

    digest = ref.with_digest(subject.digest)
    everything = await registry.referrers(digest)
    assert len(everything) == 6
    of_a = await registry.referrers(digest, "application/vnd.test.a")
    assert sorted(item.annotations["number"] for item in of_a) == list("01234")
    assert await registry.referrers(digest, "application/vnd.test.c") == []
    assert await registry.referrers(ref.with_digest(digest_of(b"nobody"))) == []


async def test_attaching_the_same_twice_lists_it_once(registry, ref):
    subject = await push_subject(registry, ref)
    for _ in range(2):
        await registry.attach(ref, subject, artifact_type="a/b", layers=[Artifact("t/p", b"x")])
    assert len(await registry.referrers(ref.with_digest(subject.digest))) == 1


async def test_writers_of_the_fallback_tag_keep_each_others_entries(distribution):
    ref = Reference.parse(f"{distribution.host}/crowd/app:v1")
    async with Registry() as one, Registry() as two, Registry() as three:
        subject = await push_subject(one, ref)
        await asyncio.gather(
            *(
                (one, two, three)[number % 3].attach(
                    ref, subject, artifact_type="a/b", layers=[Artifact("t/p", b"%d" % number)]
                )
                for number in range(9)
            )
        )
        assert len(await one.referrers(ref.with_digest(subject.digest))) == 9
        tag = fallback_tag(subject.digest)
        assert (await one.resolve(ref.with_tag(tag))).media_type == OCI_INDEX


async def test_a_docker_archive_is_read_by_others(tmp_path, server, ref):
    layout = Layout.create(tmp_path / "layout")
    image = add_image(layout)
    archive = tmp_path / "image.tar"
    write_archive(layout, [Tagged(image, [str(ref)])], archive)
    await asyncio.to_thread(crane, "validate", "--tarball", str(archive))
    await asyncio.to_thread(crane, "push", str(archive), str(ref))
    async with Registry() as registry:
        assert (await registry.resolve(ref)).size > 0


async def test_a_layout_is_read_by_others(tmp_path, server, ref):
    layout = Layout.create(tmp_path / "layout")
    top = add_index(layout)
    layout.name(top, "v1")
    await asyncio.to_thread(crane, "push", "--index", str(layout.path), str(ref))
    async with Registry() as registry:
        found = await registry.get_manifest(ref)
    assert top.digest in found[1].decode() or found[0].digest == top.digest


async def test_a_login_from_a_docker_config_opens_the_registry(guarded, tmp_path):
    ref = Reference.parse(f"{guarded.host}/closed/app:v1")
    config = guarded.docker_config(tmp_path / "docker")
    credentials = Credentials.default({"DOCKER_CONFIG": str(config), "HOME": str(tmp_path)})
    async with Registry(credentials) as registry:
        pushed = await push_subject(registry, ref)
    digest = await asyncio.to_thread(crane, "digest", str(ref), DOCKER_CONFIG=str(config))
    assert digest.strip() == pushed.digest


async def test_a_pull_secret_opens_the_registry_and_the_right_one_of_several(guarded):
    ref = Reference.parse(f"{guarded.host}/several/app:v1")

    def secret(password: str, name: str) -> Credentials:
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        payload = {"auths": {guarded.host: {"auth": auth}}}
        return Credentials.from_bytes(json.dumps(payload).encode(), name)

    several = Credentials.merged(secret("old", "secret old"), secret(PASSWORD, "secret new"))
    async with Registry(several) as registry:
        await push_subject(registry, ref)
    async with Registry(secret("old", "secret team/old")) as registry:
        with pytest.raises(RegistryUnauthorizedError) as caught:
            await registry.resolve(ref)
    assert "secret team/old" in str(caught.value)
    assert caught.value.retryable is False


async def test_a_registry_that_wants_a_login_says_so(guarded, registry):
    ref = Reference.parse(f"{guarded.host}/closed/app:v1")
    with pytest.raises(RegistryUnauthorizedError, match="docker login") as caught:
        await registry.resolve(ref)
    assert guarded.host in caught.value.message


async def test_a_credential_helper_is_asked(guarded, tmp_path, monkeypatch):
    helper = tmp_path / "docker-credential-test"
    answer = json.dumps({"ServerURL": guarded.host, "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat >{tmp_path}/asked\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credHelpers": {guarded.host: "test"}}))
    async with Registry(Credentials.from_file(config)) as registry:
        await push_subject(registry, Reference.parse(f"{guarded.host}/helped/app:v1"))
    assert (tmp_path / "asked").read_text() == guarded.host


async def test_nobody_listens(unused_tcp_port_factory):
    ref = Reference.parse(f"127.0.0.1:{unused_tcp_port_factory()}/a/b:c")
    async with Registry(retry=RetryPolicy(attempts=2, base=0.01)) as registry:
        with pytest.raises(RegistryUnavailableError) as caught:
            await registry.resolve(ref)
    assert caught.value.retryable is True
