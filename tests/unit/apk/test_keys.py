import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from plimsoll.apk.keys import KeyFormatError, Keyring, SigningKey


@pytest.fixture(scope="module")
def key():
    return SigningKey.generate("team.rsa.pub", 2048)


def test_sign_and_verify(key):
    ring = Keyring({"team": key.public_pem()})
    digest = hashlib.sha256(b"text").digest()
    signature = key.sign(digest)
    assert ring.verify("team.rsa.pub", "RSA256", signature, digest)
    assert ring.verify("team", "RSA256", signature, digest)
    assert not ring.verify("team", "RSA256", signature, hashlib.sha256(b"other").digest())
    assert not ring.verify("other", "RSA256", signature, digest)
    assert not ring.verify("team", "RSA512", signature, digest)
    assert not ring.verify("team", "RSA256", signature[:-1], digest)
    assert not ring.verify("team", "RSA256", b"", digest)


def test_sha1_signatures_of_old_repositories(key):
    private = serialization.load_pem_private_key(key.private_pem(), None)
    signature = private.sign(b"text", padding.PKCS1v15(), hashes.SHA1())
    ring = Keyring({"team": key.public_pem()})
    assert ring.verify("team", "RSA", signature, hashlib.sha1(b"text").digest())
    assert not ring.verify("team", "RSA256", signature, hashlib.sha256(b"text").digest())


@pytest.mark.parametrize(
    "form", [serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8]
)
@pytest.mark.parametrize("password", [None, b"secret"])
def test_private_key_formats(form, password, tmp_path):
    private = rsa.generate_private_key(65537, 2048)
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    path = tmp_path / "a.rsa"
    path.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, encryption))
    key = SigningKey.from_file(path, password)
    assert key.name == "a.rsa.pub"
    if password:
        with pytest.raises(KeyFormatError, match="cannot be read"):
            SigningKey.from_file(path, b"wrong")
        with pytest.raises(KeyFormatError, match="cannot be read"):
            SigningKey.from_file(path)


def test_generated_keys_have_4096_bits_and_are_pkcs1():
    key = SigningKey.generate("new")
    assert key.name == "new.rsa.pub"
    assert key.private_pem().startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    assert key.public_pem().startswith(b"-----BEGIN PUBLIC KEY-----")
    assert len(key.sign(bytes(32))) == 512


def test_what_is_no_key(tmp_path):
    elliptic = ec.generate_private_key(ec.SECP256R1())
    public = elliptic.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = elliptic.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    short = rsa.generate_private_key(65537, 1024)
    small = short.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for pem in (b"", b"text", public, small, private):
        with pytest.raises(KeyFormatError, match=r"key x\.rsa\.pub"):
            Keyring({"x.rsa.pub": pem})
    with pytest.raises(KeyFormatError, match="no RSA key"):
        SigningKey.load(private, "x")
    large = tmp_path / "large.rsa.pub"
    large.write_bytes(b"x" * 100_000)
    with pytest.raises(KeyFormatError, match="too large"):
        Keyring.from_files([large])


def test_keyring_from_a_directory(key, tmp_path):
    (tmp_path / "a.rsa.pub").write_bytes(key.public_pem())
    (tmp_path / "README").write_text("no key")
    ring = Keyring.from_directory(tmp_path)
    assert list(ring) == ["a.rsa.pub"]
    assert "a" in ring
    assert ring.pem("a") == key.public_pem()


def test_fingerprint_tells_what_is_trusted(key):
    other = SigningKey.generate("other", 2048)
    one = Keyring({"a": key.public_pem()})
    assert one.fingerprint == Keyring({"a.rsa.pub": key.public_pem() + b"\n"}).fingerprint
    assert one.fingerprint != Keyring({"b": key.public_pem()}).fingerprint
    assert one.fingerprint != Keyring({"a": other.public_pem()}).fingerprint
    both = one.merged(Keyring({"b": other.public_pem()}))
    assert list(both) == ["a.rsa.pub", "b.rsa.pub"]
    assert both.fingerprint != one.fingerprint
    assert Keyring().fingerprint == Keyring({}).fingerprint
