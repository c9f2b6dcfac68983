"""Who signed: keys, people, times, and everything that is not a signature."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.api.gitsource import RequireSigned
from plimsoll.builder.git.allowedsigners import (
    AllowedSigner,
    read_allowed_signers,
    read_key,
    signer_of,
)
from plimsoll.builder.git.cms import read_cms
from plimsoll.builder.git.errors import GitError, NotSignedError
from plimsoll.builder.git.logentry import fields
from plimsoll.builder.git.objects import object_id, parse_object
from plimsoll.builder.git.signers import Signers
from plimsoll.builder.git.sshsig import fingerprint, read_signature, verify_signature

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
LINE = KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
BLOB = read_key(LINE)


def pack(*values):
    return b"".join(len(value).to_bytes(4, "big") + value for value in values)


def armored(blob, label=b"SSH SIGNATURE"):
    text = base64.encodebytes(blob)
    return b"-----BEGIN " + label + b"-----\n" + text + b"-----END " + label + b"-----\n"


def signature(message, *, key=KEY, namespace=b"git", algorithm=b"sha512", kind=b"ssh-ed25519"):
    digest = hashlib.new(algorithm.decode(), message).digest()
    signed = b"SSHSIG" + pack(namespace, b"", algorithm, digest)
    made = pack(kind, key.sign(signed))
    head = b"SSHSIG" + (1).to_bytes(4, "big")
    return armored(head + pack(BLOB, namespace, b"", algorithm, made))


def test_a_signature():
    found = read_signature(signature(b"message"))
    verify_signature(found, b"message", "git")
    assert found.key == BLOB
    assert fingerprint(BLOB).startswith("SHA256:")
    assert not fingerprint(BLOB).endswith("=")


@pytest.mark.parametrize(
    ("made", "message", "reason"),
    [
        (signature(b"a"), b"b", "over something else"),
        (signature(b"a", namespace=b"file"), b"a", "is for 'file'"),
        (signature(b"a", kind=b"ssh-dss"), b"a", "not accepted"),
        (signature(b"a", kind=b"ssh-rsa"), b"a", "not accepted"),
        (
            signature(b"a", key=ed25519.Ed25519PrivateKey.from_private_bytes(b"x" * 32)),
            b"a",
            "over something else",
        ),
    ],
)
def test_signatures_that_prove_nothing(made, message, reason):
    with pytest.raises(NotSignedError, match=reason):
        verify_signature(read_signature(made), message, "git")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
        armored(b"SSHSIX"),
        armored(b"SSHSIG"),
        armored(b"SSHSIG\x00\x00\x00\x02" + pack(BLOB, b"git", b"", b"sha256", b"")),
        armored(b"SSHSIG\x00\x00\x00\x01" + pack(BLOB, b"git", b"", b"md5", b"")),
        armored(b"SSHSIG\x00\x00\x00\x01" + pack(BLOB, b"git", b"", b"sha256", b"") + b"x"),
        armored(b"SSHSIG\x00\x00\x00\x01\xff\xff\xff\xff"),
        signature(b"a") + b"more",
        b"before" + signature(b"a"),
    ],
)
def test_what_is_no_signature(data):
    with pytest.raises(NotSignedError):
        read_signature(data)


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(data, wrapped):
    head = b"SSHSIG\x00\x00\x00\x01" if wrapped else b""
    with contextlib.suppress(NotSignedError):
        verify_signature(read_signature(armored(head + data)), b"message", "git")
    with contextlib.suppress(NotSignedError):
        read_cms(armored(data, b"SIGNED MESSAGE"))
    with contextlib.suppress(NotSignedError):
        fields(data)


@settings(deadline=None)
@given(st.binary(max_size=120), st.binary(max_size=120))
def test_any_key_and_signature(key, blob):
    data = b"SSHSIG\x00\x00\x00\x01" + pack(pack(b"ssh-rsa") + key, b"git", b"", b"sha256", blob)
    with contextlib.suppress(NotSignedError):
        verify_signature(read_signature(armored(data)), b"message", "git")


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["commit", "tag"]))
def test_any_object(data, kind):
    with contextlib.suppress(GitError, NotSignedError):
        parse_object(kind, data, object_id(kind, data))


@given(st.text(max_size=200))
def test_any_allowed_signers(text):
    with contextlib.suppress(GitError):
        read_allowed_signers(text)


def test_allowed_signers():
    text = f"""# people
ada@example.org {LINE} Ada's
*@example.org,!eve@example.org cert-authority,namespaces="git,file" {LINE}
"bob b" valid-after="20260101",valid-before="202612312359Z",namespaces="git" {LINE}
"""
    found = read_allowed_signers(text)
    assert found[0] == AllowedSigner(("ada@example.org",), BLOB)
    assert found[1].authority
    assert found[1].principals == ("*@example.org", "!eve@example.org")
    assert found[2].principals == ("bob b",)
    assert found[2].after == datetime(2026, 1, 1, tzinfo=UTC)
    assert found[2].before == datetime(2026, 12, 31, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ada", "line 1 .*principals and a key"),
        (f"ada nonsense {LINE}", "option nonsense|the option 'nonsense'"),
        (f'ada valid-after="tomorrow" {LINE}', "no time"),
        (f'ada valid-after="20260101",valid-after="20260101" {LINE}', "twice"),
        (f'ada namespaces="" {LINE}', "namespaces is empty"),
        ("ada ssh-ed25519 AAAA", "cut off or misspelt"),
        ("ada ssh-dss AAAA", "option 'ssh-dss'"),
        (f"ada ssh-rsa {LINE.split()[1]}", "another kind"),
    ],
)
def test_lines_that_are_none(line, reason):
    with pytest.raises(GitError, match=reason):
        read_allowed_signers(line)


@pytest.mark.parametrize(
    ("signer", "reason"),
    [
        ({"namespaces": ("file",)}, "not for git"),
        ({"after": NOW + timedelta(days=1)}, "counted only later"),
        ({"before": NOW}, "had expired"),
        ({"key": b"other"}, "nobody who may sign"),
        ({"authority": True}, "nobody who may sign"),
    ],
)
def test_keys_that_do_not_count(signer, reason):
    values = {"principals": ("ada",), "key": BLOB, **signer}
    with pytest.raises(NotSignedError, match=reason):
        signer_of(BLOB, [AllowedSigner(**values)], "git", NOW)


def test_whose_key_it_is():
    signers = [
        AllowedSigner(("old",), BLOB, before=NOW - timedelta(days=9)),
        AllowedSigner(("ada", "!eve"), BLOB, namespaces=("g*",)),
    ]
    assert signer_of(BLOB, signers, "git", NOW) == "ada"


@pytest.mark.parametrize(
    ("required", "reason"),
    [
        ({"allowedSigners": "# nobody"}, "nobody is named"),
        ({"people": [{"name": "Ada", "sshKeys": ["x"]}]}, "a key of Ada"),
        ({"people": [{"name": "Ada", "openpgpKeys": "x"}]}, "OpenPGP keys of Ada"),
        (
            {"people": [{"name": "A", "openpgpKeys": "-----BEGIN PGP PRIVATE KEY BLOCK-----"}]},
            "secret key",
        ),
        (
            {"people": [{"name": "Ada", "identities": [{"issuer": "i", "subject": "s"}]}]},
            "trusted root",
        ),
    ],
)
def test_requirements_that_cannot_be_met(required, reason):
    with pytest.raises(GitError, match=reason):
        Signers.of(RequireSigned.model_validate(required))


COMMIT = (
    b"tree " + b"a" * 40 + b"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1780000000 +0100\n\ntext\n"
)


def parsed(data, kind="commit"):
    return parse_object(kind, data, object_id(kind, data))


def test_objects():
    found = parsed(COMMIT)
    assert (found.target, found.payload, found.signature) == ("a" * 40, COMMIT, b"")
    assert found.time == datetime.fromtimestamp(1780000000, UTC)
    signed = COMMIT.replace(b"\n\ntext", b"\ngpgsig one\n two\n\ntext")
    found = parsed(signed)
    assert (found.payload, found.signature) == (COMMIT, b"one\ntwo")


@pytest.mark.parametrize(
    "data",
    [
        COMMIT.replace(b"tree", b"trek"),
        COMMIT.replace(b"1780000000", b"x"),
        COMMIT.replace(b"1780000000", b"999999999999"),
        COMMIT.replace(b"a" * 40, b"a" * 39),
        COMMIT.replace(b"\n\ntext", b"\ngpgsig one\ngpgsig two\n\ntext"),
        COMMIT.replace(b"author", b"author\x00"),
        COMMIT.replace(b"tree", b"tree " + b"b" * 40 + b"\ntree", 1),
        b"",
    ],
)
def test_broken_commits(data):
    with pytest.raises(GitError):
        parsed(data)


def test_an_object_under_another_number():
    with pytest.raises(GitError, match="another number"):
        parse_object("commit", COMMIT, "0" * 40)


def test_tags():
    head = b"object " + b"c" * 40 + b"\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nmessage\n"
    fake = b"-----BEGIN SSH SIGNATURE-----\nquoted in the message\n"
    made = b"-----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----\n"
    found = parsed(head + fake + made, "tag")
    assert (found.name, found.target) == ("v1", "c" * 40)
    assert found.payload == head + fake
    assert found.signature == made
    with pytest.raises(GitError, match="of no commit"):
        parsed(head.replace(b"commit", b"tree"), "tag")
    with pytest.raises(GitError):
        parsed(head.replace(b"tagger", b"gpgsig x\ntagger"), "tag")


def test_weak_keys_are_refused():
    weak = rsa.generate_private_key(65537, 1024).public_key()
    line = weak.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    data = pack(read_key(line), b"git", b"", b"sha256", pack(b"rsa-sha2-256", b"x" * 128))
    with pytest.raises(NotSignedError, match="too short"):
        verify_signature(read_signature(armored(b"SSHSIG\0\0\0\1" + data)), b"m", "git")


def test_a_curve_of_another_kind():
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    blob = read_key(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())
    made = pack(b"ecdsa-sha2-nistp384", pack(b"\x01", b"\x01"))
    data = pack(blob, b"git", b"", b"sha256", made)
    with pytest.raises(NotSignedError, match="do not go together"):
        verify_signature(read_signature(armored(b"SSHSIG\0\0\0\1" + data)), b"m", "git")
