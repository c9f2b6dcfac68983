"""Public keys: reading them strictly, naming them, and verifying with them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from plimsoll.signing.encoding import b64encode, pem_blocks
from plimsoll.signing.errors import InvalidEvidenceError, InvalidKeyError

HashName = Literal["sha224", "sha256", "sha384", "sha512"]
KeyMaterial = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

#: Keys in one PEM text.
KEY_LIMIT: Final = 64
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 4096
MIN_RSA_EXPONENT: Final = 65537

HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
#: What a signer uses with a curve; cosign 2 used SHA-256 with all of them.
CURVE_HASHES: Final[dict[str, HashName]] = {
    "secp256r1": "sha256",
    "secp384r1": "sha384",
    "secp521r1": "sha512",
}

_PUBLIC = {"PUBLIC KEY", "RSA PUBLIC KEY"}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that is strong enough, with the hash algorithms its signatures may use."""

    key: KeyMaterial
    fingerprint: str
    """SHA-256 of the SubjectPublicKeyInfo, in hex: the name of the key."""

    hash_algorithms: tuple[HashName, ...]

    @property
    def hint(self) -> str:
        """What sigstore bundles carry as ``publicKey.hint``: the fingerprint in base64."""
        return b64encode(bytes.fromhex(self.fingerprint))

    @property
    def pem(self) -> bytes:
        """PEM ``PUBLIC KEY``."""
        return self.key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def der(self) -> bytes:
        """The SubjectPublicKeyInfo."""
        return spki(self.key)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` over ``data`` is by this key.

        ECDSA signatures are DER; RSA ones PKCS #1 v1.5 or PSS; Ed25519 ones pure, or
        Ed25519ph as cosign makes them (RFC 8032).
        """
        if isinstance(self.key, ed25519.Ed25519PublicKey):
            return _verifies_ed25519(self.key, signature, data)
        return any(
            verifies_digest(self.key, signature, hashlib.new(name, data).digest(), name)
            for name in self.hash_algorithms
        )

    def verifies_sha256(self, signature: bytes, digest: bytes) -> bool:
        """Whether ``signature`` over the data with this SHA-256 is by this key.

        Never so for Ed25519, which needs the data itself.
        """
        if isinstance(self.key, ed25519.Ed25519PublicKey) or "sha256" not in self.hash_algorithms:
            return False
        return verifies_digest(self.key, signature, digest, "sha256")


def verifies_digest(
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    signature: bytes,
    digest: bytes,
    name: HashName,
) -> bool:
    """Whether ``signature`` over the data with this digest is by ``key``."""
    prehashed = utils.Prehashed(HASHES[name])
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, ec.ECDSA(prehashed))
        else:
            _verify_rsa(key, signature, digest, prehashed, HASHES[name])
    except InvalidSignature:
        return False
    return True


def load_public_keys(
    pem: bytes | str, *, hash_algorithm: HashName | None = None
) -> tuple[PublicKey, ...]:
    """Read every key of a PEM text.

    Args:
        pem: blocks ``PUBLIC KEY`` or ``RSA PUBLIC KEY``, at least one, each key once in the result.
        hash_algorithm: the only one that signatures may use. Default: that of the key's kind
            and SHA-256, as older signers use it with every kind.

    Raises:
        InvalidKeyError: if there is no key, something that is none, or a weak one.
    """
    try:
        content = pem if isinstance(pem, str) else pem.decode()
        blocks = list(pem_blocks(content))
    except UnicodeDecodeError:
        raise InvalidKeyError("the public key is no PEM text") from None
    except InvalidEvidenceError as error:
        raise InvalidKeyError(error.message) from None
    if not blocks:
        raise InvalidKeyError(
            "there is no PEM block in the public key",
            hint="it starts with -----BEGIN PUBLIC KEY-----; cosign writes it to cosign.pub",
        )
    if len(blocks) > KEY_LIMIT:
        raise InvalidKeyError(f"more than {KEY_LIMIT} keys in one text")
    keys: dict[str, PublicKey] = {}
    for label, block in blocks:
        if label not in _PUBLIC:
            private = label.endswith("PRIVATE KEY")
            raise InvalidKeyError(
                f"a PEM block of type {label} stands where a public key is wanted",
                hint="never hand out a private key: use cosign.pub, not cosign.key"
                if private
                else "write the key itself as -----BEGIN PUBLIC KEY-----",
            )
        try:
            loaded = serialization.load_pem_public_key(block.encode())
        except Exception as error:  # noqa: BLE001  many kinds, all meaning the same
            raise InvalidKeyError(f"the public key cannot be read: {_first_line(error)}") from None
        key = public_key(loaded, hash_algorithm=hash_algorithm)
        keys[key.fingerprint] = key
    return tuple(keys.values())


def public_key(loaded: Any, *, hash_algorithm: HashName | None = None) -> PublicKey:
    """Wrap a key of ``cryptography`` after checking its strength.

    Raises:
        InvalidKeyError: if it is of another kind than ECDSA P-256, P-384, P-521, RSA of 2048 to
            4096 bits, or Ed25519.
    """
    if isinstance(loaded, ec.EllipticCurvePublicKey):
        preferred = CURVE_HASHES.get(loaded.curve.name)
        if preferred is None:
            raise InvalidKeyError(
                f"the curve {loaded.curve.name} is not accepted", hint="use P-256, P-384 or P-521"
            )
    elif isinstance(loaded, rsa.RSAPublicKey):
        _check_rsa(loaded)
        preferred = "sha256"
    elif isinstance(loaded, ed25519.Ed25519PublicKey):
        preferred = "sha512"
    else:
        raise InvalidKeyError(
            f"keys of type {type(loaded).__name__.removesuffix('PublicKey')} are not accepted",
            hint="use ECDSA P-256, RSA of 2048 bits or more, or Ed25519",
        )
    default: tuple[HashName, ...] = tuple(dict.fromkeys((preferred, "sha256")))
    return PublicKey(
        key=loaded,
        fingerprint=hashlib.sha256(spki(loaded)).hexdigest(),
        hash_algorithms=(hash_algorithm,) if hash_algorithm else default,
    )


def spki(key: KeyMaterial) -> bytes:
    """The SubjectPublicKeyInfo (DER) of a key."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _check_rsa(key: rsa.RSAPublicKey) -> None:
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise InvalidKeyError(
            f"an RSA key of {key.key_size} bits is not accepted",
            hint=f"use {MIN_RSA_BITS} to {MAX_RSA_BITS} bits",
        )
    exponent = key.public_numbers().e
    if exponent < MIN_RSA_EXPONENT:
        raise InvalidKeyError(f"an RSA key with the public exponent {exponent} is not accepted")


def _verify_rsa(
    key: rsa.RSAPublicKey,
    signature: bytes,
    digest: bytes,
    prehashed: utils.Prehashed,
    algorithm: hashes.HashAlgorithm,
) -> None:
    try:
        key.verify(signature, digest, padding.PKCS1v15(), prehashed)
    except InvalidSignature:
        pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
        key.verify(signature, digest, pss, prehashed)


def _verifies_ed25519(key: ed25519.Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return _verifies_ed25519ph(key, signature, data)
    return True


def _verifies_ed25519ph(key: ed25519.Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    from nacl import bindings  # noqa: PLC0415  needed for this rare kind of key only
    from nacl.exceptions import BadSignatureError  # noqa: PLC0415

    if len(signature) != bindings.crypto_sign_BYTES:
        return False
    state = bindings.crypto_sign_ed25519ph_state()
    bindings.crypto_sign_ed25519ph_update(state, data)
    try:
        return bool(
            bindings.crypto_sign_ed25519ph_final_verify(state, signature, key.public_bytes_raw())
        )
    except BadSignatureError:
        return False


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
