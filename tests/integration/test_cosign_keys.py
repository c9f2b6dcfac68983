"""The real cosign verifies what we sign, and we verify what it signs, on real registries."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from base64 import b64decode
from datetime import datetime

import pytest

from gotools import tool
from plimsoll.oci.model import OCI_CONFIG, OCI_MANIFEST, Manifest
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Artifact, Registry
from plimsoll.signing.attach import (
    attach_bundle,
    attach_legacy_attestation,
    attach_legacy_signature,
)
from plimsoll.signing.authority import KeyAuthority
from plimsoll.signing.evidence import discover
from plimsoll.signing.keys import load_public_keys
from plimsoll.signing.privatekey import generate_key, load_key_directory
from plimsoll.signing.sign import attest, sign_image, sign_legacy
from plimsoll.signing.statement import COSIGN_SIGN, SLSA_PROVENANCE_V1, SPDX
from plimsoll.signing.verify import verify
from registries import crane_registry, distribution_registry

pytestmark = pytest.mark.integration

SBOM = {"spdxVersion": "SPDX-2.3", "name": "app", "packages": []}
PROVENANCE = {
    "buildDefinition": {
        "buildType": "https://plimsoll.dev/build/v1",
        "externalParameters": {"image": "app"},
        "resolvedDependencies": [{"uri": "pkg:apk/wolfi/busybox@1"}],
    },
    "runDetails": {"builder": {"id": "https://plimsoll.dev/operator@1"}},
}
OFFLINE = "--insecure-ignore-tlog=true"


@pytest.fixture(scope="module", params=["referrers API", "fallback tag"])
def server(request):
    # cosign reads the first page of referrers only, so all stand on one here.
    kind = crane_registry if request.param == "referrers API" else distribution_registry
    with kind() as running:
        yield running


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """A key pair that cosign made."""
    directory = tmp_path_factory.mktemp("keys")
    (directory / "cosign.password").write_text("pw")
    services = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
    (directory / "none.json").write_text(json.dumps(services))
    cosign(directory, "generate-key-pair")
    return directory


@pytest.fixture(scope="module")
def authority(keys):
    return KeyAuthority(load_public_keys((keys / "cosign.pub").read_bytes()))


@pytest.fixture
async def registry():
    async with Registry() as client:
        yield client


def cosign(directory, *arguments, succeeds=True):
    done = subprocess.run(
        [tool("cosign"), *arguments],
        cwd=directory,
        env={**os.environ, "COSIGN_PASSWORD": "pw", "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode == 0) == succeeds, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done.stdout if succeeds else done.stderr


async def run_cosign(directory, *arguments, succeeds=True):
    return await asyncio.to_thread(cosign, directory, *arguments, succeeds=succeeds)


@pytest.fixture
async def image(server, registry, request):
    """A fresh image: its repository and its descriptor."""
    return await push_image(server, registry, request.node.name)


async def push_image(server, registry, name):
    path = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
    repository = Reference.repository_of(f"{server.host}/team/{path}")
    config = await registry.push_blob(
        repository, json.dumps({"name": name, "rootfs": {"diff_ids": []}}).encode(), OCI_CONFIG
    )
    data = Manifest(config=config, layers=()).to_bytes()
    subject = await registry.push_manifest(repository.with_tag("v1"), data, OCI_MANIFEST)
    return repository, subject


async def judged(registry, image, authority, **options):
    repository, subject = image
    evidence = await discover(registry, repository, subject.digest, **options)
    return verify(evidence, subject.digest, authority)


async def test_cosign_verifies_our_signature_and_attestations(registry, image, keys, authority):
    repository, subject = image
    signer = load_key_directory(keys)
    target = f"{repository}@{subject.digest}"
    signature = sign_image(signer, subject.digest, annotations={"team": "a"})
    sbom = attest(signer, subject.digest, "spdxjson", SBOM, name=repository.name)
    provenance = attest(signer, subject.digest, "slsaprovenance1", PROVENANCE)
    for bundle in (signature, sbom, provenance):
        await attach_bundle(registry, repository, subject, bundle)

    out = await run_cosign(keys, "verify", "--key", "cosign.pub", OFFLINE, target)
    # It lists attestations, too.
    assert {"team": "a"} in [one["optional"] for one in json.loads(out)]
    await run_cosign(keys, "verify", "--key", "cosign.pub", OFFLINE, "-a", "team=a", target)
    await run_cosign(
        keys, "verify", "--key", "cosign.pub", OFFLINE, "-a", "team=b", target, succeeds=False
    )
    for kind, predicate in (("spdxjson", SBOM), ("slsaprovenance1", PROVENANCE)):
        arguments = ("verify-attestation", "--key", "cosign.pub", OFFLINE, "--type", kind, target)
        envelope = json.loads(await run_cosign(keys, *arguments))
        found = json.loads(b64decode(envelope["payload"]))
        assert found["predicate"] == predicate
    await run_cosign(
        keys,
        *("verify-attestation", "--key", "cosign.pub", OFFLINE, "--type", "vuln", target),
        succeeds=False,
    )

    verdict = await judged(registry, image, authority)
    assert verdict.rejections == ()
    assert len(verdict.signatures) == 1
    assert verdict.signatures[0].annotations == {"team": "a"}
    assert [one.predicate for one in verdict.attestations_of(SPDX)] == [SBOM]
    assert [one.predicate for one in verdict.attestations_of(SLSA_PROVENANCE_V1)] == [PROVENANCE]


async def test_we_verify_what_cosign_signs(registry, image, keys, authority):
    repository, subject = image
    target = f"{repository}@{subject.digest}"
    (keys / "sbom.json").write_text(json.dumps(SBOM))
    (keys / "provenance.json").write_text(json.dumps(PROVENANCE))
    common = ("--key", "cosign.key", "--signing-config", "none.json", "--yes")
    await run_cosign(keys, "sign", *common, "-a", "team=a", target)
    for kind, file in (
        ("spdxjson", "sbom.json"),
        ("spdx", "sbom.json"),
        ("slsaprovenance1", "provenance.json"),
    ):
        await run_cosign(keys, "attest", *common, "--type", kind, "--predicate", file, target)
    verdict = await judged(registry, image, authority)
    assert verdict.rejections == ()
    assert [one.annotations for one in verdict.signatures] == [{"team": "a"}]
    # The type spdx writes the document as a string, spdxjson as an object.
    assert [one.predicate for one in verdict.attestations_of(SPDX)] == [SBOM, SBOM]
    assert [one.predicate for one in verdict.attestations_of(SLSA_PROVENANCE_V1)] == [PROVENANCE]

    only = await judged(registry, image, authority, predicate_types=[COSIGN_SIGN])
    assert len(only.signatures) == 1
    assert (await judged(registry, image, authority, formats=["legacy"])).signatures == ()


async def test_we_verify_the_legacy_format_of_cosign(registry, image, keys, authority):
    repository, subject = image
    target = f"{repository}@{subject.digest}"
    (keys / "sbom.json").write_text(json.dumps(SBOM))
    common = (
        *("--key", "cosign.key", "--yes", "--new-bundle-format=false"),
        *("--use-signing-config=false", "--tlog-upload=false"),
    )
    await run_cosign(keys, "sign", *common, "-a", "team=a", target)
    await run_cosign(
        keys, "attest", *common, "--type", "spdxjson", "--predicate", "sbom.json", target
    )
    verdict = await judged(registry, image, authority)
    assert verdict.rejections == ()
    assert [one.annotations for one in verdict.signatures] == [{"team": "a"}]
    assert [one.predicate for one in verdict.attestations_of(SPDX)] == [SBOM]
    bundles_only = await judged(registry, image, authority, formats=["bundle"])
    assert bundles_only.signatures == ()


async def test_cosign_verifies_our_legacy_format(registry, image, keys, authority):
    repository, subject = image
    signer = load_key_directory(keys)
    target = f"{repository}@{subject.digest}"
    for team in ("a", "b", "a"):
        payload, signature = sign_legacy(
            signer, repository.name, subject.digest, annotations={"team": team}
        )
        await attach_legacy_signature(registry, repository, subject.digest, payload, signature)
    bundle = attest(signer, subject.digest, "spdxjson", SBOM)
    for _ in range(2):
        await attach_legacy_attestation(registry, repository, subject.digest, bundle)

    legacy = ("--key", "cosign.pub", OFFLINE, "--new-bundle-format=false")
    out = json.loads(await run_cosign(keys, "verify", *legacy, target))
    assert [one["optional"] for one in out] == [{"team": "a"}, {"team": "b"}]
    await run_cosign(keys, "verify-attestation", *legacy, "--type", "spdxjson", target)
    verdict = await judged(registry, image, authority)
    assert verdict.rejections == ()
    assert len(verdict.signatures) == 2
    assert len(verdict.signers) == 1
    assert len(verdict.attestations) == 1


async def test_attaching_twice_leaves_one(registry, image, keys, authority):
    repository, subject = image
    signer = load_key_directory(keys)
    moment = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
    digests = set()
    for _ in range(2):
        bundle = sign_image(signer, subject.digest)
        attached = await attach_bundle(registry, repository, subject, bundle, created=moment)
        digests.add(attached.digest)
    assert len(digests) == 1
    assert len((await judged(registry, image, authority)).signatures) == 1


async def test_another_key_proves_nothing(registry, image, keys, authority):
    repository, subject = image
    target = f"{repository}@{subject.digest}"
    stranger = generate_key()
    await attach_bundle(registry, repository, subject, sign_image(stranger, subject.digest))
    payload, signature = sign_legacy(stranger, repository.name, subject.digest)
    await attach_legacy_signature(registry, repository, subject.digest, payload, signature)
    await run_cosign(keys, "verify", "--key", "cosign.pub", OFFLINE, target, succeeds=False)
    verdict = await judged(registry, image, authority)
    assert verdict.signatures == ()
    assert [one.reason for one in verdict.rejections] == ["the signature is not by the key"] * 2


async def test_evidence_of_another_image_proves_nothing(registry, image, keys, authority):
    repository, subject = image
    signer = load_key_directory(keys)
    other = "sha256:" + "0" * 64
    bundle = sign_image(signer, other)
    await registry.attach(
        repository,
        subject,
        artifact_type=bundle.media_type,
        layers=[Artifact(bundle.media_type, bundle.to_json())],
    )
    payload, signature = sign_legacy(signer, repository.name, other)
    await attach_legacy_signature(registry, repository, subject.digest, payload, signature)
    target = f"{repository}@{subject.digest}"
    await run_cosign(keys, "verify", "--key", "cosign.pub", OFFLINE, target, succeeds=False)
    verdict = await judged(registry, image, authority)
    assert verdict.signatures == ()
    assert sorted(one.reason for one in verdict.rejections) == [
        f"it signs another image: {other}",
        f"it speaks of another image: {other}",
    ]


async def test_more_artifacts_than_one_page(registry, keys, authority):
    with crane_registry(page_size=2) as server:
        repository, subject = await push_image(server, registry, "paged")
        signer = load_key_directory(keys)
        for number in range(5):
            bundle = attest(signer, subject.digest, "https://example.com/t", {"number": number})
            await attach_bundle(registry, repository, subject, bundle)
        verdict = await judged(registry, (repository, subject), authority)
    assert sorted(one.predicate["number"] for one in verdict.attestations) == [0, 1, 2, 3, 4]
