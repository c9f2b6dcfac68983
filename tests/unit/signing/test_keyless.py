"""Keyless verification: every check has a test that fails when the check is removed."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from miniature_sigstore import (
    ISSUER,
    NOW,
    SUBJECT,
    Authority,
    MiniatureSigstore,
    b64,
    new_key,
    spki,
    utf8,
)
from plimsoll.signing.authority import KeyAuthority
from plimsoll.signing.dsse import IN_TOTO, pae
from plimsoll.signing.errors import InvalidKeyError, InvalidTrustRootError, RejectedError
from plimsoll.signing.identities import IdentityRule
from plimsoll.signing.items import BundleItem, Evidence, LegacySignatureItem
from plimsoll.signing.keyless import (
    KeylessAuthority,
    LoggedKeyAuthority,
    Witnesses,
)
from plimsoll.signing.keys import public_key
from plimsoll.signing.legacy import build_payload
from plimsoll.signing.rekor import InclusionProof, LogEntry, _verify_proof, verify_entry
from plimsoll.signing.results import Identity
from plimsoll.signing.statement import COSIGN_SIGN, build_statement
from plimsoll.signing.trustroot import Period, TrustRoot, authority_from_pem, log_key
from plimsoll.signing.verify import verify

IMAGE = "sha256:" + "a" * 64
STATEMENT = build_statement(IMAGE, COSIGN_SIGN, {})
MESSAGE = pae(IN_TOTO, STATEMENT)


def exact(subject, issuer):
    return IdentityRule.of(subject=subject, issuer=issuer)


MINE = exact(SUBJECT, ISSUER)


def sign(key, data=MESSAGE):
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def pem(certificate):
    return certificate.public_bytes(Encoding.PEM)


def der(certificate):
    return certificate.public_bytes(Encoding.DER)


def hashedrekord(signature, verifier_pem, message=MESSAGE, algorithm="sha256"):
    digest = hashlib.new(algorithm, message).hexdigest()
    return {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": algorithm, "value": digest}},
            "signature": {"content": b64(signature), "publicKey": {"content": b64(verifier_pem)}},
        },
    }


def hashedrekord2(signature, certificate, message=MESSAGE):
    return {
        "apiVersion": "0.0.2",
        "kind": "hashedrekord",
        "spec": {
            "hashedRekordV002": {
                "data": {
                    "algorithm": "SHA2_256",
                    "digest": b64(hashlib.sha256(message).digest()),
                },
                "signature": {
                    "content": b64(signature),
                    "verifier": {"x509Certificate": {"rawBytes": b64(der(certificate))}},
                },
            }
        },
    }


def payload_hash(statement=STATEMENT):
    return {"algorithm": "sha256", "value": hashlib.sha256(statement).hexdigest()}


def dsse1(signature, verifier_pem, statement=STATEMENT):
    return {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": payload_hash(b"?"),
            "payloadHash": payload_hash(statement),
            "signatures": [{"signature": b64(signature), "verifier": b64(verifier_pem)}],
        },
    }


def dsse2(signature, certificate, statement=STATEMENT):
    return {
        "apiVersion": "0.0.2",
        "kind": "dsse",
        "spec": {
            "dsseV002": {
                "payloadHash": {
                    "algorithm": "SHA2_256",
                    "digest": b64(hashlib.sha256(statement).digest()),
                },
                "signatures": [
                    {
                        "content": b64(signature),
                        "verifier": {"x509Certificate": {"rawBytes": b64(der(certificate))}},
                    }
                ],
            }
        },
    }


def intoto1(signature, verifier_pem, statement=STATEMENT):
    del signature
    return {
        "apiVersion": "0.0.1",
        "kind": "intoto",
        "spec": {
            "content": {"hash": payload_hash(b"?"), "payloadHash": payload_hash(statement)},
            "publicKey": b64(verifier_pem),
        },
    }


def intoto2(signature, verifier_pem, statement=STATEMENT):
    once = b64(signature)
    return {
        "apiVersion": "0.0.2",
        "kind": "intoto",
        "spec": {
            "content": {
                "envelope": {
                    "payloadType": IN_TOTO,
                    "signatures": [{"publicKey": b64(verifier_pem), "sig": b64(once.encode())}],
                },
                "hash": payload_hash(b"?"),
                "payloadHash": payload_hash(statement),
            }
        },
    }


class Case:
    """A good signature, of which a test spoils one thing."""

    def __init__(self, sigstore=None, **certificate):
        self.sigstore = sigstore or MiniatureSigstore()
        self.key = new_key()
        self.certificate = self.sigstore.certificate(self.key, **certificate)
        self.signature = sign(self.key)
        self.root = TrustRoot.parse(self.sigstore.trusted_root())
        self.entries = [self.sigstore.entry(hashedrekord(self.signature, pem(self.certificate)))]
        self.chain = None

    def bundle(self):
        material = {"tlogEntries": self.entries}
        media_type = "application/vnd.dev.sigstore.bundle.v0.3+json"
        if self.chain is None:
            material["certificate"] = {"rawBytes": b64(der(self.certificate))}
        else:
            media_type = "application/vnd.dev.sigstore.bundle+json;version=0.2"
            ders = [{"rawBytes": b64(der(one))} for one in (self.certificate, *self.chain)]
            material["x509CertificateChain"] = {"certificates": ders}
        return json.dumps(
            {
                "mediaType": media_type,
                "verificationMaterial": material,
                "dsseEnvelope": {
                    "payload": b64(STATEMENT),
                    "payloadType": IN_TOTO,
                    "signatures": [{"sig": b64(self.signature)}],
                },
            }
        ).encode()

    def judge(self, *, require_sct=True, identity=MINE, **witnesses):
        authority = KeylessAuthority(
            witnesses=Witnesses(root=self.root, **witnesses),
            identity=identity,
            require_sct=require_sct,
        )
        evidence = Evidence(digest=IMAGE, repository="r", items=(BundleItem("b", self.bundle()),))
        return verify(evidence, IMAGE, authority)

    def accepted(self, **options):
        verdict = self.judge(**options)
        assert verdict.rejections == ()
        (found,) = verdict.signatures
        return found.identity

    def refused(self, text, **options):
        verdict = self.judge(**options)
        assert verdict.signatures == ()
        assert text in verdict.rejections[0].reason


def test_a_good_one():
    identity = Case().accepted()
    assert identity.subject == SUBJECT
    assert identity.issuer == ISSUER
    assert identity.id == f"{ISSUER}#{SUBJECT}"
    assert "example.com" in str(identity)


@pytest.mark.parametrize(
    ("make", "verifier"),
    [
        (hashedrekord, pem),
        (hashedrekord2, None),
        (dsse1, pem),
        (dsse2, None),
        (intoto1, pem),
        (intoto2, pem),
    ],
)
def test_each_kind_of_log_entry_is_bound_to_the_signature(make, verifier):
    case = Case()

    def entry(signature, certificate, **options):
        shown = verifier(certificate) if verifier else certificate
        return [case.sigstore.entry(make(signature, shown, **options))]

    case.entries = entry(case.signature, case.certificate)
    case.accepted()

    other_key = new_key()
    other_certificate = case.sigstore.certificate(other_key)
    case.entries = entry(case.signature, other_certificate)
    case.refused("another key")
    content = {"message" if "hashed" in make.__name__ else "statement": b"another"}
    case.entries = entry(case.signature, case.certificate, **content)
    case.refused("of another")
    if make is not intoto1:
        case.entries = entry(sign(case.key), case.certificate)
        case.refused("another signature")


def test_the_key_of_the_certificate_without_the_certificate_is_another_key():
    case = Case()
    bare = case.key.public_key().public_bytes(
        Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    case.entries = [case.sigstore.entry(hashedrekord(case.signature, bare))]
    case.refused("another key")


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "rpm", "apiVersion": "0.0.1", "spec": {}},
        {"kind": "hashedrekord", "apiVersion": "0.0.1", "spec": {}},
        {"kind": "hashedrekord", "apiVersion": "0.0.2", "spec": {}},
        {"kind": "dsse", "apiVersion": "0.0.1", "spec": {"payloadHash": payload_hash()}},
        {"kind": "dsse", "apiVersion": "0.0.1", "spec": {"payloadHash": {"value": 1}}},
        {"kind": "intoto", "apiVersion": "0.0.2", "spec": {"content": {}}},
        {"kind": "hashedrekord", "apiVersion": "0.0.1"},
        hashedrekord(b"x", b"-----BEGIN CERTIFICATE-----"),
        hashedrekord(b"x", b"", algorithm="sha1"),
    ],
)
def test_strange_log_entries(body):
    case = Case()
    case.entries = [case.sigstore.entry(body)]
    assert case.judge().signatures == ()


def test_a_log_entry_with_an_unknown_hash():
    case = Case()
    body = hashedrekord(case.signature, pem(case.certificate))
    body["spec"]["data"]["hash"]["algorithm"] = "sha1"
    case.entries = [case.sigstore.entry(body)]
    case.refused("digest of an unknown kind")


def test_a_bare_key_in_a_v2_entry_is_not_the_certificate():
    case = Case()
    body = hashedrekord2(case.signature, case.certificate)
    signature = body["spec"]["hashedRekordV002"]["signature"]
    signature["verifier"] = {"publicKey": {"rawBytes": b64(spki(case.key))}}
    case.entries = [case.sigstore.entry(body)]
    case.refused("another key")


def test_a_log_entry_of_another_payload_type():
    case = Case()
    body = intoto2(case.signature, pem(case.certificate))
    body["spec"]["content"]["envelope"]["payloadType"] = "text/plain"
    case.entries = [case.sigstore.entry(body)]
    case.refused("another payload")


@pytest.mark.parametrize("make", [dsse1, intoto1, intoto2])
def test_the_log_entry_of_an_envelope_for_a_signature_without_one(make):
    case = Case()
    payload = build_payload("r/app", IMAGE)
    body = make(sign(case.key, payload), pem(case.certificate), statement=payload)
    assert "of another" in legacy(case, body=body).rejections[0].reason


def test_a_log_entry_with_another_number_of_signatures():
    case = Case()
    body = dsse1(case.signature, pem(case.certificate))
    body["spec"]["signatures"] *= 2
    case.entries = [case.sigstore.entry(body)]
    case.refused("another number")
    body["spec"]["signatures"] = ["x"]
    case.entries = [case.sigstore.entry(body)]
    case.refused("no object")


# The log


def test_no_entry_at_all():
    case = Case()
    case.entries = []
    case.refused("in no trusted transparency log")


def test_a_root_without_logs_needs_time_from_elsewhere():
    case = Case()
    case.root = replace(case.root, tlogs=())
    case.refused("nothing proves when")


def test_more_logs_than_there_are():
    Case().refused("1 trusted transparency logs, not in 2", log_entries=2)


def test_the_same_log_twice_is_one_log():
    case = Case()
    case.entries *= 2
    case.refused("not in 2", log_entries=2)


def test_timestamps_that_are_not_there():
    Case().refused("0 trusted timestamp authorities", timestamps=1)


def test_timestamps_of_nobody():
    case = Case()
    obj = json.loads(case.bundle())
    stamps = {"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}]}
    obj["verificationMaterial"]["timestampVerificationData"] = stamps
    case.bundle = lambda: json.dumps(obj).encode()
    case.refused("no timestamp is by a trusted authority")


def test_another_log():
    case = Case()
    case.entries = [MiniatureSigstore().entry(hashedrekord(case.signature, pem(case.certificate)))]
    case.refused("log that is not trusted")


def test_another_logs_entry_under_our_logs_name():
    case, other = Case(), MiniatureSigstore()
    entry = other.entry(hashedrekord(case.signature, pem(case.certificate)))
    entry["logId"] = {"keyId": b64(case.sigstore.log_id)}
    case.entries = [entry]
    case.refused("signed entry timestamp is not by the log")
    del entry["inclusionPromise"]
    case.refused("checkpoint is not signed by the log")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda e: e.update(integratedTime="1772366401"), "not by the log"),
        (lambda e: e.update(logIndex="8"), "not by the log"),
        (lambda e: e.update(logIndex="-1"), "no number"),
        (lambda e: e.update(logIndex="9" * 30), "no number"),
        (lambda e: e.update(integratedTime="9" * 18), "no number"),
        (lambda e: e.pop("inclusionProof"), "no inclusion proof"),
        (lambda e: e.pop("inclusionPromise"), "nothing proves when"),
        (lambda e: e["inclusionProof"].pop("checkpoint"), "no checkpoint"),
        (lambda e: e["inclusionProof"].update(hashes=[]), "wrong length"),
        (lambda e: e["inclusionProof"].update(hashes=["AAAA"] * 3), "hash of the inclusion proof"),
        (lambda e: e["inclusionProof"].update(logIndex="3"), "does not lead"),
        (lambda e: e["inclusionProof"].update(logIndex="5"), "outside"),
        (lambda e: e["inclusionProof"].update(treeSize="6"), "another tree"),
        (lambda e: e["inclusionProof"].update(rootHash=b64(b"\0" * 32)), "does not lead"),
        (lambda e: e["inclusionProof"].update(hashes=["AA=="] * 65), "65 hashes"),
        (lambda e: e["inclusionProof"].update(checkpoint={"envelope": "x"}), "malformed"),
        (lambda e: e["inclusionProof"].update(checkpoint={"envelope": "x" * 99999}), "too long"),
        (lambda e: e["inclusionProof"].update(checkpoint={"envelope": "x\n5\n%\n\n"}), "base64"),
        (lambda e: e.pop("logId"), "logId"),
        (lambda e: e.pop("kindVersion"), "kindVersion"),
        (lambda e: e["kindVersion"].update(kind="dsse"), "another kind"),
        (lambda e: e["kindVersion"].update(version="0.0.2"), "another kind"),
        (lambda e: e.update(canonicalizedBody="%"), "base64"),
    ],
)
def test_a_changed_entry(change, text):
    case = Case()
    change(case.entries[0])
    case.refused(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [("— ", "- "), ("— log.example", "— log example"), ("— log.example", "—"), ("— ", "—  ")],
)
def test_malformed_signatures_of_a_checkpoint(old, new):
    case = Case()
    checkpoint = case.entries[0]["inclusionProof"]["checkpoint"]
    checkpoint["envelope"] = checkpoint["envelope"].replace(old, new)
    case.refused("not signed by the log")


def test_a_v01_bundle_needs_the_promise_of_the_log():
    case = Case()
    case.entries = [
        case.sigstore.entry(hashedrekord(case.signature, pem(case.certificate)), moment=None)
    ]
    obj = json.loads(case.bundle())
    obj["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    case.bundle = lambda: json.dumps(obj).encode()
    case.refused("v0.1 bundle has no inclusion promise")


def test_an_entry_that_nothing_vouches_for():
    root = TrustRoot.parse(MINIATURE.trusted_root())
    entry = LogEntry(log_id=MINIATURE.log_id, index=1, integrated_time=1, body=b"{}")
    with pytest.raises(RejectedError, match="neither a promise nor a proof"):
        verify_entry(entry, root.tlogs)


def test_the_checkpoint_of_another_tree():
    case = Case()
    other = case.sigstore.proof(b"something else")
    case.entries[0]["inclusionProof"]["checkpoint"] = other["checkpoint"]
    case.refused("another tree")


@given(st.integers(1, 40), st.data())
def test_inclusion_proofs_of_all_shapes(size, data):
    index = data.draw(st.integers(0, size - 1))
    obj = MINIATURE.proof(b"entry", index, size)
    decode = b64decode
    proof = InclusionProof(
        index=index,
        size=size,
        root=decode(obj["rootHash"]),
        hashes=tuple(decode(one) for one in obj["hashes"]),
        checkpoint="",
    )
    _verify_proof(b"entry", proof)
    for wrong in (
        replace(proof, root=b"\0" * 32),
        replace(proof, hashes=(*proof.hashes, b"\0" * 32)),
        replace(proof, index=size),
    ):
        with pytest.raises(Exception, match="inclusion proof"):
            _verify_proof(b"entry", wrong)
    with pytest.raises(Exception, match="inclusion proof"):
        _verify_proof(b"another", proof)


MINIATURE = MiniatureSigstore()


def test_a_log_with_an_ed25519_key():
    case = Case(MiniatureSigstore(log_key=ed25519.Ed25519PrivateKey.generate()))
    case.accepted()


def test_a_key_of_the_log_outside_of_its_time():
    case = Case()
    early = Period(None, NOW - timedelta(seconds=1))
    case.root = replace(case.root, tlogs=(replace(case.root.tlogs[0], valid_for=early),))
    case.refused("log's key is not trusted")
    exact = Period(NOW, NOW)
    case.root = replace(case.root, tlogs=(replace(case.root.tlogs[0], valid_for=exact),))
    case.accepted()


# The certificate


def test_signed_after_the_end_of_the_certificate():
    case = Case(start=NOW - timedelta(minutes=20))
    case.refused("when the certificate was not valid")


def test_signed_before_the_start_of_the_certificate():
    Case(start=NOW + timedelta(seconds=1)).refused("when the certificate was not valid")


def test_an_authority_that_is_not_trusted():
    case = Case()
    stranger = MiniatureSigstore(ct_key=case.sigstore.ct_key)
    case.certificate = stranger.certificate(case.key)
    case.entries = [case.sigstore.entry(hashedrekord(case.signature, pem(case.certificate)))]
    case.refused("no trusted authority")
    case.chain = [stranger.issuer.certificate]
    case.refused("no trusted authority")
    case.chain = [stranger.issuer.certificate, stranger.root.certificate]
    case.refused("contains a root certificate")


def test_every_authority_is_valid_at_signing_time():
    # CVE-2026-24122
    root = Authority.root()
    ended = root.issue_authority("intermediate", start=NOW - timedelta(days=20), days=10)
    Case(MiniatureSigstore(root=root, intermediate=ended)).refused("no trusted authority")
    past_root = Authority.root(start=NOW - timedelta(days=20), days=10)
    Case(MiniatureSigstore(root=past_root)).refused("no trusted authority")


def test_an_authority_is_trusted_in_its_own_time_only():
    case = Case()
    (known,) = case.root.certificate_authorities
    past = replace(known, valid_for=Period(None, NOW - timedelta(days=1)))
    case.root = replace(case.root, certificate_authorities=(past,))
    case.refused("no trusted authority")


@pytest.mark.parametrize(
    "options", [{"ca": False}, {"critical_extra": True}], ids=["no authority", "unknown extension"]
)
def test_intermediates_that_may_not_issue(options):
    root = Authority.root()
    intermediate = root.issue_authority("intermediate", **options)
    Case(MiniatureSigstore(root=root, intermediate=intermediate)).refused("no trusted authority")


def test_path_lengths():
    root = Authority.root()
    first = root.issue_authority("first", path_length=0)
    second = first.issue_authority("second")
    case = Case(MiniatureSigstore(root=root, intermediate=first))
    case.accepted()
    case.certificate = case.sigstore.certificate(case.key, issuer=second)
    case.entries = [case.sigstore.entry(hashedrekord(case.signature, pem(case.certificate)))]
    case.chain = [second.certificate]
    case.refused("no trusted authority")


def test_an_intermediate_that_comes_with_the_signature():
    root = Authority.root()
    first = root.issue_authority("first")
    second = first.issue_authority("second")
    case = Case(MiniatureSigstore(root=root, intermediate=first))
    case.certificate = case.sigstore.certificate(case.key, issuer=second)
    case.entries = [case.sigstore.entry(hashedrekord(case.signature, pem(case.certificate)))]
    case.refused("no trusted authority")
    case.chain = [second.certificate]
    case.accepted()


def test_a_certificate_for_something_else():
    Case(usage=ExtendedKeyUsageOID.SERVER_AUTH).refused("not for signing code")


def test_the_certificate_of_an_authority():
    case = Case()
    authority = case.sigstore.issuer
    case.certificate, case.key = authority.certificate, authority.key
    case.signature = sign(case.key)
    case.entries = [case.sigstore.entry(hashedrekord(case.signature, pem(case.certificate)))]
    case.refused("of an authority")


def test_a_weak_key_in_a_certificate():
    case = Case()
    case.key = ec.generate_private_key(ec.SECP224R1())
    case.certificate = case.sigstore.certificate(case.key)
    case.signature = sign(case.key)
    case.entries = [case.sigstore.entry(hashedrekord(case.signature, pem(case.certificate)))]
    case.refused("secp224r1")


def test_a_signature_by_another_key_than_the_certificates():
    case = Case()
    case.signature = sign(new_key())
    case.entries = [case.sigstore.entry(hashedrekord(case.signature, pem(case.certificate)))]
    case.refused("not by the key")


def test_a_bare_key_in_the_place_of_the_certificate():
    # GHSA-fx35-mq7g-6g98
    case = Case()
    obj = json.loads(case.bundle())
    obj["verificationMaterial"]["certificate"]["rawBytes"] = b64(spki(case.key))
    case.bundle = lambda: json.dumps(obj).encode()
    case.refused("what should be a certificate is none")


# Transparency of certificates


def test_no_signed_certificate_timestamp():
    case = Case(sct=False)
    case.refused("no signed certificate timestamp")
    case.accepted(require_sct=False)


def test_a_certificate_timestamp_of_another_key():
    case = Case(ct_key=new_key())
    case.refused("no trusted certificate transparency log")
    case.accepted(require_sct=False)


def test_a_certificate_transparency_log_that_is_not_trusted():
    case = Case()
    case.root = replace(case.root, ctlogs=())
    case.refused("no trusted certificate transparency log")


def test_a_certificate_transparency_log_outside_of_its_time():
    case = Case()
    past = replace(case.root.ctlogs[0], valid_for=Period(None, NOW - timedelta(days=1)))
    case.root = replace(case.root, ctlogs=(past,))
    case.refused("no trusted certificate transparency log")


# Identities


@pytest.mark.parametrize(
    "identity",
    [
        exact(SUBJECT, "https://other.example"),
        exact("other@example.com", ISSUER),
        exact(SUBJECT.upper(), ISSUER),
        lambda found: found.kind == "key",
    ],
)
def test_somebody_else(identity):
    Case().refused("not trusted here", identity=identity)


def test_a_mail_address_and_fulcios_user_name():
    mail = Case(subjects=(x509.RFC822Name("a@example.com"),))
    assert mail.accepted(identity=exact("a@example.com", ISSUER)).subject
    oid = ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
    user = Case(subjects=(x509.OtherName(oid, utf8("captain")),))
    assert user.accepted(identity=exact("captain", ISSUER)).subject == "captain"


@pytest.mark.parametrize(
    "subjects",
    [
        (),
        (x509.DNSName("example.com"),),
        (x509.UniformResourceIdentifier(SUBJECT), x509.RFC822Name("a@example.com")),
        (x509.UniformResourceIdentifier(SUBJECT), x509.DNSName("example.com")),
        (x509.OtherName(ObjectIdentifier("1.2.3"), utf8(SUBJECT)),),
    ],
)
def test_not_exactly_one_subject(subjects):
    Case(subjects=subjects).refused("subject")


@pytest.mark.parametrize(
    "claims",
    [
        {8: ISSUER.encode()},
        {8: utf8(ISSUER) + b"x"},
        {8: b"\x0c\x84\x00\x00\x00\x00"},
        {8: b""},
        {1: b"\xff"},
        {8: utf8(ISSUER), 24: b"\x0c\x02\xff\xff"},
    ],
)
def test_malformed_claims(claims):
    Case(claims=claims).refused("malformed")


def test_the_newer_issuer_counts():
    case = Case(claims={1: b"https://old.example", 8: utf8(ISSUER)})
    assert case.accepted().claims == {"issuer": "https://old.example", "issuerV2": ISSUER}


def test_claims_without_an_issuer():
    Case(claims={2: b"push"}).refused("not trusted here")


def test_long_claims():
    text = "x" * 300
    claims = {8: utf8(ISSUER), 12: b"\x0c\x82\x01\x2c" + text.encode()}
    assert Case(claims=claims).accepted().claims["sourceRepositoryURI"] == text


# Legacy


def legacy(case, *, moment=NOW, body=None, payload=None, **annotations):
    payload = payload or build_payload("r/app", IMAGE)
    signature = sign(case.key, payload)
    body = body or hashedrekord(signature, pem(case.certificate), payload)
    found = {
        "dev.cosignproject.cosign/signature": b64(signature),
        "dev.sigstore.cosign/certificate": pem(case.certificate).decode(),
        "dev.sigstore.cosign/chain": pem(case.sigstore.issuer.certificate).decode(),
        "dev.sigstore.cosign/bundle": case.sigstore.legacy(body, moment),
    }
    item = LegacySignatureItem("s", payload, found | annotations)
    authority = KeylessAuthority(witnesses=Witnesses(root=case.root), identity=MINE)
    evidence = Evidence(digest=IMAGE, repository="r", items=(item,))
    return verify(evidence, IMAGE, authority)


def test_a_legacy_signature_with_a_certificate():
    (found,) = legacy(Case()).signatures
    assert found.identity.subject == SUBJECT


@pytest.mark.parametrize(
    ("annotations", "text"),
    [
        ({"dev.sigstore.cosign/bundle": ""}, "in no trusted transparency log"),
        ({"dev.sigstore.cosign/certificate": ""}, "bare key"),
        ({"dev.sigstore.cosign/bundle": "{}"}, "Payload"),
        (
            {"dev.sigstore.cosign/bundle": '{"Payload":{"logID":"x"}}'},
            "not hexadecimal",
        ),
        (
            {"dev.sigstore.cosign/bundle": '{"Payload":{"logID":""},"SignedEntryTimestamp":""}'},
            "no signed entry timestamp",
        ),
    ],
)
def test_legacy_annotations_that_do_not_do(annotations, text):
    verdict = legacy(Case(), **annotations)
    assert verdict.signatures == ()
    assert text in verdict.rejections[0].reason


def test_certificate_annotations_that_do_not_do():
    case = Case()
    leaf, issuer = (
        pem(one).decode() for one in (case.certificate, case.sigstore.issuer.certificate)
    )
    key = public_key(case.key.public_key()).pem.decode()
    for spoiled, text in (
        ({"certificate": leaf + issuer}, "more than one certificate"),
        ({"certificate": leaf, "chain": issuer * 11}, "more than 10 certificates"),
        ({"certificate": leaf, "chain": key}, "PUBLIC KEY stands where"),
        ({"certificate": " " * 300_000}, "too long"),
    ):
        named = {f"dev.sigstore.cosign/{name}": value for name, value in spoiled.items()}
        assert text in legacy(case, **named).rejections[0].reason


def test_a_legacy_log_entry_of_another_signature():
    case = Case()
    other = build_payload("r/app", "sha256:" + "b" * 64)
    body = hashedrekord(sign(case.key, other), pem(case.certificate), other)
    assert "of another" in legacy(case, body=body).rejections[0].reason


def test_a_legacy_signature_at_another_time():
    verdict = legacy(Case(), moment=NOW + timedelta(hours=1))
    assert "when the certificate was not valid" in verdict.rejections[0].reason


# Keys with a log


def logged(case, *, entries, **window):
    obj = json.loads(case.bundle())
    obj["verificationMaterial"] = {"publicKey": {"hint": "x"}, "tlogEntries": entries}
    keys = KeyAuthority((public_key(case.key.public_key()),))
    authority = LoggedKeyAuthority(keys=keys, witnesses=Witnesses(root=case.root), **window)
    item = BundleItem("b", json.dumps(obj).encode())
    return verify(Evidence(digest=IMAGE, repository="r", items=(item,)), IMAGE, authority)


def test_a_logged_key():
    case = Case()
    bare = case.key.public_key().public_bytes(
        Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    good = [case.sigstore.entry(hashedrekord(case.signature, bare))]
    assert len(logged(case, entries=good).signatures) == 1
    second_version = hashedrekord2(case.signature, case.certificate)
    verifier = second_version["spec"]["hashedRekordV002"]["signature"]["verifier"]
    with_certificate = [case.sigstore.entry(second_version)]
    assert "another key" in logged(case, entries=with_certificate).rejections[0].reason
    del verifier["x509Certificate"]
    for key, count in ((case.key, 1), (new_key(), 0)):
        verifier["publicKey"] = {"rawBytes": b64(spki(key))}
        entries = [case.sigstore.entry(second_version)]
        assert len(logged(case, entries=entries).signatures) == count
    verifier["publicKey"] = {"rawBytes": "AAAA"}
    unreadable = logged(case, entries=[case.sigstore.entry(second_version)])
    assert "cannot be read" in unreadable.rejections[0].reason
    assert "no trusted" in logged(case, entries=[]).rejections[0].reason
    with_certificate = [case.sigstore.entry(hashedrekord(case.signature, pem(case.certificate)))]
    assert "another key" in logged(case, entries=with_certificate).rejections[0].reason

    # sigstore-go GHSA-wqqc-jjcq-vfxm
    second = timedelta(seconds=1)
    assert logged(case, entries=good, valid_from=NOW, valid_until=NOW).signatures
    for window in ({"valid_from": NOW + second}, {"valid_until": NOW - second}):
        assert "key is not trusted at" in logged(case, entries=good, **window).rejections[0].reason
    with pytest.raises(InvalidKeyError):
        logged(case, entries=good, valid_from=NOW, valid_until=NOW - second)


# Trust roots


def test_trust_roots_from_keys():
    case = Case()
    chain = pem(case.sigstore.issuer.certificate) + pem(case.sigstore.root.certificate)
    case.root = TrustRoot(
        certificate_authorities=(authority_from_pem(chain.decode()),),
        tlogs=(log_key(case.sigstore.log_key.public_key()),),
        ctlogs=(log_key(case.sigstore.ct_key.public_key()),),
    )
    case.accepted()


@pytest.mark.parametrize(
    "change",
    [
        {"mediaType": "application/json"},
        {"certificateAuthorities": [{}]},
        {"certificateAuthorities": [{"certChain": {"certificates": []}}]},
        {"certificateAuthorities": [{"certChain": {"certificates": [{"rawBytes": "AAAA"}]}}]},
        {"certificateAuthorities": ["x"]},
        {"tlogs": [{}]},
        {"tlogs": [{"publicKey": {"rawBytes": "AAAA"}}]},
        {"tlogs": "x"},
        {"tlogs": [{}] * 65},
    ],
)
def test_broken_trust_roots(change):
    with pytest.raises(InvalidTrustRootError):
        TrustRoot.parse(MINIATURE.trusted_root(**change))


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n", "KEY"])
def test_broken_chains(text):
    if text == "KEY":
        text = public_key(new_key().public_key()).pem.decode()
    with pytest.raises(InvalidTrustRootError):
        authority_from_pem(text)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_trust_root_or_an_error(data):
    with pytest.raises(InvalidTrustRootError):
        TrustRoot.parse(data)


def test_a_chain_that_is_too_long():
    text = pem(MINIATURE.root.certificate).decode()
    assert authority_from_pem(text * 10).root == MINIATURE.root.certificate
    with pytest.raises(InvalidTrustRootError, match="more than 10"):
        authority_from_pem(text * 11)


def test_members_of_a_trust_root_without_a_period():
    value = json.loads(MINIATURE.trusted_root())
    del value["certificateAuthorities"][0]["validFor"]
    (authority,) = TrustRoot.parse(json.dumps(value).encode()).certificate_authorities
    assert NOW in authority.valid_for


def test_identities_are_values():
    assert Identity(kind="key", id="x") == Identity(kind="key", id="x")
    assert len({Identity(kind="key", id="x"), Identity(kind="key", id="x")}) == 1
