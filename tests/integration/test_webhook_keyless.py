"""Keyless policies judged by the real server over TLS, evidence from a real registry."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from keyless_bundles import keyless_bundle
from miniature_sigstore import ISSUER, SUBJECT, MiniatureSigstore
from plimsoll.cli.main import cli
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Registry
from plimsoll.signing.attach import attach_bundle
from plimsoll.signing.bundle import Bundle
from plimsoll.webhook.trust import KnownRoots, parsed_root
from registries import crane_registry
from webhooks import for_tests, push_image, serving

pytestmark = pytest.mark.integration

SPDX = "https://spdx.dev/Document"


@pytest.fixture(scope="module")
def host():
    with crane_registry() as registry:
        yield registry.host


@pytest.fixture(scope="module")
def sigstore():
    return MiniatureSigstore()


def roots(sigstore):
    return KnownRoots({("plimsoll.dev", "r"): parsed_root(sigstore.trusted_root())})


def spec(**identity):
    who = {"issuer": ISSUER, "subject": SUBJECT} | identity
    authority = {"name": "ci", "keyless": {"trustRootRef": "r", "identities": [who]}}
    return {"images": [{"glob": "**"}], "authorities": [authority]}


async def attach(host, image, bundle):
    reference = Reference.parse(image)
    async with Registry(insecure=frozenset({host})) as registry:
        subject = await registry.resolve(reference)
        await attach_bundle(registry, reference, subject, Bundle.parse(bundle))


async def test_an_image_is_admitted_by_who_signed_it(host, sigstore):
    image = await push_image(host, "keyless", "1", "a")
    digest = Reference.parse(image).digest
    async with serving(for_tests(host)) as webhook:
        webhook.policies.set(trust=roots(sigstore), signed=spec())
        message = (await webhook.admit(image))["status"]["message"]
        assert 'no signature by identity "ci" (found none)' in message
        webhook.verifier.cache.clear()
        stranger = keyless_bundle(sigstore, digest, subject="https://example.com/evil")
        await attach(host, image, stranger)
        message = (await webhook.admit(image))["status"]["message"]
        assert "it is signed by https://example.com/evil" in message
        webhook.verifier.cache.clear()
        await attach(host, image, keyless_bundle(sigstore, digest))
        answer = await webhook.admit(image)
        assert answer["allowed"], answer
        # Trust in another instance only: the remembered verdict is no use to it.
        webhook.policies.set(trust=roots(MiniatureSigstore()), signed=spec())
        assert not (await webhook.admit(image))["allowed"]
        webhook.policies.set(trust=roots(sigstore), signed=spec(subject="https://other"))
        assert not (await webhook.admit(image))["allowed"]
        webhook.policies.set(trust=roots(sigstore), signed=spec() | {"require": {"sbom": True}})
        assert not (await webhook.admit(image))["allowed"]
        webhook.verifier.cache.clear()
        await attach(host, image, keyless_bundle(sigstore, digest, SPDX, {"packages": []}))
        answer = await webhook.admit(image)
        assert answer["allowed"], answer


async def test_a_keyless_policy_can_be_tried_without_a_cluster(host, sigstore, tmp_path):
    image = await push_image(host, "tried", "1", "b")
    await attach(host, image, keyless_bundle(sigstore, Reference.parse(image).digest))
    base = {"apiVersion": "plimsoll.dev/v1alpha1", "metadata": {"name": "r"}}
    items = [
        {**base, "kind": "ClusterImagePolicy", "spec": spec()},
        {**base, "kind": "TrustRoot", "spec": {"trustedRoot": sigstore.trusted_root().decode()}},
    ]
    (tmp_path / "both.yaml").write_text(json.dumps({"kind": "List", "items": items}))
    (tmp_path / "alone.yaml").write_text(json.dumps(items[0]))
    unnamed = spec()
    del unnamed["authorities"][0]["keyless"]["trustRootRef"]
    (tmp_path / "unnamed.yaml").write_text(json.dumps({**items[0], "spec": unnamed}))
    (tmp_path / "root.json").write_bytes(sigstore.trusted_root())

    def tried(file, *options):
        base = ["policy", "test", "-p", str(tmp_path / file), "-i", image, "--timeout", "5"]
        result = CliRunner().invoke(cli, [*base, *options])
        return result.exit_code, result.output

    for arguments, status in (
        (("both.yaml",), 0),
        (("alone.yaml",), 1),
        (("unnamed.yaml",), 1),
        (("unnamed.yaml", "--trust-root", str(tmp_path / "root.json")), 0),
        (("unnamed.yaml", "--trust-root", str(tmp_path / "alone.yaml")), 2),
    ):
        code, output = await asyncio.to_thread(tried, *arguments)
        assert code == status, (arguments, output)
