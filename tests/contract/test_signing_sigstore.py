"""The conformance data of sigstore: every case, positive and negative, and nothing else."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from plimsoll.errors import Error
from plimsoll.signing.authority import KeyAuthority
from plimsoll.signing.bundle import Bundle
from plimsoll.signing.certificate import (
    _is_authority,
    check_leaf,
    load_certificate,
)
from plimsoll.signing.dsse import Envelope
from plimsoll.signing.errors import InvalidTrustRootError, RejectedError
from plimsoll.signing.fulcio import certificate_identity
from plimsoll.signing.identities import IdentityRule
from plimsoll.signing.keyless import (
    KeylessAuthority,
    LoggedKeyAuthority,
    Witnesses,
)
from plimsoll.signing.keys import load_public_keys
from plimsoll.signing.statement import Statement
from plimsoll.signing.timestamp import verify_timestamps
from plimsoll.signing.trustroot import TrustRoot, log_key
from plimsoll.signing.verify import verify_bundle
from shared_data import DATA, shared

ROOT = DATA / "sigstore"
INDEX = (
    json.loads((ROOT / "index.json").read_text())
    if ROOT.exists()
    else {"conformance": [], "sigstore_python": [], "x509": {}, "trust_files": []}
)
CASES = [*INDEX["conformance"], *INDEX["sigstore_python"]]


def read(name):
    return (shared("sigstore") / name).read_bytes()


def trust_root(case):
    text = json.loads(read(case["trusted_root"]))
    if "timestamp_authority" in case:
        text["timestampAuthorities"] = [json.loads(read(case["timestamp_authority"]))]
    elif "removed" in case.get("note", ""):
        text["timestampAuthorities"] = []
    return TrustRoot.parse(json.dumps(text).encode())


def authority(case):
    witnesses = Witnesses(root=trust_root(case))
    if "key" in case:
        return LoggedKeyAuthority(
            keys=KeyAuthority(load_public_keys(read(case["key"]))), witnesses=witnesses
        )
    # Some cases are refused before anybody asks who it was.
    subject, issuer = case.get("identity") or "nobody", case.get("issuer") or "nobody"
    identity = IdentityRule.of(subject=subject, issuer=issuer)
    return KeylessAuthority(witnesses=witnesses, identity=identity)


def digest_and_artifact(case, data):
    if "artifact" in case:
        artifact = read(case["artifact"])
        return f"sha256:{hashlib.sha256(artifact).hexdigest()}", artifact
    if "artifact_sha256" in case:
        return f"sha256:{case['artifact_sha256']}", None
    try:
        content = Bundle.parse(data).content
    except Error:
        return "sha256:" + "0" * 64, None
    if not isinstance(content, Envelope):
        return f"sha256:{content.digest.hex()}", None
    return f"sha256:{Statement.parse(content.payload).subjects[0].digest['sha256']}", None


def judge(case, *, by_digest=False):
    data = read(case["bundle"])
    digest, artifact = digest_and_artifact(case, data)
    artifact = None if by_digest else artifact
    return verify_bundle(data, digest, authority(case), artifact=artifact, source=case["case"])


@pytest.mark.parametrize("by_digest", [False, True], ids=["file", "digest"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case["expect"] == "pass"], ids=lambda case: case["case"]
)
def test_accepted(case, by_digest):
    fact = judge(case, by_digest=by_digest)
    if "key" not in case:
        assert fact.identity.subject == case["identity"]
        assert fact.identity.issuer == case["issuer"]


@pytest.mark.parametrize("by_digest", [False, True], ids=["file", "digest"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case["expect"] == "fail"], ids=lambda case: case["case"]
)
def test_refused(case, by_digest):
    with pytest.raises(Error):
        judge(case, by_digest=by_digest)


def test_all_cases_are_here():
    shared("sigstore")
    assert len(INDEX["conformance"]) == 35
    assert len(INDEX["sigstore_python"]) == 19
    assert {case["expect"] for case in CASES} == {"pass", "fail"}


@pytest.mark.parametrize("case", INDEX["conformance"], ids=lambda case: case["case"])
@pytest.mark.parametrize("which", ["identity", "issuer", "both"])
def test_another_identity_is_refused(case, which):
    if case["expect"] == "fail" or "key" in case:
        return
    change = {"identity": "other@example.com", "issuer": "https://issuer.example"}
    changed = case | (change if which == "both" else {which: change[which]})
    with pytest.raises(RejectedError, match="not trusted here"):
        judge(changed)


def test_another_key_is_refused():
    case = next(case for case in CASES if "managed-key-and-trusted-root" in case["case"])
    other = shared("cosign-legacy") / "keys" / "alice.pub"
    with pytest.raises(RejectedError, match="not by the key"):
        judge(case | {"key": str(other)})


def test_a_bare_key_does_not_satisfy_a_keyless_policy():
    case = next(case for case in CASES if "managed-key-and-trusted-root" in case["case"])
    with pytest.raises(RejectedError, match="bare key"):
        judge({name: value for name, value in case.items() if name != "key"})


def test_no_time_is_proven_where_only_the_log_entry_claims_one():
    # The entry says when it was taken in, but the log did not sign that (sigstore-python #1247).
    case = next(case for case in CASES if case["case"] == "bundle_v3_no_signed_time")
    with pytest.raises(Error, match="nothing proves when"):
        judge(case | {"trusted_root": "trust/public-good.trusted_root.json"})


def test_claims_of_a_workflow():
    case = next(case for case in CASES if "certificate_extensions" in case)
    (der,) = Bundle.parse(read(case["bundle"])).material.certificates[:1]
    claims = certificate_identity(load_certificate(der)).claims
    assert sorted(claims.values()) == sorted(case["certificate_extensions"].values())
    assert claims["githubWorkflowRepository"] == "trailofbits/rfc8785.py"
    assert claims["buildTrigger"] == "release"


@pytest.mark.parametrize("name", INDEX["x509"].get("is_leaf", {}))
def test_what_is_a_signers_certificate(name):
    pem = read(f"sigstore-python/x509/{name}")
    leaf = load_certificate(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))
    if INDEX["x509"]["is_leaf"][name] is True:
        check_leaf(leaf)
    else:
        with pytest.raises(RejectedError):
            check_leaf(leaf)


@pytest.mark.parametrize("name", INDEX["x509"].get("is_ca", {}))
def test_what_is_an_authority(name):
    pem = read(f"sigstore-python/x509/{name}")
    certificate = x509.load_pem_x509_certificate(pem)
    assert _is_authority(certificate) == (INDEX["x509"]["is_ca"][name] is True)


@pytest.mark.parametrize(
    "facts",
    [facts for facts in INDEX["trust_files"] if "/trusted_root/" in facts["file"]],
    ids=lambda facts: facts["file"],
)
def test_trust_files(facts):
    data = read(facts["file"])
    if "certificate_authority" in facts["file"]:
        wrapper = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "certificateAuthorities": [json.loads(data)],
        }
        data = json.dumps(wrapper).encode()
    if facts["expect"] == "error":
        with pytest.raises(InvalidTrustRootError):
            TrustRoot.parse(data)
        return
    root = TrustRoot.parse(data)
    if "certificates" in facts:
        assert len(root.certificate_authorities[0].chain) == facts["certificates"]
        return
    assert len(root.tlogs) == facts["tlogs"]
    assert len(root.certificate_authorities) == facts["certificate_authorities"]
    assert len(root.ctlogs) == facts["ctlogs"]
    assert len(root.timestamp_authorities) == facts["timestamp_authorities"]


def test_log_ids_of_keys():
    for name in ("public-good", "staging"):
        for log in TrustRoot.parse(read(f"trust/{name}.trusted_root.json")).tlogs:
            assert log_key(log.key, log.valid_for, log.base_url) == log


def test_a_timestamp_without_certificates():
    case = INDEX["timestamp_regression"]
    root = TrustRoot.parse(read(case["trusted_root"]))
    authorities = root.timestamp_authorities
    (found,) = verify_timestamps([read(case["timestamp"])], read(case["message"]), authorities)
    assert found.source
    with pytest.raises(RejectedError):
        verify_timestamps([read(case["timestamp"])], b"another message", authorities)
