"""What must not be accepted; each test fails when the defence it names is removed."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.signing.authority import KeyAuthority
from plimsoll.signing.bundle import BUNDLE_V03, Bundle, MessageSignature, bundle_version
from plimsoll.signing.dsse import IN_TOTO, Envelope, EnvelopeSignature, pae
from plimsoll.signing.errors import InvalidEvidenceError, InvalidKeyError, RejectedError
from plimsoll.signing.items import (
    BundleItem,
    Evidence,
    LegacyAttestationItem,
    LegacySignatureItem,
)
from plimsoll.signing.legacy import SIGNATURE, build_payload, legacy_tag
from plimsoll.signing.privatekey import generate_key, load_private_key
from plimsoll.signing.results import Rejection
from plimsoll.signing.sign import attest, sign_image, sign_legacy, sign_statement
from plimsoll.signing.statement import (
    COSIGN_SIGN,
    SPDX,
    STATEMENT_V01,
    VULN,
    Statement,
    build_statement,
    predicate_type_of,
)
from plimsoll.signing.verify import verify, verify_bundle

KEY = generate_key()
OTHER_KEY = generate_key()
AUTHORITY = KeyAuthority((KEY.public,))
IMAGE = "sha256:" + "a" * 64
OTHER_IMAGE = "sha256:" + "b" * 64


def judge(*items, digest=IMAGE, authority=AUTHORITY):
    return verify(Evidence(digest=digest, repository="r", items=items), digest, authority)


def bundle(data):
    return BundleItem("b", data.to_json() if isinstance(data, Bundle) else data)


def changed(made, change):
    obj = json.loads(made.to_json())
    change(obj)
    return BundleItem("b", json.dumps(obj).encode())


def refused(item, text, **options):
    verdict = judge(item, **options)
    assert verdict.signatures == ()
    assert verdict.attestations == ()
    assert len(verdict.rejections) == 1
    assert text in verdict.rejections[0].reason


def test_a_signature_and_an_attestation():
    verdict = judge(
        bundle(sign_image(KEY, IMAGE, annotations={"team": "a"})),
        bundle(attest(KEY, IMAGE, "spdxjson", {"packages": []})),
    )
    assert verdict.rejections == ()
    (signature,) = verdict.signatures
    assert signature.identity.id == KEY.public.fingerprint
    assert signature.identity.kind == "key"
    assert signature.annotations == {"team": "a"}
    (attestation,) = verdict.attestations_of(SPDX)
    assert attestation.predicate == {"packages": []}
    assert attestation.digest == IMAGE
    assert verdict.attestations_of(VULN) == ()


def test_another_key():
    refused(bundle(sign_image(OTHER_KEY, IMAGE)), "not by the key")
    both = KeyAuthority((KEY.public, OTHER_KEY.public))
    assert judge(bundle(sign_image(OTHER_KEY, IMAGE)), authority=both).signers == {
        OTHER_KEY.public.fingerprint
    }


def test_an_authority_without_keys_cannot_be():
    with pytest.raises(InvalidKeyError):
        KeyAuthority(())


def test_a_hint_of_our_key_does_not_help_another():
    made = sign_image(OTHER_KEY, IMAGE)

    def claim(obj):
        obj["verificationMaterial"]["publicKey"]["hint"] = KEY.public.hint

    refused(changed(made, claim), "not by the key")


def test_a_signature_relocated_from_another_image():
    refused(bundle(sign_image(KEY, OTHER_IMAGE)), f"another image: {OTHER_IMAGE}")
    refused(bundle(attest(KEY, OTHER_IMAGE, "spdxjson", {})), "another image")


def test_an_attestation_is_no_signature_and_no_other_attestation():
    # CVE-2022-35929, CVE-2022-35930, CVE-2026-39395
    verdict = judge(bundle(attest(KEY, IMAGE, "vuln", {})))
    assert verdict.signatures == ()
    assert verdict.attestations_of(SPDX) == ()
    assert [one.predicate_type for one in verdict.attestations] == [VULN]


def test_one_key_is_one_signer():
    items = [bundle(sign_image(KEY, IMAGE, annotations={"n": str(n)})) for n in range(3)]
    verdict = judge(*items)
    assert len(verdict.signatures) == 3
    assert verdict.signers == {KEY.public.fingerprint}


def test_a_broken_one_does_not_hide_a_good_one():
    verdict = judge(
        bundle(b"{"),
        bundle(sign_image(KEY, IMAGE)),
        LegacySignatureItem("s", b"\xff", {}),
        LegacyAttestationItem("a", b"[]", {}),
    )
    assert len(verdict.signatures) == 1
    assert [one.source for one in verdict.rejections] == ["b", "s", "a"]


def test_rejections_of_the_search_are_kept():
    evidence = Evidence(digest=IMAGE, repository="r", rejections=(Rejection("too large", "x"),))
    assert verify(evidence, IMAGE, AUTHORITY).rejections == (Rejection("too large", "x"),)


def test_a_changed_payload():
    def tamper(obj):
        payload = build_statement(IMAGE, SPDX, {"packages": ["another"]})
        obj["dsseEnvelope"]["payload"] = b64encode(payload).decode()

    refused(changed(attest(KEY, IMAGE, SPDX, {"packages": []}), tamper), "not by the key")


def test_a_changed_payload_type():
    def tamper(obj):
        obj["dsseEnvelope"]["payloadType"] = "application/json"

    refused(changed(sign_image(KEY, IMAGE), tamper), "no statement")


def test_a_signed_payload_of_another_type():
    statement = build_statement(IMAGE, COSIGN_SIGN, {})
    signature = EnvelopeSignature(KEY.sign(pae("text/plain", statement)))
    made = sign_image(KEY, IMAGE)
    other = Envelope(statement, "text/plain", (signature,))
    refused(bundle(Bundle(content=other, material=made.material)), "no statement")


def test_the_payload_signed_without_its_type():
    statement = build_statement(IMAGE, COSIGN_SIGN, {})
    bare = Envelope(statement, IN_TOTO, (EnvelopeSignature(KEY.sign(statement)),))
    material = sign_image(KEY, IMAGE).material
    refused(bundle(Bundle(content=bare, material=material)), "not by the key")


def test_two_signatures_in_a_bundle():
    def add(obj):
        obj["dsseEnvelope"]["signatures"] *= 2

    refused(changed(sign_image(KEY, IMAGE), add), "2 signatures")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda obj: obj.update(mediaType="application/json"), "no bundle type"),
        (lambda obj: obj.pop("mediaType"), "mediaType"),
        (lambda obj: obj.pop("verificationMaterial"), "verificationMaterial"),
        (lambda obj: obj.pop("dsseEnvelope"), "exactly one of dsseEnvelope"),
        (lambda obj: obj.update(messageSignature={}), "exactly one of dsseEnvelope"),
        (lambda obj: obj["verificationMaterial"].pop("publicKey"), "exactly one of publicKey"),
        (
            lambda obj: obj["verificationMaterial"].update(certificate={"rawBytes": "AAAA"}),
            "exactly one of publicKey",
        ),
        (lambda obj: obj["verificationMaterial"].update(publicKey={"hint": 1}), "no text"),
        (lambda obj: obj["verificationMaterial"].update(tlogEntries=[{}] * 33), "33 tlogEntries"),
        (lambda obj: obj["verificationMaterial"].update(tlogEntries=[1]), "no object"),
        (lambda obj: obj["dsseEnvelope"].update(signatures=[]), "no signature"),
        (lambda obj: obj["dsseEnvelope"].update(signatures=[{"sig": ""}]), "empty"),
        (lambda obj: obj["dsseEnvelope"].update(signatures=[{"sig": "%"}]), "no base64"),
        (lambda obj: obj["dsseEnvelope"].update(signatures=[{"sig": "AA"}] * 99), "99 signatures"),
        (lambda obj: obj["dsseEnvelope"].update(payload="%"), "no base64"),
        (lambda obj: obj["dsseEnvelope"].pop("payloadType"), "payloadType"),
    ],
)
def test_malformed_bundles(change, text):
    refused(changed(sign_image(KEY, IMAGE), change), text)


@pytest.mark.parametrize(
    ("material", "text"),
    [
        ({"x509CertificateChain": {"certificates": []}}, "must not carry a certificate chain"),
        ({"certificate": {}}, "no text"),
        ({"certificate": {"rawBytes": ""}}, "empty"),
    ],
)
def test_certificates_of_a_v03_bundle(material, text):
    def replace(obj):
        obj["verificationMaterial"] = material

    refused(changed(sign_image(KEY, IMAGE), replace), text)


def test_duplicate_timestamps():
    one = {"signedTimestamp": "AAAA"}

    def add(obj):
        data = {"rfc3161Timestamps": [one, one]}
        obj["verificationMaterial"]["timestampVerificationData"] = data

    refused(changed(sign_image(KEY, IMAGE), add), "twice")


def test_a_timestamp_that_is_no_object():
    def add(obj):
        data = {"rfc3161Timestamps": ["x"]}
        obj["verificationMaterial"]["timestampVerificationData"] = data

    refused(changed(sign_image(KEY, IMAGE), add), "no object")


def test_a_duplicate_key_in_a_bundle():
    data = sign_image(KEY, IMAGE).to_json()
    refused(bundle(data[:-1] + b',"mediaType":"x"}'), "stands twice")


def test_a_duplicate_digest_in_a_signed_statement():
    statement = (
        b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"%b",'
        b'"sha256":"%b"}}],"predicateType":"x:y","predicate":{}}'
    ) % (b"b" * 64, b"a" * 64)
    refused(bundle(sign_statement(KEY, statement)), "stands twice")


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (b"", "no valid JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "_type"),
        (b'{"_type":"https://in-toto.io/Statement/v2"}', "is no in-toto statement type"),
        (b'{"_type":"https://in-toto.io/Statement/v1"}', "no subject"),
        (b'{"_type":"https://in-toto.io/Statement/v1","subject":[1]}', "predicateType"),
        (
            b'{"_type":"https://in-toto.io/Statement/v1","subject":[1],"predicateType":"x:y"}',
            "no object",
        ),
        (
            b'{"_type":"https://in-toto.io/Statement/v1","subject":[{}],"predicateType":"x:y"}',
            "digest",
        ),
        (
            (
                b'{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":1}}],'
                b'"predicateType":"x:y"}'
            ),
            "no digest",
        ),
        (
            build_statement(IMAGE, "x:y", {}).replace(b'"x:y"', b'""'),
            "empty predicateType",
        ),
        (
            build_statement(IMAGE, "x:y", {}).replace(b'{"digest"', b'{"name":1,"digest"'),
            "malformed",
        ),
        (
            build_statement(IMAGE, "x:y", {}).replace(b'{"digest"', b'{"annotations":1,"digest"'),
            "malformed",
        ),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "deep"),
        (b'{"a":NaN}', "NaN"),
    ],
)
def test_malformed_statements(statement, text):
    refused(bundle(sign_statement(KEY, statement)), text)


def test_too_many_subjects():
    obj = json.loads(build_statement(IMAGE, SPDX, {}))
    obj["subject"] *= 1025
    refused(bundle(sign_statement(KEY, json.dumps(obj).encode())), "1025 subject")


@pytest.mark.parametrize("algorithm", ["SHA256", "Sha256", "sha512"])
def test_the_digest_stands_under_its_own_name(algorithm):
    obj = json.loads(build_statement(IMAGE, SPDX, {}))
    obj["subject"] = [{"digest": {algorithm: "a" * 64}}]
    refused(bundle(sign_statement(KEY, json.dumps(obj).encode())), "another image")


def test_the_image_may_be_any_of_the_subjects():
    obj = json.loads(build_statement(OTHER_IMAGE, SPDX, {}))
    obj["subject"] += json.loads(build_statement(IMAGE, SPDX, {}))["subject"]
    made = sign_statement(KEY, json.dumps(obj).encode())
    assert len(judge(bundle(made)).attestations) == 1


def test_statement_v01_and_a_predicate_in_a_string():
    obj = json.loads(build_statement(IMAGE, SPDX, '{"packages":[]}'))
    obj["_type"] = STATEMENT_V01
    (found,) = judge(bundle(sign_statement(KEY, json.dumps(obj).encode()))).attestations
    assert found.predicate == {"packages": []}
    assert found.statement_type == STATEMENT_V01


def test_a_string_predicate_that_is_no_json_stays_a_string():
    made = attest(KEY, IMAGE, SPDX, "{SPDXVersion")
    assert judge(bundle(made)).attestations[0].predicate == "{SPDXVersion"


# Message signatures


def message(signature, digest, algorithm="SHA2_256"):
    return json.dumps(
        {
            "mediaType": BUNDLE_V03,
            "verificationMaterial": {"publicKey": {"hint": ""}},
            "messageSignature": {
                "messageDigest": {
                    "algorithm": algorithm,
                    "digest": b64encode(digest).decode(),
                },
                "signature": b64encode(signature).decode(),
            },
        }
    ).encode()


def test_a_message_signature_over_the_manifest():
    manifest = b'{"schemaVersion":2}'
    digest = hashlib.sha256(manifest)
    image = f"sha256:{digest.hexdigest()}"
    data = message(KEY.sign(manifest), digest.digest())
    assert len(judge(bundle(data), digest=image).signatures) == 1
    refused(bundle(data), "another artifact")
    lying = message(KEY.sign(manifest), bytes.fromhex("a" * 64))
    refused(bundle(lying), "not by the key")
    refused(bundle(lying), "another artifact", digest=image)
    refused(bundle(message(KEY.sign(manifest), b"short")), "no SHA-2 digest", digest=image)
    refused(
        bundle(message(KEY.sign(manifest), hashlib.sha512(manifest).digest(), "SHA2_512")),
        "artifact is needed",
        digest=image,
    )
    refused(bundle(data), "sha512 digest", digest="sha512:" + "a" * 128)


def test_a_message_signature_without_a_digest():
    obj = json.loads(message(KEY.sign(b"x"), hashlib.sha256(b"x").digest()))
    del obj["messageSignature"]["messageDigest"]
    image = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    assert len(judge(bundle(json.dumps(obj).encode()), digest=image).signatures) == 1
    refused(bundle(json.dumps(obj).encode()), "not by the key")
    obj["messageSignature"]["signature"] = ""
    refused(bundle(json.dumps(obj).encode()), "is empty", digest=image)


@pytest.mark.parametrize("item", [1, {}, {"rawBytes": 1}, {"rawBytes": ""}])
def test_malformed_certificate_chains(item):
    def replace(obj):
        obj["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
        chain = {"certificates": [item]}
        obj["verificationMaterial"] = {"x509CertificateChain": chain}

    refused(changed(sign_image(KEY, IMAGE), replace), "a certificate of the bundle")


def test_an_empty_certificate_chain():
    def replace(obj):
        obj["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
        obj["verificationMaterial"] = {"x509CertificateChain": {"certificates": []}}

    refused(changed(sign_image(KEY, IMAGE), replace), "empty certificate chain")


def test_a_bundle_that_was_read_is_written_as_it_was():
    made = json.loads(sign_image(KEY, IMAGE).to_json()) | {"more": 1}
    assert json.loads(Bundle.parse(json.dumps(made).encode()).to_json()) == made


def test_only_envelopes_are_written():
    material = sign_image(KEY, IMAGE).material
    with pytest.raises(InvalidEvidenceError, match="only bundles of an envelope"):
        Bundle(content=MessageSignature(b"x"), material=material).to_json()


def test_a_message_signature_over_sha512():
    key = load_private_key(
        ec.generate_private_key(ec.SECP521R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    authority = KeyAuthority((key.public,))
    image = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    good = message(key.sign(b"x"), hashlib.sha512(b"x").digest(), "SHA2_512")
    assert verify_bundle(good, image, authority, artifact=b"x", source="f")
    lying = message(key.sign(b"x"), hashlib.sha512(b"y").digest(), "SHA2_512")
    with pytest.raises(RejectedError, match="not that of the artifact"):
        verify_bundle(lying, image, authority, artifact=b"x", source="f")


def test_an_artifact_must_have_its_digest():
    data = message(KEY.sign(b"x"), hashlib.sha256(b"x").digest())
    image = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    assert verify_bundle(data, image, AUTHORITY, artifact=b"x", source="f").digest == image
    with pytest.raises(RejectedError, match="does not have the digest"):
        verify_bundle(data, image, AUTHORITY, artifact=b"y", source="f")


# Legacy


def simple(payload, key=KEY, **annotations):
    return LegacySignatureItem(
        "s", payload, {SIGNATURE: b64encode(key.sign(payload)).decode(), **annotations}
    )


def test_a_legacy_signature():
    payload, signature = sign_legacy(KEY, "r/app", IMAGE, annotations={"team": "a"})
    item = LegacySignatureItem("s", payload, {SIGNATURE: b64encode(signature).decode()})
    (found,) = judge(item).signatures
    assert found.annotations == {"team": "a"}


def test_the_docker_reference_decides_nothing():
    assert judge(simple(build_payload("evil.example/other", IMAGE))).signatures


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (build_payload("r", OTHER_IMAGE), "another image"),
        (b"{}", "critical"),
        (build_payload("r", IMAGE).replace(b"cosign container", b"atomic container"), "of type"),
        (
            build_payload("r", IMAGE).replace(
                b'"docker-manifest-digest"',
                b'"docker-manifest-digest":"%b","docker-manifest-digest"' % OTHER_IMAGE.encode(),
            ),
            "stands twice",
        ),
        (build_payload("r", IMAGE).replace(b"digest", b"Digest"), "docker-manifest-digest"),
        (build_payload("r", IMAGE).replace(b"null", b'"x"'), "'optional'"),
        (b" " * 70_000, "more than"),
    ],
)
def test_signed_payloads_that_say_something_else(payload, text):
    refused(simple(payload), text)


def test_the_signature_is_over_the_exact_bytes():
    payload = build_payload("r", IMAGE)
    item = simple(payload)
    refused(LegacySignatureItem("s", payload + b" ", item.annotations), "not by the key")


@pytest.mark.parametrize(
    "annotations",
    [
        {SIGNATURE: "%"},
        {"dev.sigstore.cosign/certificate": "-----BEGIN CERTIFICATE-----"},
        {"dev.sigstore.cosign/certificate": KEY.public.pem.decode()},
        {"dev.sigstore.cosign/bundle": "["},
        {"dev.sigstore.cosign/rfc3161timestamp": '{"SignedRFC3161Timestamp":"%"}'},
    ],
)
def test_malformed_annotations(annotations):
    assert judge(simple(build_payload("r", IMAGE), **annotations)).signatures == ()


def test_no_signature_annotation():
    refused(LegacySignatureItem("s", build_payload("r", IMAGE), {}), "no text")


def envelope_item(*signatures, statement=None):
    statement = statement or build_statement(IMAGE, SPDX, {})
    envelope = Envelope(statement, IN_TOTO, signatures)
    return LegacyAttestationItem("a", json.dumps(envelope.to_dict()).encode(), {SIGNATURE: ""})


def test_a_legacy_attestation_with_several_signatures():
    data = pae(IN_TOTO, build_statement(IMAGE, SPDX, {}))
    mine, other = (EnvelopeSignature(key.sign(data), "id") for key in (KEY, OTHER_KEY))
    verdict = judge(envelope_item(other, mine, mine))
    assert len(verdict.attestations) == 1
    assert len(verdict.rejections) == 1
    both = judge(envelope_item(other, mine), authority=KeyAuthority((KEY.public, OTHER_KEY.public)))
    assert len({one.identity.id for one in both.attestations}) == 2


def test_legacy_tags():
    assert legacy_tag(IMAGE, "sig") == f"sha256-{'a' * 64}.sig"
    assert legacy_tag(IMAGE, "att", "team-") == f"team-sha256-{'a' * 64}.att"
    for prefix in ("-x", "a/b", "ä", "x" * 60):
        with pytest.raises(InvalidEvidenceError):
            legacy_tag(IMAGE, "sig", prefix)


# Names


def test_bundle_versions():
    assert bundle_version("application/vnd.dev.sigstore.bundle+json;version=0.1") == "0.1"
    assert bundle_version(BUNDLE_V03) == "0.3"
    assert bundle_version("application/vnd.dev.sigstore.bundle.v0.2+json") is None
    assert bundle_version("application/vnd.dev.sigstore.bundle+json;version=0.4") is None


def test_predicate_types():
    assert predicate_type_of("spdxjson") == SPDX
    assert predicate_type_of("https://example.com/x") == "https://example.com/x"
    with pytest.raises(InvalidEvidenceError, match="spdxjsn"):
        predicate_type_of("spdxjsn")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_rejected_not_raised(data):
    items = (
        BundleItem("b", data),
        LegacySignatureItem("s", data, {SIGNATURE: "AAAA"}),
        LegacyAttestationItem("a", data, {}),
        bundle(sign_statement(KEY, data)),
        simple(data),
    )
    verdict = judge(*items)
    assert verdict.signatures == ()
    assert verdict.attestations == ()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_PATHS = [
    ("mediaType",),
    ("verificationMaterial",),
    ("verificationMaterial", "publicKey"),
    ("verificationMaterial", "publicKey", "hint"),
    ("verificationMaterial", "certificate"),
    ("verificationMaterial", "x509CertificateChain"),
    ("verificationMaterial", "timestampVerificationData"),
    ("dsseEnvelope",),
    ("dsseEnvelope", "payload"),
    ("dsseEnvelope", "payloadType"),
    ("dsseEnvelope", "signatures"),
    ("messageSignature",),
]


@given(st.sampled_from(_PATHS), _JSON)
def test_any_value_in_a_bundle_is_judged_not_raised(path, value):
    def put(obj):
        for key in path[:-1]:
            obj = obj[key]
        obj[path[-1]] = value

    judge(changed(sign_image(KEY, IMAGE), put))


@given(_JSON)
def test_any_predicate_comes_back(predicate):
    data = build_statement(IMAGE, SPDX, predicate)
    found = Statement.parse(data).predicate
    if not isinstance(predicate, str):
        assert found == predicate
