"""The search for evidence, against a registry that means no good."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from aiohttp import web

from plimsoll.http import RetryPolicy
from plimsoll.oci.errors import (
    InvalidManifestError,
    RegistryForbiddenError,
    RegistryUnauthorizedError,
    RegistryUnavailableError,
)
from plimsoll.oci.model import (
    EMPTY_DESCRIPTOR,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
)
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Registry
from plimsoll.signing.authority import KeyAuthority
from plimsoll.signing.bundle import BUNDLE_V03, Bundle
from plimsoll.signing.errors import InvalidEvidenceError
from plimsoll.signing.evidence import CREATED, PREDICATE_HINT, Limits, discover
from plimsoll.signing.legacy import DSSE_ENVELOPE, SIGNATURE, SIMPLE_SIGNING, legacy_tag
from plimsoll.signing.privatekey import generate_key
from plimsoll.signing.sign import attest, sign_image, sign_legacy
from plimsoll.signing.statement import COSIGN_SIGN, SPDX, VULN, Statement
from plimsoll.signing.verify import verify

KEY = generate_key()
IMAGE = "sha256:" + "a" * 64


class Hostile:
    """A registry whose every answer a test can set."""

    def __init__(self):
        self.manifests = {}
        self.blobs = {}
        self.listed = []
        self.broken = {}
        self.index_tags = set()
        self.asked = []

    def add_blob(self, data):
        descriptor = Descriptor.of(data, BUNDLE_V03)
        self.blobs[descriptor.digest] = data
        return descriptor

    def add_manifest(self, manifest, tag=None):
        data = manifest.to_bytes()
        descriptor = Descriptor.of(data, OCI_MANIFEST, artifact_type=manifest.artifact_type)
        self.manifests[tag or descriptor.digest] = data
        return descriptor

    def add_bundle(self, data, hint=None, created=None):
        manifest = Manifest(
            config=EMPTY_DESCRIPTOR, layers=(self.add_blob(data),), artifact_type=BUNDLE_V03
        )
        descriptor = self.add_manifest(manifest)
        hints = {PREDICATE_HINT: hint} if hint else {}
        hints |= {CREATED: created} if created else {}
        listed = Descriptor(
            media_type=OCI_MANIFEST,
            digest=descriptor.digest,
            size=descriptor.size,
            artifact_type=BUNDLE_V03,
            annotations=hints,
        )
        self.listed.append(listed)
        return listed, manifest.layers[0]

    async def answer(self, request):
        path = request.path.removeprefix("/v2/app/")
        self.asked.append(path)
        for part, status in self.broken.items():
            if part in path:
                return web.Response(status=status, text="{}")
        if path.startswith("referrers/"):
            body = Index(manifests=tuple(self.listed)).to_bytes()
            return web.Response(body=body, content_type=OCI_INDEX)
        kind, _, name = path.partition("/")
        found = (self.manifests if kind == "manifests" else self.blobs).get(name)
        if found is None:
            return web.json_response({"errors": []}, status=404)
        media_type = OCI_MANIFEST if kind == "manifests" else "application/octet-stream"
        media_type = OCI_INDEX if name in self.index_tags else media_type
        return web.Response(body=found, content_type=media_type)


@pytest.fixture
async def hostile():
    state = Hostile()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", state.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state.host = f"127.0.0.1:{runner.addresses[0][1]}"
    yield state
    await runner.cleanup()


async def found(hostile, **options):
    async with Registry(
        insecure=frozenset({hostile.host}), retry=RetryPolicy(attempts=1)
    ) as registry:
        ref = Reference.repository_of(f"{hostile.host}/app")
        return await discover(registry, ref, IMAGE, **options)


def proven(evidence):
    return verify(evidence, IMAGE, KeyAuthority((KEY.public,)))


async def test_nothing_is_no_error(hostile):
    evidence = await found(hostile)
    assert evidence.items == ()
    assert evidence.rejections == ()
    # The API, the tag that stands for it, and two legacy tags.
    assert len(hostile.asked) == 4


async def test_what_was_pushed_before_the_registry_had_the_api_is_found(hostile):
    listed, _ = hostile.add_bundle(sign_image(KEY, IMAGE).to_json())
    index = Index(manifests=(listed,)).to_bytes()
    hostile.listed.clear()
    hostile.manifests[IMAGE.replace(":", "-")] = index
    hostile.index_tags.add(IMAGE.replace(":", "-"))
    assert len(proven(await found(hostile)).signatures) == 1


async def test_a_bundle(hostile):
    hostile.add_bundle(sign_image(KEY, IMAGE).to_json())
    evidence = await found(hostile, formats=["bundle"])
    assert len(proven(evidence).signatures) == 1
    assert len(hostile.asked) == 3


async def test_hints_save_reading_and_prove_nothing(hostile):
    hostile.add_bundle(sign_image(KEY, IMAGE).to_json(), hint=COSIGN_SIGN)
    hostile.add_bundle(attest(KEY, IMAGE, "vuln", {}).to_json(), hint=SPDX)
    hostile.add_bundle(attest(KEY, IMAGE, "vuln", {"a": 1}).to_json())
    verdict = proven(await found(hostile, predicate_types=[SPDX]))
    assert verdict.signatures == ()
    assert verdict.attestations_of(SPDX) == ()
    assert len(verdict.attestations) == 2


async def test_one_bad_attachment_does_not_hide_a_good_one(hostile):
    _, wrong = hostile.add_bundle(b'{"a": 1}')
    hostile.blobs[wrong.digest] = b'{"a": 2}'
    _, gone = hostile.add_bundle(b'{"a": 3}')
    del hostile.blobs[gone.digest]
    no_manifest, _ = hostile.add_bundle(b'{"a": 4}')
    hostile.manifests[no_manifest.digest] = b"[]"
    longer, _ = hostile.add_bundle(b'{"a": 5}')
    hostile.manifests[longer.digest] += b" "
    hostile.add_bundle(sign_image(KEY, IMAGE).to_json())
    verdict = proven(await found(hostile))
    assert len(verdict.signatures) == 1
    assert len(verdict.rejections) == 4


async def test_more_bytes_than_the_descriptor_says(hostile):
    _, layer = hostile.add_bundle(b"{}")
    hostile.blobs[layer.digest] = b" " * 100_000
    (rejection,) = (await found(hostile)).rejections
    assert "100000 bytes" in rejection.reason


async def test_bytes_that_are_not_the_digest_are_rejected(hostile):
    # Kyverno CVE-2022-47633, notation-go CVE-2023-33959: whoever serves does not choose.
    good = sign_image(KEY, IMAGE).to_json()
    _, layer = hostile.add_bundle(b" " * len(good))
    hostile.blobs[layer.digest] = good
    evidence = await found(hostile)
    assert evidence.items == ()
    assert len(evidence.rejections) == 1
    other, _ = hostile.add_bundle(good)
    hostile.manifests[other.digest] = hostile.manifests[other.digest].replace(b"{", b"{ ", 1)
    assert (await found(hostile)).items == ()


async def test_artifacts_of_other_kinds_are_not_read(hostile):
    other, _ = hostile.add_bundle(b"{}")
    hostile.listed = [
        Descriptor(
            media_type=OCI_MANIFEST,
            digest=other.digest,
            size=other.size,
            artifact_type="application/vnd.example",
        )
    ]
    assert (await found(hostile)).items == ()
    assert not any(other.digest in path for path in hostile.asked)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(artifacts=2), "only 2"),
        (Limits(item_size=10), "more than 10"),
        (Limits(total_size=700), "more evidence"),
    ],
)
async def test_limits(hostile, limits, text):
    for number in range(4):
        hostile.add_bundle(sign_image(KEY, IMAGE, annotations={"n": str(number)}).to_json())
    evidence = await found(hostile, limits=limits)
    assert len(evidence.items) < 3
    assert any(text in one.reason for one in evidence.rejections)


async def test_nightly_reports_crowd_out_neither_each_other_nor_what_was_said_once(hostile):
    def bundle(kind, number):
        return attest(KEY, IMAGE, kind, {"n": number}).to_json()

    first = "2026-01-01T00:00:00Z"
    hostile.add_bundle(sign_image(KEY, IMAGE).to_json(), COSIGN_SIGN, first)
    for night in range(1, 29):
        report = bundle(VULN, night)
        hostile.add_bundle(report, VULN, f"2026-02-{night:02}T00:00:00Z")
    hostile.add_bundle(bundle(SPDX, 0), SPDX, first)
    evidence = await found(hostile, limits=Limits(artifacts=5))
    kinds = []
    for item in evidence.items:
        statement = Statement.parse(Bundle.parse(item.data).content.payload)
        kinds.append((statement.predicate_type, (statement.predicate or {}).get("n")))
    assert sorted(kinds, key=str) == sorted(
        [(COSIGN_SIGN, None), (SPDX, 0), (VULN, 28), (VULN, 27), (VULN, 26)], key=str
    )


async def test_endless_layers(hostile):
    layer = hostile.add_blob(b"{}")
    layers = tuple(
        Descriptor(
            media_type=SIMPLE_SIGNING,
            digest=layer.digest,
            size=layer.size,
            annotations={SIGNATURE: str(number)},
        )
        for number in range(100)
    )
    manifest = Manifest(config=EMPTY_DESCRIPTOR, layers=layers)
    hostile.add_manifest(manifest, legacy_tag(IMAGE, "sig"))
    evidence = await found(hostile)
    assert len(evidence.items) == 64
    assert "only 64" in evidence.rejections[0].reason


async def test_a_huge_payload(hostile):
    layer = Descriptor(
        media_type=SIMPLE_SIGNING, digest=hostile.add_blob(b"{}").digest, size=1 << 30
    )
    manifest = Manifest(config=EMPTY_DESCRIPTOR, layers=(layer,))
    hostile.add_manifest(manifest, legacy_tag(IMAGE, "sig"))
    evidence = await found(hostile)
    assert "more than 65536" in evidence.rejections[0].reason
    assert not any(path.startswith("blobs/") for path in hostile.asked)


async def test_a_legacy_signature_by_tag_and_as_an_artifact(hostile):
    payload, signature = sign_legacy(KEY, "r/app", IMAGE)
    blob = hostile.add_blob(payload)
    layer = Descriptor(
        media_type=SIMPLE_SIGNING,
        digest=blob.digest,
        size=blob.size,
        annotations={SIGNATURE: b64encode(signature).decode()},
    )
    kind = "application/vnd.dev.cosign.artifact.sig.v1+json"
    manifest = Manifest(config=EMPTY_DESCRIPTOR, layers=(layer,), artifact_type=kind)
    hostile.listed = [hostile.add_manifest(manifest)]
    assert len(proven(await found(hostile)).signatures) == 1
    assert (await found(hostile, formats=["bundle"])).items == ()
    hostile.listed = []
    hostile.add_manifest(manifest, legacy_tag(IMAGE, "sig"))
    assert len(proven(await found(hostile)).signatures) == 1


async def test_prefixed_tags_and_attestation_hints(hostile):
    envelope = json.dumps(attest(KEY, IMAGE, SPDX, {}).content.to_dict()).encode()
    blob = hostile.add_blob(envelope)
    layer = Descriptor(
        media_type=DSSE_ENVELOPE,
        digest=blob.digest,
        size=blob.size,
        annotations={SIGNATURE: "", "predicateType": SPDX},
    )
    manifest = Manifest(config=EMPTY_DESCRIPTOR, layers=(layer,))
    hostile.add_manifest(manifest, legacy_tag(IMAGE, "att", "x-"))
    assert (await found(hostile)).items == ()
    assert len(proven(await found(hostile, tag_prefix="x-")).attestations) == 1
    other = await found(hostile, tag_prefix="x-", predicate_types=[COSIGN_SIGN])
    assert other.items == ()
    with pytest.raises(InvalidEvidenceError):
        await found(hostile, tag_prefix="../")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, RegistryUnauthorizedError),
        (403, RegistryForbiddenError),
        (429, RegistryUnavailableError),
        (500, RegistryUnavailableError),
    ],
)
@pytest.mark.parametrize("part", ["referrers/", "manifests/sha256-", "blobs/", "manifests/sha256:"])
async def test_a_registry_that_does_not_answer_is_an_error(hostile, part, status, error):
    hostile.add_bundle(sign_image(KEY, IMAGE).to_json())
    hostile.broken = {part: status}
    with pytest.raises(error):
        await found(hostile)


async def test_an_endless_list_is_an_error(hostile):
    digests = (f"sha256:{number:064x}" for number in range(2500))
    hostile.listed = [
        Descriptor(media_type=OCI_MANIFEST, digest=digest, size=1) for digest in digests
    ]
    with pytest.raises(InvalidManifestError, match="2500 entries"):
        await found(hostile)
