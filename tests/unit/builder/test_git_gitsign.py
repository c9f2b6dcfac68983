"""Commits signed by short-lived certificates: the faults of signers, logs and authorities."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import gitsign_commits as made
import timestamps
from miniature_sigstore import ISSUER, NOW, Authority, MiniatureSigstore, b64, new_key
from plimsoll.api.gitsource import RequireSigned
from plimsoll.builder.git.errors import NotSignedError
from plimsoll.builder.git.objects import object_id, parse_object
from plimsoll.builder.git.signers import Signers, require

TEXT = b"tree " + b"a" * 40 + b"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1772366400 +0000\n\nm\n"
ADA = "ada@example.org"


@pytest.fixture(scope="module")
def sigstore():
    return MiniatureSigstore()


@pytest.fixture(scope="module")
def signer(sigstore):
    key = new_key()
    return key, sigstore.certificate(key, subjects=(x509.RFC822Name(ADA),))


def signers(sigstore, subject=ADA, **more):
    people = [{"name": "Ada", "identities": [{"issuer": ISSUER, "subject": subject}]}]
    root = sigstore.trusted_root().decode()
    return Signers.of(RequireSigned.model_validate({"people": people, "trustedRoot": root, **more}))


def commit(signature, text=TEXT):
    value = signature.rstrip(b"\n").replace(b"\n", b"\n ")
    data = text.replace(b"\n\n", b"\ngpgsig " + value + b"\n\n", 1)
    return parse_object("commit", data, object_id("commit", data))


def judge(sigstore, signature, text=TEXT, **more):
    return require(signers(sigstore, **more), commit(signature, text), None, "")


def gitsign(sigstore, signer, *, payload=TEXT, moment=NOW, logged=None, **more):
    key, certificate = signer
    attributes = made.signed_attributes(payload)
    signature = made.sign(key, attributes)
    what = (made.tlv(0x31, attributes), signature) if logged is None else logged
    entry = made.log_entry(sigstore, *what, certificate, moment)
    return made.armored(certificate, attributes, signature, **{"entry": entry, **more})


def test_a_signature(sigstore, signer):
    found = judge(sigstore, gitsign(sigstore, signer))
    assert (found.name, found.key) == ("Ada", f"{ISSUER}#{ADA}")


def test_certificates_between_the_signer_and_the_root(sigstore, signer):
    chain = [sigstore.issuer.certificate, signer[1]]
    assert judge(sigstore, gitsign(sigstore, signer, certificates=chain)).name == "Ada"


def test_a_tag(sigstore, signer):
    head = b"object " + b"c" * 40 + b"\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nmessage\n"
    data = head + gitsign(sigstore, signer, payload=head)
    tag = parse_object("tag", data, object_id("tag", data))
    assert signers(sigstore).verify(tag, tag.target).object == "tag"


def other_log_entry(sigstore, signer):
    """The entry of another signature of the same person."""
    attributes = made.signed_attributes(b"something else")
    return made.tlv(0x31, attributes), made.sign(signer[0], attributes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s, g: gitsign(s, g, payload=b"other"), "over something else"),
        (lambda s, g: gitsign(s, g, entry=None), "in no trusted transparency log"),
        (lambda s, g: gitsign(s, g, logged=other_log_entry(s, g)), "log|tree|promise|timestamp"),
        (lambda s, g: gitsign(s, g, moment=NOW + timedelta(hours=1)), "was not valid"),
        (lambda s, g: gitsign(s, (new_key(), g[1])), "not by the key"),
        (lambda s, g: gitsign(MiniatureSigstore(), g), "log that is not trusted"),
        (lambda s, g: gitsign(s, g, certificates=[]), "not with the signature"),
        (lambda s, g: gitsign(s, g, certificates=[g[1], g[1]]), "not with the signature"),
        (lambda s, g: gitsign(s, g, certificates=[g[1], s.root.certificate]), "root certificate"),
        (lambda s, g: gitsign(s, g, content=TEXT), "brings the message"),
        (lambda s, g: gitsign(s, g, signers=2), "several signers"),
        (lambda s, g: gitsign(s, g, signers=0), "is none"),
        (lambda s, g: gitsign(s, g, entry=b"\xff"), "malformed"),
        (lambda s, g: gitsign(s, g, entry=b""), "unknown kind"),
    ],
)
def test_signatures_that_prove_nothing(sigstore, signer, change, reason):
    with pytest.raises(NotSignedError, match=reason):
        judge(sigstore, change(sigstore, signer))


def test_certificates_of_others(sigstore, signer):
    with pytest.raises(NotSignedError, match="who is not trusted here"):
        judge(sigstore, gitsign(sigstore, signer), subject="eve@example.org")
    stranger = dataclasses.replace(sigstore, root=Authority.root("evil"), intermediate=None)
    key = new_key()
    certificate = stranger.certificate(key, subjects=(x509.RFC822Name(ADA),))
    with pytest.raises(NotSignedError, match="issued by no trusted authority"):
        judge(sigstore, gitsign(sigstore, (key, certificate)))


def test_certificates_in_no_transparency_log(sigstore):
    key = new_key()
    certificate = sigstore.certificate(key, subjects=(x509.RFC822Name(ADA),), sct=False)
    signature = gitsign(sigstore, (key, certificate))
    with pytest.raises(NotSignedError, match="no signed certificate timestamp"):
        judge(sigstore, signature)
    assert judge(sigstore, signature, insecureIgnoreSCT=True).name == "Ada"


def test_a_stamp_that_is_none(sigstore, signer):
    """A timestamp beside the log's entry is looked at, too."""
    junk = made.tlv(0x30, made.oid("signed"))
    with pytest.raises(NotSignedError, match="timestamp"):
        judge(sigstore, gitsign(sigstore, signer, stamps=[junk]))


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("case", ["good", "late", "stranger"])
def test_stamps_of_a_timestamp_authority(sigstore, signer, tmp_path, case):
    start = NOW - timedelta(days=9)
    root = timestamps.certificate("root", authority=True, start=start)
    leaf = timestamps.certificate("authority", root, start=start)
    key, certificate = signer
    attributes = made.signed_attributes(TEXT)
    signature = made.sign(key, attributes)
    moment = NOW + timedelta(hours=1 if case == "late" else 0)
    response = timestamps.stamp(tmp_path, signature, leaf, moment=moment)
    token = response[response.index(bytes.fromhex("3003020100")) + 5 :]
    entry = made.log_entry(sigstore, made.tlv(0x31, attributes), signature, certificate, NOW)
    signed = made.armored(certificate, attributes, signature, entry=entry, stamps=[token])
    chain = [{"rawBytes": b64(one[0].public_bytes(Encoding.DER))} for one in (leaf, root)]
    authorities = [{"certChain": {"certificates": chain}, "validFor": {"start": start.isoformat()}}]
    trusted = sigstore.trusted_root(
        timestampAuthorities=[] if case == "stranger" else authorities
    ).decode()
    people = [{"name": "Ada", "identities": [{"issuer": ISSUER, "subject": ADA}]}]
    value = {"people": people, "trustedRoot": trusted}
    who = Signers.of(RequireSigned.model_validate(value))
    if case == "good":
        assert require(who, commit(signed), None, "").name == "Ada"
        return
    with pytest.raises(NotSignedError, match="was not valid" if case == "late" else "timestamp"):
        require(who, commit(signed), None, "")
