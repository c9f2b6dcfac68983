"""Images signed by the real cosign and by us, judged by the real server over TLS."""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from plimsoll.cli.main import cli
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Artifact, Registry
from plimsoll.signing.attach import attach_bundle
from plimsoll.signing.privatekey import generate_key
from plimsoll.signing.sign import attest, sign_image
from registries import crane_registry, distribution_registry
from webhooks import Cosign, for_tests, key_policy, pod, push_image, push_index, review, serving

pytestmark = pytest.mark.integration

SPDX = {"spdxVersion": "SPDX-2.3", "name": "app", "packages": []}
SLSA = {"buildDefinition": {"buildType": "https://example.org/b"}, "runDetails": {"builder": {}}}
LEGACY = ["--new-bundle-format=false"]


class World(NamedTuple):
    host: str
    ours: Cosign
    theirs: Cosign


@pytest.fixture(scope="module", params=["referrers", "tags"])
def world(request, tmp_path_factory):
    """A registry with the referrers API, and one without; two signers."""
    open_registry = crane_registry if request.param == "referrers" else distribution_registry
    with open_registry() as registry:
        keys = tmp_path_factory.mktemp("keys")
        yield World(registry.host, Cosign.with_key(keys / "ours"), Cosign.with_key(keys / "theirs"))


@pytest.fixture
async def webhook(world):
    async with serving(for_tests(world.host)) as running:
        running.policies.set(signed=key_policy(world.ours.public_key))
        yield running


async def test_an_unsigned_image_is_refused_with_one_line(world, webhook):
    image = await push_image(world.host, "unsigned", "1", "a")
    answer = await webhook.admit(image)
    assert not answer["allowed"]
    assert answer["status"]["code"] == 403
    message = answer["status"]["message"]
    assert message.startswith(
        f'image {image} refused by policy "signed": no signature by key "authority-0" (found none)'
    )
    assert "plimsoll policy test --policy - --image" in message
    assert "\n" not in message


EXPERIMENT = [*LEGACY, "--registry-referrers-mode=oci-1-1"]


@pytest.mark.parametrize(
    "options", [[], LEGACY, EXPERIMENT], ids=["bundle", "legacy", "legacy by referrers"]
)
async def test_an_image_signed_by_cosign_is_admitted(world, webhook, options, monkeypatch):
    monkeypatch.setenv("COSIGN_EXPERIMENTAL", "1" if options is EXPERIMENT else "")
    image = await push_image(world.host, f"signed{len(options)}", "1", "a")
    await asyncio.to_thread(world.ours.sign, image, *options)
    by_tag = f"{world.host}/signed{len(options)}:1"
    assert (await webhook.admit(image, by_tag))["allowed"]


async def test_an_image_signed_by_us_is_admitted(world, webhook):
    key = generate_key()
    image = await push_image(world.host, "by-us", "1", "a")
    reference = Reference.parse(image)
    async with Registry(insecure=frozenset({world.host})) as registry:
        subject = await registry.resolve(reference)
        await attach_bundle(registry, reference, subject, sign_image(key, subject.digest))
        sbom = attest(key, subject.digest, "spdx", SPDX)
        await attach_bundle(registry, reference, subject, sbom)
    webhook.policies.set(
        ours=key_policy(key.public.pem.decode(), require={"signature": True, "sbom": True})
    )
    answer = await webhook.admit(image)
    assert answer["allowed"], answer


@pytest.mark.parametrize("options", [[], LEGACY], ids=["bundle", "legacy"])
async def test_a_signature_by_another_key_says_so(world, webhook, options):
    image = await push_image(world.host, f"other{len(options)}", "1", "a")
    await asyncio.to_thread(world.theirs.sign, image, *options)
    message = (await webhook.admit(image))["status"]["message"]
    assert "(found 1: the signature is not by the key)" in message


@pytest.mark.parametrize("options", [[], LEGACY], ids=["bundle", "legacy"])
async def test_a_signature_copied_from_another_digest_is_no_signature(world, webhook, options):
    repository = f"relocated{len(options)}"
    good = await push_image(world.host, repository, "good", "good")
    await asyncio.to_thread(world.ours.sign, good, *options)
    bad = await push_image(world.host, repository, "bad", "bad")
    good_digest, bad_digest = (Reference.parse(image).digest for image in (good, bad))
    place = Reference.parse(f"{world.host}/{repository}:x")
    async with Registry(insecure=frozenset({world.host})) as registry:
        if options:
            tag = f"{good_digest.replace(':', '-')}.sig"
            await registry.tag(place.with_tag(tag), f"{bad_digest.replace(':', '-')}.sig")
        else:
            (entry,) = await registry.referrers(Reference.parse(good))
            _, data = await registry.get_manifest(place.with_digest(entry.digest))
            manifest = json.loads(data)
            layer = manifest["layers"][0]
            blob = await registry.get_blob(place, layer["digest"], layer["size"])
            await registry.attach(
                place,
                await registry.resolve(Reference.parse(bad)),
                artifact_type=manifest["artifactType"],
                layers=[Artifact(layer["mediaType"], blob)],
                annotations=manifest.get("annotations"),
            )
    assert (await webhook.admit(good))["allowed"]
    message = (await webhook.admit(bad))["status"]["message"]
    assert "another image" in message


async def test_what_a_policy_requires_must_be_attested_by_its_authority(world, webhook):
    image = await push_image(world.host, "attested", "1", "a")
    await asyncio.to_thread(world.ours.sign, image)
    webhook.policies.set(
        full=key_policy(
            world.ours.public_key, require={"signature": True, "sbom": True, "provenance": True}
        )
    )
    message = (await webhook.admit(image))["status"]["message"]
    assert 'no SBOM by key "authority-0"' in message
    assert 'no provenance by key "authority-0"' in message
    assert "no signature" not in message
    await asyncio.to_thread(world.theirs.attest, image, "spdxjson", SPDX)
    await asyncio.to_thread(world.theirs.attest, image, "slsaprovenance1", SLSA)
    webhook.verifier.cache.clear()
    message = (await webhook.admit(image))["status"]["message"]
    assert 'no SBOM by key "authority-0" (found 2: the signature is not by the key)' in message
    await asyncio.to_thread(world.ours.attest, image, "spdxjson", SPDX)
    await asyncio.to_thread(world.ours.attest, image, "slsaprovenance1", SLSA)
    webhook.verifier.cache.clear()
    answer = await webhook.admit(image)
    assert answer["allowed"], answer


async def test_different_signers_and_a_digest_may_be_required(world, webhook):
    image = await push_image(world.host, "two", "1", "a")
    await asyncio.to_thread(world.ours.sign, image)
    await asyncio.to_thread(world.ours.sign, image, *LEGACY)
    spec = key_policy(world.ours.public_key, require={"signers": 2, "digest": True})
    spec["authorities"].append({"key": {"data": world.theirs.public_key.read_text()}})
    webhook.policies.set(two=spec)
    message = (await webhook.admit(image))["status"]["message"]
    assert "it is signed by 1 different signers, not 2" in message
    await asyncio.to_thread(world.theirs.sign, image)
    webhook.verifier.cache.clear()
    answer = await webhook.admit(image)
    assert answer["allowed"], answer
    message = (await webhook.admit(f"{world.host}/two:1"))["status"]["message"]
    assert "must name it by digest" in message


async def test_what_a_report_says_decides(world, webhook):
    image = await push_image(world.host, "scanned", "1", "a")
    found = {"VulnerabilityID": "CVE-2026-1", "PkgName": "zlib", "Severity": "CRITICAL"}
    vuln = {
        "invocation": {},
        "scanner": {"uri": "trivy", "result": {"Results": [{"Vulnerabilities": [found]}]}},
        "metadata": {"scanFinishedOn": "2026-01-01T00:00:00Z"},
    }
    await asyncio.to_thread(world.ours.sign, image)
    await asyncio.to_thread(world.ours.attest, image, "vuln", vuln)
    rules = {"vex": True}
    webhook.policies.set(
        clean=key_policy(world.ours.public_key, require={"vulnerabilities": rules})
    )
    message = (await webhook.admit(image))["status"]["message"]
    assert "vulnerabilities: CVE-2026-1 (critical, zlib)" in message
    vex = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "timestamp": "2026-01-02T00:00:00Z",
        "statements": [{"vulnerability": {"name": "CVE-2026-1"}, "status": "not_affected"}],
    }
    await asyncio.to_thread(world.theirs.attest, image, "openvex", vex)
    webhook.verifier.cache.clear()
    assert not (await webhook.admit(image))["allowed"]
    await asyncio.to_thread(world.ours.attest, image, "openvex", vex)
    webhook.verifier.cache.clear()
    answer = await webhook.admit(image)
    assert answer["allowed"], answer
    rules["maxAge"] = "1h"
    webhook.policies.set(
        clean=key_policy(world.ours.public_key, require={"vulnerabilities": rules})
    )
    assert "over 1h old" in (await webhook.admit(image))["status"]["message"]


@pytest.mark.parametrize("options", [[], LEGACY], ids=["bundle", "legacy"])
async def test_attestations_are_told_apart_by_their_signed_type(world, webhook, options):
    image = await push_image(world.host, f"types{len(options)}", "1", "a")
    await asyncio.to_thread(world.ours.attest, image, "cyclonedx", {"bomFormat": "x"}, *options)

    def wants(kind):
        spec = key_policy(world.ours.public_key)
        spec["authorities"][0]["attestations"] = [{"name": "bom", "predicateType": kind}]
        return spec

    webhook.policies.set(bom=wants("cyclonedx"))
    assert (await webhook.admit(image))["allowed"]
    webhook.policies.set(bom=wants("spdx"))
    message = (await webhook.admit(image))["status"]["message"]
    assert 'no attestation "bom" (https://spdx.dev/Document) by key "authority-0"' in message
    # An attestation is no signature.
    webhook.policies.set(signed=key_policy(world.ours.public_key))
    assert not (await webhook.admit(image))["allowed"]


async def test_every_place_that_names_an_image_is_checked(world, webhook):
    good = await push_image(world.host, "places", "good", "good")
    bad = await push_image(world.host, "places", "bad", "bad")
    await asyncio.to_thread(world.ours.sign, good)
    one = {"name": "x", "image": bad}
    for parts in (
        {"initContainers": [one]},
        {"ephemeralContainers": [one]},
        {"volumes": [{"name": "x", "image": {"reference": bad}}]},
    ):
        answer = await webhook.admit(good, **parts)
        assert not answer["allowed"], parts
        assert bad in answer["status"]["message"]
        assert f"image {good} " not in answer["status"]["message"]
    assert not (await webhook.admit(good, bad))["allowed"]
    assert (await webhook.admit(good))["allowed"]


async def test_an_update_asks_about_what_changed(world, webhook):
    good = await push_image(world.host, "updates", "good", "good")
    bad = await push_image(world.host, "updates", "bad", "bad")
    await asyncio.to_thread(world.ours.sign, good)
    same = review(pod(bad), operation="UPDATE", oldObject=pod(bad))
    assert (await webhook.send(same))["allowed"]
    changed = review(pod(bad), operation="UPDATE", oldObject=pod(good))
    assert not (await webhook.send(changed))["allowed"]
    debug = {"ephemeralContainers": [{"name": "debug", "image": bad}]}
    added = review(
        pod(good, **debug),
        operation="UPDATE",
        subResource="ephemeralcontainers",
        oldObject=pod(good),
    )
    assert not (await webhook.send(added))["allowed"]
    again = review(
        pod(good, **debug),
        operation="UPDATE",
        subResource="ephemeralcontainers",
        oldObject=pod(good, **debug),
    )
    assert not (await webhook.send(again))["allowed"]


async def test_a_tag_that_was_moved_is_judged_by_what_it_names_now(world, webhook):
    good = await push_image(world.host, "moved", "1", "good")
    await asyncio.to_thread(world.ours.sign, good)
    tag = f"{world.host}/moved:1"
    assert (await webhook.admit(tag))["allowed"]
    bad = await push_image(world.host, "moved", "1", "bad")
    message = (await webhook.admit(tag))["status"]["message"]
    assert Reference.parse(bad).digest in message


async def test_a_signature_on_the_index_is_none_on_a_platform(world, webhook):
    amd64 = await push_image(world.host, "multi", "amd64", "amd64")
    arm64 = await push_image(world.host, "multi", "arm64", "arm64")
    index = await push_index(world.host, "multi", "1", amd64, arm64)
    await asyncio.to_thread(world.ours.sign, index)
    assert (await webhook.admit(index))["allowed"]
    assert not (await webhook.admit(amd64))["allowed"]
    await asyncio.to_thread(world.ours.sign, amd64)
    webhook.verifier.cache.clear()
    assert (await webhook.admit(amd64))["allowed"]


@pytest.mark.parametrize("options", [[], LEGACY], ids=["bundle", "legacy"])
async def test_cosign_signs_an_index_and_all_below_it(world, webhook, options):
    name = f"recursive{len(options)}"
    both = [await push_image(world.host, name, tag, tag) for tag in ("a", "b")]
    index = await push_index(world.host, name, "both", *both)
    await asyncio.to_thread(world.ours.sign, index, "--recursive", *options)
    for image in (index, *both):
        answer = await webhook.admit(image)
        assert answer["allowed"], answer


async def test_workloads_are_warned_about(world, webhook):
    bad = await push_image(world.host, "workload", "1", "a")
    target = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"tier": "front"}},
        "spec": {"template": {"spec": pod(bad, bad)["spec"]}},
    }
    answer = await webhook.send(review(target))
    assert answer["allowed"]
    (warning,) = answer["warnings"]
    assert warning.startswith(f'image {bad} will be refused by policy "signed": no signature')
    assert len(warning) <= 256
    # A policy that names the kind is enforced on it.
    match = [{"group": "apps", "resource": "deployments", "version": "v1"}]
    webhook.policies.set(signed=key_policy(world.ours.public_key, match=match))
    assert not (await webhook.send(review(target)))["allowed"]
    match[0]["selector"] = {"matchLabels": {"tier": "back"}}
    webhook.policies.set(signed=key_policy(world.ours.public_key, match=match))
    answer = await webhook.send(review(target))
    assert answer["allowed"]
    assert "matches no policy, so its pods will be refused" in answer["warnings"][0]


async def test_evidence_may_stand_in_another_repository(world, webhook, monkeypatch):
    image = await push_image(world.host, "app", "1", "a")
    place = f"{world.host}/signatures"
    monkeypatch.setenv("COSIGN_REPOSITORY", place)
    await asyncio.to_thread(world.ours.sign, image, *LEGACY)
    spec = key_policy(world.ours.public_key)
    webhook.policies.set(signed=spec)
    assert not (await webhook.admit(image))["allowed"]
    spec["authorities"][0]["source"] = [{"oci": place}]
    webhook.policies.set(signed=spec)
    answer = await webhook.admit(image)
    assert answer["allowed"], answer
    spec["authorities"][0]["source"] = [{"oci": place, "tagPrefix": "other-"}]
    webhook.policies.set(signed=spec)
    assert not (await webhook.admit(image))["allowed"]


async def test_the_format_may_be_restricted(world, webhook):
    image = await push_image(world.host, "format", "1", "a")
    await asyncio.to_thread(world.ours.sign, image, *LEGACY)
    spec = key_policy(world.ours.public_key)
    for wanted, allowed in (("legacy", True), ("bundle", False)):
        spec["authorities"][0]["signatureFormat"] = wanted
        webhook.policies.set(signed=spec)
        assert (await webhook.admit(image))["allowed"] is allowed


async def test_many_pods_of_a_new_image_cost_one_verification(world, webhook):
    image = await push_image(world.host, "burst", "1", "a")
    await asyncio.to_thread(world.ours.sign, image)
    before = webhook.verifier.reads
    answers = await asyncio.gather(*(webhook.admit(image) for _ in range(100)))
    assert all(answer["allowed"] for answer in answers)
    assert webhook.verifier.reads == before + 1
    await webhook.admit(image)
    assert webhook.verifier.reads == before + 1


async def test_a_policy_can_be_tried_without_a_cluster(world, tmp_path):
    good = await push_image(world.host, "tried", "good", "good")
    bad = await push_image(world.host, "tried", "bad", "bad")
    await asyncio.to_thread(world.ours.sign, good)
    spec = {
        "images": [{"glob": f"{world.host}/**"}],
        "authorities": [{"key": {"secretRef": {"name": "k"}}}],
    }
    document = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "signed"},
        "spec": spec,
    }
    file = tmp_path / "policy.yaml"
    file.write_text(json.dumps(document))
    secret = ["--secret", f"k={world.ours.public_key}"]

    def tried(image, *options):
        base = ["policy", "test", "--policy", "-", "--image", image, "--timeout", "5"]
        result = CliRunner().invoke(cli, [*base, *options], input=file.read_text())
        return result.exit_code, result.output

    for image, options, status, text in (
        (good, secret, 0, "is admitted"),
        (f"{world.host}/tried:good", secret, 0, "is admitted"),
        (bad, secret, 1, 'refused by policy "signed": no signature by key "authority-0"'),
        (good, [], 1, "Secret the webhook's namespace/k does not exist"),
        ("nginx:1", secret, 1, "matches no policy"),
        (f"{world.host}/tried:absent", secret, 2, "could not be decided"),
        ("A B", secret, 2, "no image reference"),
    ):
        code, output = await asyncio.to_thread(tried, image, *options)
        assert code == status, output
        assert text in output
    file.write_text("kind: Pod")
    code, output = await asyncio.to_thread(tried, good)
    assert (code, "is a Pod" in output) == (2, True)
