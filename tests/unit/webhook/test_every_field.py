"""Every field of the policy objects restricts something, and a test shows what it refuses.

A field that is added without a line here fails; so does a line whose test does not exist.
"""

from __future__ import annotations

import ast
import typing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BaseModel

from keyless_bundles import keyless_bundle
from miniature_sigstore import MiniatureSigstore
from plimsoll.api.policy import ClusterImagePolicySpec
from plimsoll.api.policyexception import ImagePolicyExceptionSpec
from plimsoll.api.trustroot import TrustRootSpec
from plimsoll.signing.items import BundleItem, Evidence
from plimsoll.signing.privatekey import generate_key
from plimsoll.signing.sign import sign_image
from plimsoll.signing.verify import verify
from plimsoll.webhook.authorities import Secrets
from plimsoll.webhook.policies import compile_policy
from plimsoll.webhook.rules.engines import Engines
from plimsoll.webhook.trust import KnownRoots, parsed_root

ROOT = Path(__file__).parents[3]
HERE = "unit/webhook/test_every_field"
REQUIRE = "unit/webhook/test_require"
TRUST = "unit/webhook/test_trust"
RULES = "unit/webhook/test_rules"
POLICIES = "unit/webhook/test_policies"
OBJECTS = "contract/test_policy_objects"
WEBHOOK = "integration/test_webhook_verification"
NAMESPACED = "unit/webhook/test_namespaced"

#: What restricts nothing, and why.
FREE = {
    "ClusterImagePolicy.authorities[].name": "a name for messages and rules",
    "ClusterImagePolicy.authorities[].static.message": "shown to people",
    "ClusterImagePolicy.authorities[].attestations[].name": "a name for messages and rules",
    "ClusterImagePolicy.require.vulnerabilities.ignore[].reason": "shown to people",
    "ImagePolicyException.reason": "shown to people",
    **{
        f"TrustRoot.sigstoreKeys.{kind}[].{field}": "a label; what counts is the certificate"
        for kind in ("certificateAuthorities", "timestampAuthorities")
        for field in ("subject.organization", "subject.commonName", "uri")
    },
    "TrustRoot.sigstoreKeys.tLogs[].baseURL": "a label; what counts is the key",
    "TrustRoot.sigstoreKeys.ctLogs[].baseURL": "a label; what counts is the key",
}

_AUTHORITY = {
    "key.data": f"{WEBHOOK}::test_a_signature_by_another_key_says_so",
    "key.kms": f"{POLICIES}::test_what_cannot_be_checked_yet_refuses",
    "key.secretRef.name": f"{POLICIES}::test_keys_come_from_the_policy_or_a_secret",
    "key.secretRef.namespace": f"{POLICIES}::test_secrets_of_other_namespaces_are_out_of_reach",
    "key.hashAlgorithm": f"{HERE}::test_the_hash_of_a_key",
    "keyless.url": f"{TRUST}::test_what_no_root_supports_refuses",
    "keyless.identities[].issuer": f"{TRUST}::test_each_part_of_an_identity_restricts",
    "keyless.identities[].subject": f"{TRUST}::test_each_part_of_an_identity_restricts",
    "keyless.identities[].issuerRegExp": f"{TRUST}::test_each_part_of_an_identity_restricts",
    "keyless.identities[].subjectRegExp": f"{TRUST}::test_each_part_of_an_identity_restricts",
    "keyless.trustRootRef": f"{POLICIES}::test_what_cannot_be_checked_yet_refuses",
    "keyless.ca-cert.data": f"{TRUST}::test_a_private_authority_by_its_certificate",
    "keyless.ca-cert.kms": f"{HERE}::test_what_a_certificate_authority_cannot_be",
    "keyless.ca-cert.secretRef.name": f"{HERE}::test_what_a_certificate_authority_cannot_be",
    "keyless.ca-cert.secretRef.namespace": f"{HERE}::test_what_a_certificate_authority_cannot_be",
    "keyless.ca-cert.hashAlgorithm": f"{HERE}::test_the_hash_of_a_certificate",
    "keyless.insecureIgnoreSCT": f"{TRUST}::"
    "test_a_certificate_needs_its_proof_of_transparency_unless_told_otherwise",
    "static.action": "unit/webhook/test_evaluate::test_a_policy_passes_by_proven_evidence_only",
    "source[].oci": f"{WEBHOOK}::test_evidence_may_stand_in_another_repository",
    "source[].tagPrefix": f"{WEBHOOK}::test_evidence_may_stand_in_another_repository",
    "source[].signaturePullSecrets[].name": f"{NAMESPACED}::"
    "test_a_namespace_cannot_reach_into_the_webhooks_own",
    "ctlog.url": f"{POLICIES}::test_what_cannot_be_checked_yet_refuses",
    "ctlog.trustRootRef": f"{TRUST}::test_a_key_may_be_held_to_a_log",
    "rfc3161timestamp.trustRootRef": f"{TRUST}::"
    "test_a_timestamp_is_demanded_from_the_named_authority",
    "signatureFormat": f"{WEBHOOK}::test_the_format_may_be_restricted",
    "attestations[].predicateType": f"{WEBHOOK}::"
    "test_attestations_are_told_apart_by_their_signed_type",
    "attestations[].policy.type": f"{RULES}::test_a_language_that_is_not_there_refuses",
    "attestations[].policy.data": f"{RULES}::test_an_attestation_must_satisfy_its_rule",
}
_TEXT = {
    "configMapRef.name": f"{RULES}::test_where_a_rule_stands",
    "configMapRef.namespace": f"{RULES}::test_where_a_rule_stands",
    "configMapRef.key": f"{RULES}::test_where_a_rule_stands",
    "remote.url": f"{RULES}::test_where_a_rule_stands",
    "remote.sha256sum": "unit/webhook/test_externals::test_a_text_must_have_its_checksum",
}
_TOLD = ("fetchConfigFile", "includeSpec", "includeObjectMeta", "includeTypeMeta")
_REQUIRE = {
    "signature": f"{REQUIRE}::test_signers_are_counted_not_signatures",
    "signers": f"{REQUIRE}::test_signers_are_counted_not_signatures",
    "sbom": f"{WEBHOOK}::test_what_a_policy_requires_must_be_attested_by_its_authority",
    "sbomRules.formats": f"{REQUIRE}::test_formats",
    "sbomRules.deniedLicenses": f"{REQUIRE}::test_denied_licences",
    "sbomRules.deniedPackages[].name": f"{REQUIRE}::test_denied_packages",
    "sbomRules.deniedPackages[].versions": f"{REQUIRE}::test_denied_packages",
    "sbomRules.completeness": f"{REQUIRE}::test_completeness",
    "sbomRules.minimumPackages": f"{REQUIRE}::test_completeness",
    "provenance": f"{WEBHOOK}::test_what_a_policy_requires_must_be_attested_by_its_authority",
    "provenanceRules.builders[].id": f"{REQUIRE}::test_builders",
    "provenanceRules.builders[].level": f"{REQUIRE}::"
    "test_levels_are_those_that_builders_are_trusted_to_have",
    "provenanceRules.sources[].repository": f"{REQUIRE}::test_sources",
    "provenanceRules.sources[].branch": f"{REQUIRE}::test_sources",
    "provenanceRules.sources[].tag": f"{REQUIRE}::test_sources",
    "provenanceRules.level": f"{REQUIRE}::test_levels_are_those_that_builders_are_trusted_to_have",
    "vulnerabilities.maxAge": f"{REQUIRE}::test_the_age_of_the_report",
    "vulnerabilities.severities": f"{REQUIRE}::test_severities",
    "vulnerabilities.onlyFixable": f"{REQUIRE}::test_only_fixable",
    "vulnerabilities.ignore[].id": f"{REQUIRE}::test_what_is_ignored_is_ignored_for_a_time",
    "vulnerabilities.ignore[].until": f"{REQUIRE}::test_what_is_ignored_is_ignored_for_a_time",
    "vulnerabilities.vex": f"{REQUIRE}::test_vex",
    "freshness.maxAge": f"{REQUIRE}::test_freshness",
    "digest": f"{REQUIRE}::test_a_tag_is_refused_where_a_digest_is_wanted",
}
_SELECTED = f"{POLICIES}::test_policies_are_chosen_by_image_kind_and_labels"
_REPOSITORY = f"{TRUST}::test_a_broken_repository_says_why"
_REMOTE = f"{TRUST}::test_a_root_that_cannot_be_fetched_refuses_and_says_so"

#: Field → the test in which it refuses something.
RESTRICTS = {
    "ClusterImagePolicy.images[].glob": "contract/test_policy_globs::test_glob",
    **{f"ClusterImagePolicy.authorities[].{k}": v for k, v in _AUTHORITY.items()},
    **{f"ClusterImagePolicy.authorities[].attestations[].policy.{k}": v for k, v in _TEXT.items()},
    **{
        f"ClusterImagePolicy.authorities[].attestations[].policy.{name}": f"{HERE}::"
        "test_a_rule_about_an_attestation_is_told_nothing_else"
        for name in _TOLD
    },
    **{f"ClusterImagePolicy.require.{k}": v for k, v in _REQUIRE.items()},
    "ClusterImagePolicy.policy.type": f"{RULES}::test_a_language_that_is_not_there_refuses",
    "ClusterImagePolicy.policy.data": f"{RULES}::"
    "test_a_policy_is_asked_about_what_all_authorities_found",
    **{f"ClusterImagePolicy.policy.{k}": v for k, v in _TEXT.items()},
    **{
        f"ClusterImagePolicy.policy.{name}": f"{RULES}::test_a_policy_is_told_only_what_it_asks_for"
        for name in _TOLD
    },
    "ClusterImagePolicy.mode": "unit/webhook/test_evaluate::test_every_policy_must_pass",
    "ClusterImagePolicy.match[].group": f"{OBJECTS}::"
    "test_invalid_policies_are_refused_with_the_known_texts",
    "ClusterImagePolicy.match[].version": f"{HERE}::test_versions_of_kinds",
    "ClusterImagePolicy.match[].resource": _SELECTED,
    "ClusterImagePolicy.match[].selector.matchLabels": _SELECTED,
    "ClusterImagePolicy.match[].selector.matchExpressions[].key": _SELECTED,
    "ClusterImagePolicy.match[].selector.matchExpressions[].operator": _SELECTED,
    "ClusterImagePolicy.match[].selector.matchExpressions[].values": _SELECTED,
    **{
        f"ImagePolicyException.{name}": f"{NAMESPACED}::test_each_part_of_an_exception_restricts"
        for name in ("policies", "images[].glob", "namespaces", "until")
    },
    "TrustRoot.remote.root": f"{TRUST}::test_a_remote_root_is_followed_and_the_last_good_one_kept",
    "TrustRoot.remote.mirror": _REMOTE,
    "TrustRoot.remote.targets": f"{TRUST}::test_where_the_target_of_a_remote_root_is",
    "TrustRoot.remote.trustedRootTarget": f"{TRUST}::test_where_the_target_of_a_remote_root_is",
    "TrustRoot.repository.root": f"{TRUST}::test_a_repository_signed_by_somebody_else_is_refused",
    "TrustRoot.repository.mirrorFS": _REPOSITORY,
    "TrustRoot.repository.targets": _REPOSITORY,
    "TrustRoot.repository.trustedRootTarget": _REPOSITORY,
    "TrustRoot.sigstoreKeys.certificateAuthorities[].certChain": f"{OBJECTS}::"
    "test_invalid_trust_roots_are_refused",
    "TrustRoot.sigstoreKeys.tLogs[].publicKey": f"{TRUST}::test_a_keyless_signature_needs_the_log",
    "TrustRoot.sigstoreKeys.tLogs[].hashAlgorithm": f"{TRUST}::test_hashes_of_logs",
    "TrustRoot.sigstoreKeys.ctLogs[].publicKey": f"{TRUST}::"
    "test_a_certificate_needs_its_proof_of_transparency_unless_told_otherwise",
    "TrustRoot.sigstoreKeys.ctLogs[].hashAlgorithm": f"{TRUST}::test_hashes_of_logs",
    "TrustRoot.sigstoreKeys.timestampAuthorities[].certChain": f"{TRUST}::"
    "test_a_timestamp_is_demanded_from_the_named_authority",
    "TrustRoot.trustedRoot": f"{TRUST}::test_what_no_root_supports_refuses",
}


def models_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ""
    for part in typing.get_args(annotation):
        marks = "[]" if typing.get_origin(annotation) is list else ""
        for model, inner in models_in(part):
            yield model, marks + inner


def fields_of(model, path):
    for name, field in model.model_fields.items():
        here = f"{path}.{field.alias or name}"
        below = list(models_in(field.annotation))
        if not below:
            yield here
        for inner, marks in below:
            yield from fields_of(inner, here + marks)


def test_every_field_has_a_test_in_which_it_refuses():
    found = {
        *fields_of(ClusterImagePolicySpec, "ClusterImagePolicy"),
        *fields_of(ImagePolicyExceptionSpec, "ImagePolicyException"),
        *fields_of(TrustRootSpec, "TrustRoot"),
    }
    assert found - set(RESTRICTS) - set(FREE) == set(), "fields that nothing tests"
    assert {*RESTRICTS, *FREE} - found == set(), "fields that are no more"
    assert set(RESTRICTS) & set(FREE) == set()


def test_the_tests_of_fields_exist():
    known = {}
    for place in RESTRICTS.values():
        file, _, name = place.partition("::")
        if file not in known:
            tree = ast.parse((ROOT / "tests" / f"{file}.py").read_text())
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
            known[file] = {node.name for node in ast.walk(tree) if isinstance(node, kinds)}
        assert name in known[file], place


# --- fields without a test elsewhere --------------------------------------------------------------

IMAGE = f"sha256:{'ab' * 32}"


def policy(*authorities, trust=None, secrets=None, **fields):
    body = {"images": [{"glob": "**"}], "authorities": list(authorities), **fields}
    known = Secrets("own", secrets or {})
    return compile_policy("p", body, known, trust=trust or KnownRoots(), engines=Engines())


def signatures(compiled, bundle):
    assert not compiled.fault, compiled.fault
    evidence = Evidence(digest=IMAGE, repository="r", items=(BundleItem("b", bundle),))
    return verify(evidence, IMAGE, compiled.authorities[0].trusted).signatures


@pytest.mark.parametrize(("name", "count"), [("sha256", 1), ("sha384", 0), ("sha512", 0)])
def test_the_hash_of_a_key(name, count):
    key = generate_key()
    held = {"key": {"data": key.public.pem.decode(), "hashAlgorithm": name}}
    assert len(signatures(policy(held), sign_image(key, IMAGE).to_json())) == count


@pytest.mark.parametrize(("name", "count"), [(None, 1), ("sha256", 1), ("sha384", 0)])
def test_the_hash_of_a_certificate(name, count):
    sigstore = MiniatureSigstore()
    chain = b"".join(
        one.certificate.public_bytes(Encoding.PEM) for one in (sigstore.issuer, sigstore.root)
    )
    authority = {"data": chain.decode()}
    authority |= {"hashAlgorithm": name} if name else {}
    fields = {"ca-cert": authority, "insecureIgnoreSCT": True, "trustRootRef": "r"}
    fields["identities"] = [{"issuerRegExp": ".*", "subjectRegExp": ".*"}]
    root = parsed_root(sigstore.trusted_root())
    compiled = policy({"keyless": fields}, trust=KnownRoots({("plimsoll.dev", "r"): root}))
    assert len(signatures(compiled, keyless_bundle(sigstore, IMAGE))) == count


@pytest.mark.parametrize(
    ("authority", "text"),
    [
        ({"kms": "hashivault://k"}, "no such service has certificates"),
        ({"secretRef": {"name": "absent"}}, "Secret own/absent does not exist"),
        ({"secretRef": {"name": "ca", "namespace": "other"}}, "only Secrets of namespace own"),
        ({"secretRef": {"name": "ca"}}, "ca-cert: "),
    ],
)
def test_what_a_certificate_authority_cannot_be(authority, text):
    who = {"identities": [{"issuer": "i", "subject": "s"}], "ca-cert": authority}
    compiled = policy({"keyless": who}, secrets={"ca": {"ca.pem": b"nonsense"}})
    assert text in compiled.fault


@pytest.mark.parametrize("name", _TOLD)
def test_a_rule_about_an_attestation_is_told_nothing_else(name):
    rule = {"type": "cel", "data": "true", name: True}
    attestation = {"name": "a", "predicateType": "spdx", "policy": rule}
    key = {"data": generate_key().public.pem.decode()}
    compiled = policy({"key": key, "attestations": [attestation]})
    assert f"attestations[0].policy.{name}: only spec.policy is told that" in compiled.fault


def test_versions_of_kinds():
    match = [{"group": "apps", "resource": "deployments", "version": "v1beta1"}]
    compiled = policy({"static": {"action": "pass"}}, match=match)
    assert "spec.match[0].version" in compiled.fault
