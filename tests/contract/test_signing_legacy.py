"""Signatures of cosign 1 and 2 as a real project published them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from plimsoll.oci.digest import digest_of
from plimsoll.oci.model import Manifest
from plimsoll.signing.authority import KeyAuthority
from plimsoll.signing.errors import InvalidKeyError
from plimsoll.signing.items import Evidence, LegacySignatureItem
from plimsoll.signing.keys import load_public_keys
from plimsoll.signing.legacy import SimplePayload, legacy_tag
from plimsoll.signing.verify import verify
from shared_data import DATA, shared

INDEX = DATA / "cosign-legacy" / "index.json"
CASES = json.loads(INDEX.read_text()) if INDEX.exists() else {"images": [], "verify": []}
KEYS = ("alice", "bob", "charlie", "default")


def key(name):
    return load_public_keys((shared("cosign-legacy") / "keys" / f"{name}.pub").read_bytes())


def evidence(digest):
    root = shared("cosign-legacy") / "testimage"
    path = root / "manifests" / f"{legacy_tag(digest, 'sig')}.json"
    items = []
    if path.exists():
        for layer in Manifest.parse(path.read_bytes()).layers:
            data = (root / "blobs" / Path(layer.digest.replace(":", "/"))).read_bytes()
            assert digest_of(data) == layer.digest
            items.append(LegacySignatureItem(str(path.name), data, layer.annotations))
    return Evidence(digest=digest, repository="testimage", items=tuple(items))


@pytest.mark.parametrize("image", CASES["images"], ids=lambda image: image["image"])
def test_who_signed(image):
    manifest = shared("cosign-legacy") / image["manifest"]
    found = evidence(image["digest"])
    assert len(found.items) == len(image["signatures"])
    assert digest_of(manifest.read_bytes()) == image["digest"] or not image["signatures"]
    for name in KEYS:
        verdict = verify(found, image["digest"], KeyAuthority(key(name)))
        expected = [one for one in image["signatures"] if name in one["verifies_with"]]
        assert len(verdict.signatures) == len(expected)
        assert len(verdict.rejections) == len(image["signatures"]) - len(expected)
    for item, facts in zip(found.items, image["signatures"], strict=True):
        assert SimplePayload.parse(item.payload).reference == facts["docker_reference"]


@pytest.mark.parametrize(
    "case",
    [case for case in CASES["verify"] if "digest" in case],
    ids=lambda case: "-".join([case["expect"], *case["keys"], *case.get("required", [])]),
)
def test_what_a_policy_would_say(case):
    names = case.get("required", case["keys"])
    digest = case["digest"]
    signers = set()
    for name in names:
        signers |= verify(evidence(digest), digest, KeyAuthority(key(name))).signers
    enough = len(signers) == len(names)
    if case["transparency_log"]:
        enough = enough and any(
            "dev.sigstore.cosign/bundle" in item.annotations for item in evidence(digest).items
        )
    assert enough == (case["expect"] == "pass")


def test_the_keys_of_the_validator():
    validator = yaml.safe_load((shared("cosign-legacy") / "validators/01_cosign.yaml").read_text())
    for root in validator["trustRoots"]:
        assert load_public_keys(root["key"]) == key(root["name"])


def test_no_trust_roots():
    with pytest.raises(InvalidKeyError):
        load_public_keys("")
