from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import (
    dsa,
    ec,
    ed448,
    ed25519,
    padding,
    rsa,
)
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from plimsoll.signing.errors import InvalidKeyError, WrongPasswordError
from plimsoll.signing.keys import load_public_keys
from plimsoll.signing.privatekey import (
    COSIGN_LABEL,
    SIGSTORE_LABEL,
    generate_key,
    load_key_directory,
    load_private_key,
)

RSA_2048 = rsa.generate_private_key(65537, 2048)


def public_pem(private):
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def private_pem(private, form=serialization.PrivateFormat.PKCS8, password=None):
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return private.private_bytes(serialization.Encoding.PEM, form, encryption)


GOOD = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "rsa2048": RSA_2048,
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("name", GOOD)
def test_each_kind_of_key_signs_and_verifies(name):
    key = load_private_key(private_pem(GOOD[name]))
    (public,) = load_public_keys(public_pem(GOOD[name]))
    assert public.fingerprint == key.public.fingerprint
    signature = key.sign(b"load")
    assert key.sign(b"load") == signature
    assert public.verifies(signature, b"load")
    assert not public.verifies(signature, b"Load")
    assert not public.verifies(signature[:-1] + bytes([signature[-1] ^ 1]), b"load")
    assert not public.verifies(b"", b"load")
    assert not generate_key().public.verifies(signature, b"load")


@pytest.mark.parametrize("name", ["p256", "rsa2048"])
def test_a_digest_is_enough_where_the_hash_is_sha256(name):
    key = load_private_key(private_pem(GOOD[name]))
    signature = key.sign(b"load")
    assert key.public.verifies_sha256(signature, hashlib.sha256(b"load").digest())
    assert not key.public.verifies_sha256(signature, hashlib.sha256(b"Load").digest())


def test_ed25519_never_verifies_by_digest():
    key = load_private_key(private_pem(GOOD["ed25519"]))
    digest = hashlib.sha256(b"load").digest()
    assert not key.public.verifies_sha256(key.sign(digest), digest)


def test_sha256_is_accepted_with_larger_curves_as_cosign_2_signed():
    (public,) = load_public_keys(public_pem(GOOD["p384"]))
    assert public.verifies(GOOD["p384"].sign(b"x", ec.ECDSA(hashes.SHA256())), b"x")


def test_a_configured_hash_algorithm_is_the_only_one():
    (public,) = load_public_keys(public_pem(GOOD["p256"]), hash_algorithm="sha512")
    assert public.verifies(GOOD["p256"].sign(b"x", ec.ECDSA(hashes.SHA512())), b"x")
    assert not public.verifies(GOOD["p256"].sign(b"x", ec.ECDSA(hashes.SHA256())), b"x")
    assert not public.verifies_sha256(
        GOOD["p256"].sign(b"x", ec.ECDSA(hashes.SHA256())), hashlib.sha256(b"x").digest()
    )


def test_sha1_is_never_accepted():
    (public,) = load_public_keys(public_pem(RSA_2048))
    assert not public.verifies(RSA_2048.sign(b"x", padding.PKCS1v15(), hashes.SHA1()), b"x")


def test_rsa_pss():
    (public,) = load_public_keys(public_pem(RSA_2048))
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    assert public.verifies(RSA_2048.sign(b"x", pss, hashes.SHA256()), b"x")


def test_ed25519ph_as_cosign_signs():
    private = GOOD["ed25519"]
    (public,) = load_public_keys(public_pem(private))
    secret = private.private_bytes_raw() + private.public_key().public_bytes_raw()
    state = bindings.crypto_sign_ed25519ph_state()
    bindings.crypto_sign_ed25519ph_update(state, b"load")
    signature = bindings.crypto_sign_ed25519ph_final_create(state, secret)
    assert public.verifies(signature, b"load")
    assert not public.verifies(signature, b"Load")


def test_several_keys_each_once():
    pem = public_pem(GOOD["p256"]) + b"\n# the other\n" + public_pem(RSA_2048)
    assert len(load_public_keys(pem + public_pem(GOOD["p256"]))) == 2


def test_pkcs1_public_key():
    pem = RSA_2048.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.PKCS1
    )
    assert load_public_keys(pem) == load_public_keys(public_pem(RSA_2048))


WEAK = {
    "curve": (ec.generate_private_key(ec.SECP256K1()), "secp256k1 is not accepted"),
    "p224": (ec.generate_private_key(ec.SECP224R1()), "secp224r1 is not accepted"),
    "rsa1024": (rsa.generate_private_key(65537, 1024), "1024 bits"),
    "exponent": (rsa.generate_private_key(3, 2048), "public exponent 3"),
    "ed448": (ed448.Ed448PrivateKey.generate(), "Ed448"),
    "dsa": (dsa.generate_private_key(2048), "DSA"),
}


@pytest.mark.parametrize("name", WEAK)
def test_weak_and_strange_keys_are_refused(name):
    key, text = WEAK[name]
    with pytest.raises(InvalidKeyError, match=text):
        load_public_keys(public_pem(key))
    with pytest.raises(InvalidKeyError, match=text):
        load_private_key(private_pem(key))


@pytest.mark.parametrize(
    ("pem", "text"),
    [
        ("", "no PEM block"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n", "does not end"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "CERTIFICATE"),
        (b"\xff\xfe", "no PEM text"),
    ],
)
def test_what_is_no_public_key(pem, text):
    with pytest.raises(InvalidKeyError, match=text):
        load_public_keys(pem)


def test_a_private_key_where_a_public_one_is_wanted():
    with pytest.raises(InvalidKeyError, match="PRIVATE KEY") as caught:
        load_public_keys(generate_key().to_pem("pw"))
    assert "cosign.pub" in str(caught.value)


def test_too_many_keys():
    with pytest.raises(InvalidKeyError, match="more than 64"):
        load_public_keys(public_pem(GOOD["p256"]) * 65)


@given(st.text(max_size=300))
def test_any_text_is_a_key_or_an_error(text):
    with pytest.raises(InvalidKeyError):
        load_public_keys(text)
    with pytest.raises(InvalidKeyError):
        load_private_key(text)


def test_the_key_file_opens_with_its_password_only():
    key = generate_key()
    pem = key.to_pem("pw")
    assert pem.startswith(f"-----BEGIN {SIGSTORE_LABEL}-----".encode())
    assert load_private_key(pem, b"pw").public == key.public
    with pytest.raises(WrongPasswordError):
        load_private_key(pem, "pW")
    assert load_private_key(key.to_pem()).public == key.public
    older = pem.replace(SIGSTORE_LABEL.encode(), COSIGN_LABEL.encode())
    assert load_private_key(older, "pw").public == key.public


def test_a_private_key_does_not_show_itself():
    key = generate_key()
    assert repr(key) == f"PrivateKey(fingerprint={key.public.fingerprint})"


@pytest.mark.parametrize(
    "form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL]
)
@pytest.mark.parametrize("name", ["p256", "rsa2048"])
def test_plain_private_keys(name, form):
    assert load_private_key(private_pem(GOOD[name], form)).public.fingerprint


def test_encryption_that_is_not_cosigns():
    with pytest.raises(InvalidKeyError, match="ENCRYPTED PRIVATE KEY"):
        load_private_key(private_pem(GOOD["p256"], password=b"pw"), "pw")
    traditional = private_pem(
        GOOD["p256"], serialization.PrivateFormat.TraditionalOpenSSL, password=b"pw"
    )
    with pytest.raises(InvalidKeyError, match="encrypted in a way"):
        load_private_key(traditional, "pw")


def edited(pem, change):
    lines = pem.decode().splitlines()
    box = json.loads(b64decode("".join(lines[1:-1])))
    change(box)
    body = b64encode(json.dumps(box).encode()).decode()
    return f"{lines[0]}\n{body}\n{lines[-1]}\n"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda box: box["kdf"].update(name="pbkdf2"), "not known"),
        (lambda box: box["cipher"].update(name="aes"), "not known"),
        (lambda box: box["cipher"].update(nonce="AAAA"), "not known"),
        (lambda box: box["kdf"]["params"].update(N=1 << 30), "out of bounds"),
        (lambda box: box["kdf"]["params"].update(p=1000), "out of bounds"),
        (lambda box: box["kdf"]["params"].update(N=-1), "out of bounds"),
        (lambda box: box["kdf"]["params"].update(N=65535), "impossible"),
        (lambda box: box["kdf"].pop("params"), "damaged"),
        (lambda box: box.update(ciphertext="!"), "damaged"),
        (lambda box: box.update(ciphertext=""), "password"),
    ],
)
def test_a_damaged_key_file(change, text):
    with pytest.raises(InvalidKeyError, match=text):
        load_private_key(edited(generate_key().to_pem("pw"), change), "pw")


def test_a_mounted_secret(tmp_path, monkeypatch):
    key = generate_key()
    (tmp_path / "cosign.key").write_bytes(key.to_pem("pw"))
    monkeypatch.setenv("COSIGN_PASSWORD", "pw")
    assert load_key_directory(tmp_path).public == key.public
    (tmp_path / "cosign.password").write_text("no")
    with pytest.raises(WrongPasswordError):
        load_key_directory(tmp_path)
    (tmp_path / "cosign.password").write_text("pw")
    (tmp_path / "cosign.pub").write_bytes(key.public.pem)
    assert load_key_directory(tmp_path).public == key.public
    (tmp_path / "cosign.pub").write_bytes(generate_key().public.pem)
    with pytest.raises(InvalidKeyError, match="does not belong"):
        load_key_directory(tmp_path)


def test_an_empty_secret_says_what_it_needs(tmp_path):
    with pytest.raises(InvalidKeyError, match=r"cosign\.key and cosign\.password"):
        load_key_directory(tmp_path)
