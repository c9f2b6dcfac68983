"""What a bad network or a bad registry can do to us, before a real registry."""

from __future__ import annotations

import asyncio
import os
import time

import pytest
from aiohttp import web

from fault_proxy import (
    corrupt,
    cut_download,
    cut_upload,
    drip,
    endless,
    fault_proxy,
    forward,
    hang,
    lose_answer,
    status,
    with_headers,
)
from layout_copy import push_layout
from oci_images import add_index
from plimsoll.errors import Error
from plimsoll.http import RetryPolicy, Timeouts
from plimsoll.http.errors import StorageError
from plimsoll.oci.auth import Credentials
from plimsoll.oci.digest import digest_of
from plimsoll.oci.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    RegistryError,
    RegistryForbiddenError,
    RegistryTimeoutError,
    RegistryUnauthorizedError,
    RegistryUnavailableError,
    ResponseTooLargeError,
)
from plimsoll.oci.layout import Layout
from plimsoll.oci.model import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Artifact, Registry
from registries import crane_registry, distribution_registry

pytestmark = pytest.mark.integration

QUICK = RetryPolicy(attempts=4, base=0.01, longest=3.0)
SHORT = Timeouts(connect=2.0, idle=0.4, total=3.0)
SECRET = "s3cr3t-passw0rd"


@pytest.fixture(scope="module")
def distribution():
    with distribution_registry() as server:
        yield server


@pytest.fixture(scope="module")
def with_referrers():
    with crane_registry() as server:
        yield server


@pytest.fixture
async def proxy(distribution):
    async with fault_proxy(distribution.host) as running:
        yield running


@pytest.fixture
def ref(proxy, request) -> Reference:
    return Reference.parse(f"{proxy.host}/{request.node.originalname.replace('_', '-')}:v1")


def client(*, timeouts=SHORT, **settings) -> Registry:
    settings = {"retry": QUICK, "piece": 1 << 20, **settings}
    return Registry(timeouts=timeouts, **settings)


async def push_image(registry: Registry, ref: Reference) -> Descriptor:
    config = await registry.push_blob(ref, b'{"of":"the image"}', OCI_CONFIG)
    data = Manifest(config=config, layers=()).to_bytes()
    return await registry.push_manifest(ref, data, OCI_MANIFEST)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
async def test_a_passing_fault_is_waited_out(proxy, ref, code):
    proxy.on("HEAD", "/blobs/", status(code), times=1)
    proxy.on("POST", "/uploads/", status(code), times=1)
    proxy.on("PUT", "/uploads/", status(code), times=1)
    proxy.on("PUT", "/manifests/", status(code), times=1)
    proxy.on("GET", "/manifests/", status(code), times=1)
    async with client() as registry:
        pushed = await push_image(registry, ref)
        assert (await registry.get_manifest(ref))[0] == pushed


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        (401, RegistryUnauthorizedError, False),
        (403, RegistryForbiddenError, False),
        (404, ImageNotFoundError, False),
        (418, RegistryError, False),
        (429, RegistryUnavailableError, True),
        (500, RegistryUnavailableError, True),
    ],
)
async def test_a_lasting_fault_is_told(proxy, ref, code, kind, retryable):
    body = b'{"errors":[{"code":"SOME_CODE","message":"some\\u001bwords"}]}'
    proxy.on("GET", "/manifests/", status(code, body=body))
    async with client() as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.get_manifest(ref)
    error = caught.value
    assert type(error) is kind
    assert error.retryable is retryable
    assert (error.status, error.code) == (code, "SOME_CODE")
    assert proxy.host in error.message
    assert ref.repository in error.message or ref.repository in str(error)
    assert "some words" in error.message
    assert proxy.count("GET", "/manifests/") == (QUICK.attempts if retryable else 1)


async def test_retry_after_is_honoured(proxy, ref):
    async with client() as registry:
        await push_image(registry, ref)
        proxy.on("GET", "/manifests/", status(429, {"Retry-After": "1"}), times=1)
        start = time.monotonic()
        await registry.get_manifest(ref)
        assert time.monotonic() - start >= 1.0


async def test_a_retry_after_beyond_patience_is_an_error_at_once(proxy, ref):
    proxy.on("GET", "/manifests/", status(429, {"Retry-After": "3600"}))
    async with client() as registry:
        with pytest.raises(RegistryUnavailableError) as caught:
            await registry.get_manifest(ref)
    assert caught.value.retry_after == 3600.0
    assert proxy.count("GET", "/manifests/") == 1


async def test_a_registry_that_hangs_is_left(proxy, ref):
    proxy.on("GET", "/manifests/", hang)
    async with client(retry=RetryPolicy(attempts=2, base=0.01)) as registry:
        with pytest.raises(RegistryTimeoutError) as caught:
            await registry.get_manifest(ref)
    assert caught.value.retryable is True
    assert proxy.host in str(caught.value)


async def test_a_registry_that_drips_is_left(proxy, ref):
    async with client() as registry:
        pushed = await registry.push_blob(ref, bytes(1000))
    proxy.on("GET", "/blobs/", drip(0.05))
    limits = Timeouts(connect=1.0, idle=0.4, total=0.5)
    async with client(timeouts=limits, retry=RetryPolicy(attempts=1)) as registry:
        with pytest.raises(RegistryTimeoutError):
            await registry.get_blob(ref, pushed.digest, 1000)


async def test_an_endless_answer_is_cut(proxy, ref, tmp_path):
    proxy.on("GET", "/manifests/", endless)
    proxy.on("GET", "/blobs/", endless)
    digest = digest_of(b"")
    async with client() as registry:
        with pytest.raises(ResponseTooLargeError):
            await registry.get_manifest(ref)
        with pytest.raises(ResponseTooLargeError):
            await registry.get_blob(ref, digest, 1 << 20)
        with pytest.raises(ResponseTooLargeError):
            await registry.download_blob(ref, digest, tmp_path / "x", size=3 << 20)
    assert list(tmp_path.iterdir()) == []


async def test_other_bytes_than_the_digest_names_are_refused(proxy, ref, tmp_path):
    async with client() as registry:
        image = await push_image(registry, ref)
        blob = await registry.push_blob(ref, os.urandom(3 << 20))
        proxy.on("GET", "/manifests/|/blobs/", corrupt)
        with pytest.raises(DigestMismatchError, match="answered with"):
            await registry.get_manifest(ref.with_digest(image.digest))
        with pytest.raises(DigestMismatchError):  # the registry's own header gives it away
            await registry.get_manifest(ref)
        with pytest.raises(DigestMismatchError):
            await registry.get_blob(ref, blob.digest, blob.size)
        with pytest.raises(DigestMismatchError):
            await registry.download_blob(ref, blob.digest, tmp_path / "x", size=blob.size)
    assert list(tmp_path.iterdir()) == []


async def test_a_head_with_another_digest_is_refused(proxy, ref):
    async with client() as registry:
        image = await push_image(registry, ref)
        other = digest_of(b"other")
        proxy.on("HEAD", "/manifests/", with_headers(Docker_Content_Digest=other))
        with pytest.raises(DigestMismatchError):
            await registry.resolve(ref.with_digest(image.digest))


async def test_a_manifest_served_as_another_kind_is_refused(proxy, ref):
    async with client() as registry:
        await push_image(registry, ref)
        proxy.on("GET", "/manifests/", with_headers(Content_Type="text/html"))
        assert (await registry.get_manifest(ref))[0].media_type == OCI_MANIFEST
        proxy.rules.clear()
        proxy.on("GET", "/manifests/", with_headers(Content_Type=OCI_INDEX))
        descriptor, data = await registry.get_manifest(ref)
        with pytest.raises(Error, match="is served as"):
            Manifest.parse(data, descriptor.media_type)


async def test_a_cut_download_goes_on_where_it_stopped(proxy, ref, tmp_path):
    data = os.urandom(6 << 20)
    async with client() as registry:
        blob = await registry.push_blob(ref, data)
        proxy.on("GET", "/blobs/", cut_download(2 << 20), times=1)
        proxy.on("GET", "/blobs/", cut_download(1 << 20), times=1)
        await registry.download_blob(ref, blob.digest, tmp_path / "x", size=blob.size)
    assert (tmp_path / "x").read_bytes() == data
    starts = [s.headers.get("Range") for s in proxy.seen if s.method == "GET"]
    offsets = [int(item[6:-1]) for item in starts if item]
    assert len(offsets) == 2
    assert 0 < offsets[0] < offsets[1] <= 3 << 20


async def test_progress_outlasts_the_count_of_attempts(proxy, ref, tmp_path):
    data = os.urandom(8 << 20)
    async with client() as registry:
        blob = await registry.push_blob(ref, data)
        proxy.on("GET", "/blobs/", cut_download((1 << 20) + 1000), times=7)
        await registry.download_blob(ref, blob.digest, tmp_path / "x", size=blob.size)
    assert (tmp_path / "x").read_bytes() == data


async def test_a_download_that_is_always_cut_ends(proxy, ref, tmp_path):
    async with client() as registry:
        blob = await registry.push_blob(ref, os.urandom(1 << 20))
        proxy.on("GET", "/blobs/", cut_download(0))
        with pytest.raises(RegistryUnavailableError):
            await registry.download_blob(ref, blob.digest, tmp_path / "x", size=blob.size)
    assert list(tmp_path.iterdir()) == []


async def test_a_download_nowhere_to_store_is_told(proxy, ref, tmp_path):
    async with client() as registry:
        blob = await registry.push_blob(ref, os.urandom(2 << 20))
        with pytest.raises(StorageError, match="No such file"):
            await registry.download_blob(ref, blob.digest, tmp_path / "none" / "x", size=blob.size)


@pytest.mark.parametrize("after", [0, 1000, 700_000])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_cut_upload_in_pieces_arrives(proxy, ref, tmp_path, after, times):
    source = tmp_path / "blob"
    source.write_bytes(os.urandom(5 << 20))
    proxy.on("PATCH", "/uploads/", cut_upload(after), times=times)
    async with client() as registry:
        blob = await registry.push_blob(ref, source)
        assert blob.size == await registry.blob_size(ref, blob.digest)


async def test_after_a_cut_only_what_is_missing_is_sent(proxy, ref):
    cut = 0

    async def fourth_piece(running, request):
        nonlocal cut
        cut += 1
        return await (cut_upload(0) if cut == 4 else forward)(running, request)

    proxy.on("PATCH", "/uploads/", fourth_piece)
    data = os.urandom(6 << 20)
    async with client() as registry:
        await registry.push_blob(ref, data)
    sent = sum(s.body for s in proxy.seen if s.method == "PATCH")
    assert sent == len(data)
    assert proxy.count("GET", "/uploads/") == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
async def test_an_answer_that_is_lost_does_no_harm(proxy, ref, method):
    proxy.on(method, "/uploads/", lose_answer, times=1)
    data = os.urandom(3 << 20)
    async with client() as registry:
        blob = await registry.push_blob(ref, data)
        assert await registry.blob_size(ref, blob.digest) == len(data)


async def test_a_cut_upload_of_a_small_blob_arrives(proxy, ref):
    proxy.on("PUT", "/uploads/", cut_upload(10), times=2)
    async with client() as registry:
        blob = await registry.push_blob(ref, b"small" * 100)
        assert await registry.get_blob(ref, blob.digest, 500) == b"small" * 100


@pytest.mark.parametrize("code", [404, 405, 416, 501])
async def test_a_registry_without_uploads_in_pieces_gets_the_whole(proxy, ref, code):
    proxy.on("PATCH", "/uploads/", status(code))
    data = os.urandom(3 << 20)
    async with client() as registry:
        blob = await registry.push_blob(ref, data)
        assert await registry.blob_size(ref, blob.digest) == len(data)


async def test_an_upload_that_never_succeeds_ends(proxy, ref):
    proxy.on("PATCH", "/uploads/", cut_upload(0))
    proxy.on("PUT", "/uploads/", status(503))
    async with client() as registry:
        with pytest.raises(RegistryUnavailableError):
            await registry.push_blob(ref, os.urandom(3 << 20))
        with pytest.raises(RegistryUnavailableError):
            await registry.push_blob(ref, b"small")
    assert len(proxy.seen) < 60


async def test_bytes_changed_on_the_way_to_the_registry_are_told(proxy, ref):
    async def change(running, request):
        data = bytearray(await request.read())
        data[0] ^= 1
        async with running.upstream_request(request, bytes(data)) as answer:
            return await relayed(answer)

    proxy.on("PUT", "/uploads/", change)
    async with client() as registry:
        with pytest.raises(DigestMismatchError, match="received other bytes"):
            await registry.push_blob(ref, b"some content")


async def relayed(answer):
    return web.Response(status=answer.status, body=await answer.read())


async def test_one_failed_upload_of_several_is_a_plain_error(proxy, ref, tmp_path):
    layout = Layout.create(tmp_path / "layout")
    top = add_index(layout)
    proxy.on("POST", "/uploads/", status(403))
    async with client() as registry:
        with pytest.raises(RegistryForbiddenError):
            await push_layout(registry, layout, top, ref)


async def test_pages_without_end_are_left(with_referrers):
    async with fault_proxy(with_referrers.host) as proxy:
        ref = Reference.parse(f"{proxy.host}/loop/app:v1")
        async with client() as registry:
            image = await push_image(registry, ref)
            await registry.attach(ref, image, artifact_type="a/b", layers=[Artifact("t/p", b"x")])
            subject = ref.with_digest(image.digest)
            here = f"/v2/{ref.repository}/referrers/{image.digest}"
            proxy.on("GET", "/referrers/", with_headers(Link=f'<{here}>; rel="next"'))
            with pytest.raises(RegistryError, match="without an end"):
                await registry.referrers(subject)
            proxy.rules.clear()

            pages = iter(range(10_000))

            async def another_page(running, request):
                link = f'<{here}?page={next(pages)}>; rel="next"'
                return await with_headers(Link=link)(running, request)

            proxy.on("GET", "/referrers/", another_page)
            with pytest.raises(RegistryError, match="without an end"):
                await registry.referrers(subject)
            assert next(pages) < 100
            proxy.rules.clear()
            elsewhere = "https://192.0.2.1/v2/x/referrers/y"
            proxy.on("GET", "/referrers/", with_headers(Link=f"<{elsewhere}>; rel=next"))
            with pytest.raises(RegistryError, match="another server"):
                await registry.referrers(subject)


async def test_a_broken_list_is_an_error_and_not_an_empty_one(with_referrers):
    async with fault_proxy(with_referrers.host) as proxy:
        ref = Reference.parse(f"{proxy.host}/broken/app:v1")
        async with client() as registry:
            image = await push_image(registry, ref)
            subject = ref.with_digest(image.digest)
            for code in (401, 403, 500, 503):
                proxy.rules.clear()
                proxy.on("GET", "/referrers/", status(code))
                with pytest.raises(RegistryError):
                    await registry.referrers(subject)
            proxy.rules.clear()
            proxy.on(
                "GET", "/referrers/", status(200, {"Content-Type": OCI_INDEX}, b'{"manifests": 3}')
            )
            with pytest.raises(Error):
                await registry.referrers(subject)


@pytest.mark.parametrize(
    "realm",
    [
        "http://203.0.113.9/token",
        "http://token.example/token",
        "ftp://token.example/token",
        "https://user:pw@token.example/token",
        "//token.example",
        "https://[::1",
        "nonsense",
        "",
    ],
)
async def test_credentials_do_not_go_to_a_realm_we_do_not_trust(proxy, ref, realm):
    proxy.on("GET", "/v2/.", status(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}))
    credentials = Credentials.basic(proxy.host, "captain", SECRET)
    async with client(credentials=credentials) as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.get_manifest(ref)
    assert caught.value.retryable is False
    assert SECRET not in f"{caught.value!r} {caught.value}"


async def test_a_realm_at_the_metadata_service_is_not_asked(proxy, ref):
    realm = 'Bearer realm="https://169.254.169.254/token"'
    proxy.on("GET", "/v2/.", status(401, {"WWW-Authenticate": realm}))
    trusted = frozenset({proxy.host})
    async with client(allow_private=False, trusted_hosts=trusted) as registry:
        with pytest.raises(RegistryError, match=r"169\.254\.169\.254") as caught:
            await registry.get_manifest(ref)
    assert caught.value.reason == "AddressRefused"


async def test_a_redirect_to_an_inner_address_is_not_followed(proxy, ref):
    async with client() as registry:
        blob = await registry.push_blob(ref, b"content")
    async with fault_proxy("127.0.0.1:1") as inner:
        inner.on("GET", "", status(200, body=b"content"))
        port = inner.host.partition(":")[2]
        for target in (f"http://localhost:{port}/", "http://169.254.169.254/", "http://[::1]/x"):
            proxy.rules.clear()
            proxy.on("GET", "/blobs/", status(307, {"Location": target}))
            trusted = frozenset({proxy.host})
            async with client(allow_private=False, trusted_hosts=trusted) as registry:
                with pytest.raises(RegistryError) as caught:
                    await registry.get_blob(ref, blob.digest, 100)
            assert caught.value.reason == "AddressRefused"
        assert inner.seen == []


async def test_an_image_at_an_inner_address_is_not_asked_for(proxy, ref):
    async with client(allow_private=False) as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.resolve(ref)
    assert caught.value.reason == "AddressRefused"
    assert proxy.seen == []


async def test_a_redirect_gets_no_credentials(proxy, ref):
    async with fault_proxy("127.0.0.1:1") as elsewhere:
        elsewhere.on("GET", "", status(200, body=b"content"))
        proxy.on(
            "GET",
            "/blobs/",
            status(307, {"Location": f"http://{elsewhere.host}/blob?X-Signature=abc%2Fd"}),
        )
        proxy.on("HEAD", "/manifests/", status(401, {"WWW-Authenticate": "Basic realm=x"}), 1)
        credentials = Credentials.basic(proxy.host, "captain", SECRET)
        async with client(credentials=credentials) as registry:
            with pytest.raises(ImageNotFoundError):
                await registry.resolve(ref)
            assert await registry.get_blob(ref, digest_of(b"content"), 100) == b"content"
        asked = [s for s in proxy.seen if "/blobs/" in s.path]
        assert asked[0].headers["Authorization"].startswith("Basic ")
        assert "Authorization" not in elsewhere.seen[0].headers
        assert elsewhere.seen[0].path.endswith("X-Signature=abc%2Fd")


async def test_a_signed_address_does_not_show_in_errors(proxy, ref):
    target = f"http://user:{SECRET}@{proxy.host}/signed?X-Signature={SECRET}"
    proxy.on("GET", "/blobs/", status(307, {"Location": target}))
    proxy.on("GET", "/signed", hang)
    async with client(retry=RetryPolicy(attempts=1)) as registry:
        with pytest.raises(RegistryTimeoutError) as caught:
            await registry.get_blob(ref, digest_of(b"x"), 10)
    assert SECRET not in f"{caught.value!r} {caught.value} {caught.value.hint}"


async def test_a_cancelled_upload_leaves_nothing_running(proxy, ref):
    proxy.on("PATCH", "/uploads/", hang)
    async with client(timeouts=Timeouts()) as registry:
        task = asyncio.create_task(registry.push_blob(ref, os.urandom(3 << 20)))
        await proxy.hanging.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [t for t in asyncio.all_tasks() if "push_blob" in repr(t)] == []
