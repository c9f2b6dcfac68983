"""The objects of policy-controller's own tests are accepted or refused as there."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from plimsoll.api.crd import crd
from plimsoll.api.imageglob import Glob
from plimsoll.api.kinds import CLUSTER_IMAGE_POLICY, TRUST_ROOT
from plimsoll.api.policycheck import PolicyInvalidError, read_spec
from plimsoll.api.trustroot import pem_of, read_trust_root_spec
from shared_data import shared

_FOLDER = shared("policy")
_INDEX = json.loads((_FOLDER / "index.json").read_text())


def _load(file: str):
    return yaml.safe_load((_FOLDER / file).read_text())


@pytest.mark.parametrize("case", [*_INDEX["valid"], *_INDEX["e2e"]], ids=lambda c: c["file"])
def test_valid_policies_are_accepted(case):
    read_spec(_load(case["file"])["spec"])


@pytest.mark.parametrize("case", _INDEX["invalid"], ids=lambda c: c["file"])
def test_invalid_policies_are_refused_with_the_known_texts(case):
    with pytest.raises(PolicyInvalidError) as refusal:
        read_spec(_load(case["file"])["spec"])
    for text in case["errors_contain"]:
        assert text in str(refusal.value)


@pytest.mark.parametrize("case", _INDEX["empty_authorities"], ids=lambda c: c["file"])
def test_no_authorities_only_where_allowed(case):
    spec = _load(case["file"])["spec"]
    with pytest.raises(PolicyInvalidError, match=re.escape("missing field(s): spec.authorities")):
        read_spec(spec)
    assert not read_spec(spec, allow_no_authorities=True).authorities


def test_a_trust_root_of_keys_holds_the_golden_certificates():
    root = read_trust_root_spec(_load(_INDEX["trustroot"]["valid"])["spec"])
    keys = root.sigstore_keys
    found = {
        "fulcio.crt.pem": keys.certificate_authorities[0].cert_chain,
        "tsa.crt.pem": keys.timestamp_authorities[0].cert_chain,
        "rekor.pem": keys.t_logs[0].public_key,
        "ctfe.pem": keys.ct_logs[0].public_key,
    }
    for file, text in found.items():
        golden = (_FOLDER / "trustroot/golden" / file).read_text()
        assert pem_of(text).strip() == golden.strip()


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({}, "expected exactly one, got neither: spec.remote, spec.repository"),
        ({"remote": {"root": "e30="}}, "missing field(s): spec.remote.mirror"),
        ({"trustedRoot": "{"}, "spec.trustedRoot: no JSON"),
        ({"sigstoreKeys": {"tLogs": [{"publicKey": "?"}]}}, "spec.sigstoreKeys.tLogs[0].publicKey"),
        ({"remotes": {}}, "unknown field: spec.remotes"),
        (None, "missing field(s): spec"),
    ],
)
def test_invalid_trust_roots_are_refused(spec, text):
    with pytest.raises(PolicyInvalidError, match=re.escape(text)):
        read_trust_root_spec(spec)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"require": {}}, "missing field(s): spec.require.signature"),
        ({"require": {"sbon": True}}, "unknown field: spec.require.sbon"),
        ({"require": {"digest": False}}, "missing field(s): spec.require.signature"),
        ({"require": {"signers": 2}}, "spec.require.signers: there are only 1 keys"),
        ({"require": {"signers": 0}}, "spec.require.signers"),
        ({"require": {"sbomRules": {"formats": ["xml"]}}}, "spec.require.sbomRules.formats[0]"),
        (
            {"require": {"sbomRules": {"deniedPackages": [{"name": "a", "versions": ["3"]}]}}},
            "spec.require.sbomRules.deniedPackages[0].versions[0]",
        ),
        (
            {"require": {"provenanceRules": {"level": 3}}},
            "missing field(s): spec.require.provenanceRules.builders",
        ),
        (
            {
                "require": {
                    "provenanceRules": {
                        "sources": [{"repository": "r"} | dict.fromkeys(("branch", "tag"), "x")]
                    }
                }
            },
            "got both: spec.require.provenanceRules.sources[0].branch",
        ),
        (
            {"require": {"vulnerabilities": {"ignore": [{"id": "CVE-1", "until": "2030-01-01"}]}}},
            "missing field(s): spec.require.vulnerabilities.ignore[0].reason",
        ),
        (
            {"require": {"vulnerabilities": {"ignore": [{"id": "CVE-1", "reason": "x"}]}}},
            "missing field(s): spec.require.vulnerabilities.ignore[0].until",
        ),
        ({"require": {"freshness": {"maxAge": "30d"}}}, "spec.require.freshness.maxAge"),
        ({"images": []}, "missing field(s): spec.images"),
        ({"images": [{}]}, "missing field(s): spec.images[0].glob"),
        ({"images": "x"}, "invalid value: x: spec.images"),
        ({"authorities": [{"static": {"action": "pas"}}]}, "spec.authorities[0].static.action"),
        (
            {"authorities": [{"static": {"action": "pass"}}], "require": {"sbom": True}},
            "spec.require: nobody could vouch",
        ),
        (
            {"authorities": [{"static": {"action": "pass"}, "ctlog": {"url": "https://x"}}]},
            "spec.authorities[0].ctlog, spec.authorities[0].static",
        ),
        (
            {"authorities": [{"name": "a", "static": {"action": "pass"}}] * 2},
            "duplicate name: a: spec.authorities[1].name",
        ),
        ({"match": [{"resource": "pods", "group": "apps"}]}, "invalid value: apps: spec.match[0]"),
        ({"policy": {"data": "x"}}, "missing field(s): spec.policy.type"),
        (
            {"policy": {"type": "cue", "remote": {"url": "http://x"}}},
            "invalid value: http://x: spec.policy.remote.url",
        ),
    ],
)
def test_our_own_rules_name_the_field(change, text):
    key = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    spec = {"images": [{"glob": "**"}], "authorities": [{"key": {"data": key}}], **change}
    with pytest.raises(PolicyInvalidError, match=re.escape(text)):
        read_spec(spec)


@pytest.mark.parametrize("glob", ["", "[a-z]*", "a b", "a\nb", "ä*", "a?b"])
def test_a_glob_has_the_characters_of_references_only(glob):
    with pytest.raises(ValueError, match="invalid glob"):
        Glob(glob)


def _properties(schema, path=""):
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from _properties(child.get("items", child), f"{path}.{name}")


@pytest.mark.parametrize(
    ("file", "definition"),
    [("300-clusterimagepolicy.yaml", CLUSTER_IMAGE_POLICY), ("300-trustroot.yaml", TRUST_ROOT)],
    ids=["policy", "trustroot"],
)
def test_every_field_of_the_original_schema_is_ours_under_the_same_name(file, definition):
    def spec_of(crd):
        version = crd["spec"]["versions"][-1]
        return version["schema"]["openAPIV3Schema"]["properties"]["spec"]

    theirs = set(_properties(spec_of(yaml.safe_load((_FOLDER / "crd" / file).read_text()))))
    ours = set(_properties(spec_of(crd(definition))))
    assert theirs <= ours
    added = {".require", ".trustedRoot"}
    assert {path for path in ours - theirs if not path.startswith(".require.")} <= added
