"""Private keys: cosign's encrypted PEM and plain PKCS #8, SEC 1 and PKCS #1."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from plimsoll.signing.encoding import b64decode, b64encode, child, parse_json, pem_blocks, text
from plimsoll.signing.errors import InvalidEvidenceError, InvalidKeyError, WrongPasswordError
from plimsoll.signing.keys import CURVE_HASHES, HASHES, PublicKey, public_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COSIGN_LABEL: Final = "ENCRYPTED COSIGN PRIVATE KEY"
SIGSTORE_LABEL: Final = "ENCRYPTED SIGSTORE PRIVATE KEY"
PLAIN_LABELS: Final = ("PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")
#: Bytes of a key file.
FILE_LIMIT: Final = 64 << 10

SCRYPT_N: Final = 1 << 16
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
#: A key file may ask for this much memory (128 · N · r bytes) to be opened.
SCRYPT_MEMORY: Final = 256 << 20

_Material = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Signer(Protocol):
    """Whoever can sign: a key in memory, or one held elsewhere."""

    @property
    def public(self) -> PublicKey:
        """The public key that verifies what is signed."""

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``: ECDSA as DER, RSA as PKCS #1 v1.5, Ed25519 pure."""


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A private key in memory."""

    key: _Material
    public: PublicKey

    def __repr__(self) -> str:
        return f"PrivateKey(fingerprint={self.public.fingerprint})"

    def sign(self, data: bytes) -> bytes:
        """Sign with the hash that cosign expects for the kind of key.

        The same data gives the same signature (RFC 6979 for ECDSA), so that sealing an image
        twice leaves one signature.
        """
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            algorithm = HASHES[CURVE_HASHES[self.key.curve.name]]
            return self.key.sign(data, ec.ECDSA(algorithm, deterministic_signing=True))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(data)

    def to_pem(self, password: str | bytes = b"") -> bytes:
        """The key as ``cosign.key``: PKCS #8 sealed with scrypt and NaCl's secretbox."""
        der = self.key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        body = b64encode(_seal(der, _bytes(password)))
        lines = [body[start : start + 64] for start in range(0, len(body), 64)]
        return "\n".join(
            [f"-----BEGIN {SIGSTORE_LABEL}-----", *lines, f"-----END {SIGSTORE_LABEL}-----", ""]
        ).encode()


def generate_key() -> PrivateKey:
    """A new ECDSA P-256 key, what cosign makes too."""
    return _wrap(ec.generate_private_key(ec.SECP256R1()))


def load_private_key(pem: bytes | str, password: str | bytes = b"") -> PrivateKey:
    """Read a private key.

    Args:
        pem: one block: cosign's (``ENCRYPTED SIGSTORE PRIVATE KEY``, ``ENCRYPTED COSIGN PRIVATE
            KEY``), or ``PRIVATE KEY``, ``EC PRIVATE KEY``, ``RSA PRIVATE KEY``.
        password: of an encrypted key; not used for others. cosign allows it to be empty.

    Raises:
        WrongPasswordError: if the password does not open it.
        InvalidKeyError: if it is no such key, or a weak one.
    """
    try:
        content = pem if isinstance(pem, str) else pem.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidKeyError("the private key is no PEM text") from None
    if len(content) > FILE_LIMIT:
        raise InvalidKeyError(f"the private key is longer than {FILE_LIMIT} bytes")
    try:
        label, block = next(pem_blocks(content), ("", ""))
    except InvalidEvidenceError as error:
        raise InvalidKeyError(error.message) from None
    if not block:
        raise InvalidKeyError(
            "there is no PEM block in the private key",
            hint=f"it starts with -----BEGIN {SIGSTORE_LABEL}-----; "
            "`cosign generate-key-pair` writes it to cosign.key",
        )
    if label in {COSIGN_LABEL, SIGSTORE_LABEL}:
        der = _open("".join(block.splitlines()[1:-1]), _bytes(password))
        return _parse(serialization.load_der_private_key, der)
    if label in PLAIN_LABELS:
        return _parse(serialization.load_pem_private_key, block.encode())
    hint = "encrypt it as cosign does, or not at all" if label.startswith("ENCRYPTED") else None
    raise InvalidKeyError(f"a PEM block of type {label} is no private key known here", hint=hint)


def load_key_directory(path: Path) -> PrivateKey:
    """Read a mounted Secret of cosign: ``cosign.key`` and ``cosign.password``.

    Without ``cosign.password`` the environment variable ``COSIGN_PASSWORD`` is used. Where there
    is a ``cosign.pub``, it must be of the same key.

    Raises:
        InvalidKeyError: if ``cosign.key`` is missing, cannot be opened, or is of another key.
    """
    key_file, password_file, public_file = (
        path / name for name in ("cosign.key", "cosign.password", "cosign.pub")
    )
    try:
        password = (
            password_file.read_bytes()
            if password_file.exists()
            else os.environ.get("COSIGN_PASSWORD", "").encode()
        )
        key = load_private_key(key_file.read_bytes(), password)
        public = public_file.read_bytes() if public_file.exists() else b""
    except OSError as error:
        raise InvalidKeyError(
            f"the signing key cannot be read: {error.strerror}: {error.filename}",
            hint="the Secret needs the entries cosign.key and cosign.password, as "
            "`cosign generate-key-pair k8s://NAMESPACE/NAME` makes them",
        ) from None
    if public:
        from plimsoll.signing.keys import load_public_keys  # noqa: PLC0415

        if key.public.fingerprint not in {one.fingerprint for one in load_public_keys(public)}:
            raise InvalidKeyError(
                f"cosign.pub in {path} does not belong to cosign.key",
                hint="what is signed could not be verified; make the Secret anew",
            )
    return key


def _parse(load: Any, data: bytes) -> PrivateKey:
    try:
        loaded = load(data, password=None)
    except TypeError:
        raise InvalidKeyError(
            "the private key is encrypted in a way that is not known here",
            hint="use a key of `cosign generate-key-pair` or `cosign import-key-pair`",
        ) from None
    except Exception:  # noqa: BLE001  the message could quote the key
        raise InvalidKeyError("the private key cannot be read") from None
    return _wrap(loaded)


def _wrap(loaded: Any) -> PrivateKey:
    if not isinstance(
        loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    ):
        raise InvalidKeyError(
            f"keys of type {type(loaded).__name__.removesuffix('PrivateKey')} are not accepted",
            hint="use ECDSA P-256, RSA of 2048 bits or more, or Ed25519",
        )
    return PrivateKey(loaded, public_key(loaded.public_key()))


def _bytes(password: str | bytes) -> bytes:
    return password.encode() if isinstance(password, str) else password


def _open(body: str, password: bytes) -> bytes:
    try:
        data = b64decode(body, "the private key")
        box = parse_json(data, "the encrypted private key", FILE_LIMIT)
        kdf, cipher = child(box, "kdf", "it"), child(box, "cipher", "it")
        names = text(kdf, "name", "kdf"), text(cipher, "name", "cipher")
        salt = b64decode(kdf.get("salt"), "the salt of the private key")
        nonce = b64decode(cipher.get("nonce"), "the nonce of the private key")
        sealed = b64decode(box.get("ciphertext"), "the ciphertext of the private key")
        params = child(kdf, "params", "kdf")
    except InvalidEvidenceError as error:
        raise InvalidKeyError(f"the private key is damaged: {error.message}") from None
    if names != ("scrypt", "nacl/secretbox") or len(nonce) != SecretBox.NONCE_SIZE:
        raise InvalidKeyError("the private key is encrypted in a way that is not known here")
    secret = _derive(password, salt, params)
    try:
        return bytes(SecretBox(secret).decrypt(sealed, nonce))
    except (CryptoError, ValueError):
        raise WrongPasswordError(
            "the private key does not open with this password",
            hint="look at cosign.password of the Secret, or at COSIGN_PASSWORD",
        ) from None


def _derive(password: bytes, salt: bytes, params: Mapping[str, Any]) -> bytes:
    n, r, p = (params.get(name) for name in ("N", "r", "p"))
    whole = all(isinstance(value, int) and value > 0 for value in (n, r, p))
    if not whole or 128 * n * r > SCRYPT_MEMORY or p > 4:  # type: ignore[operator]
        raise InvalidKeyError("the private key asks for scrypt parameters out of bounds")
    try:
        return hashlib.scrypt(
            password,
            salt=salt,
            n=n,  # type: ignore[arg-type]
            r=r,  # type: ignore[arg-type]
            p=p,  # type: ignore[arg-type]
            maxmem=2 * SCRYPT_MEMORY,
            dklen=SecretBox.KEY_SIZE,
        )
    except ValueError:
        raise InvalidKeyError("the private key asks for impossible scrypt parameters") from None


def _seal(data: bytes, password: bytes) -> bytes:
    salt, nonce = os.urandom(32), os.urandom(SecretBox.NONCE_SIZE)
    params = {"N": SCRYPT_N, "r": SCRYPT_R, "p": SCRYPT_P}
    sealed = SecretBox(_derive(password, salt, params)).encrypt(data, nonce).ciphertext
    return json.dumps(
        {
            "kdf": {"name": "scrypt", "params": params, "salt": b64encode(salt)},
            "cipher": {"name": "nacl/secretbox", "nonce": b64encode(nonce)},
            "ciphertext": b64encode(sealed),
        },
        separators=(",", ":"),
    ).encode()
