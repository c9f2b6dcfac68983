"""RSA keys that sign APK packages and indexes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SUFFIX = ".rsa.pub"
#: The smallest key that is accepted; Alpine's oldest keys have 2048 bits.
MIN_BITS = 2048
_MAX_KEY_FILE = 64 * 1024

#: Algorithm in ``.SIGN.<algorithm>.<key>`` → hash. Other algorithms are ignored.
HASHES: dict[str, type[hashes.HashAlgorithm]] = {"RSA": hashes.SHA1, "RSA256": hashes.SHA256}


class KeyFormatError(Error):
    """A file that should hold an RSA key does not."""

    reason = "InvalidKey"


class Keyring:
    """Public keys by name; what signs must be in here to count.

    A name is the base name of the key's file; ``.rsa.pub`` may be left off.

    Args:
        keys: name → PEM of a public key.

    Raises:
        KeyFormatError: a text is no RSA public key of at least 2048 bits.
    """

    def __init__(self, keys: Mapping[str, str | bytes] | None = None) -> None:
        self._pem: dict[str, bytes] = {}
        self._keys: dict[str, rsa.RSAPublicKey] = {}
        for name, pem in (keys or {}).items():
            data = pem.encode() if isinstance(pem, str) else pem
            canonical = _canonical(name)
            self._keys[canonical] = load_public_key(data, name)
            self._pem[canonical] = data

    @classmethod
    def from_files(cls, paths: Iterable[Path]) -> Keyring:
        """Read key files; each key has its file's base name.

        Raises:
            KeyFormatError: a file is no key.
            OSError: a file cannot be read.
        """
        return cls({path.name: _read(path) for path in paths})

    @classmethod
    def from_directory(cls, path: Path) -> Keyring:
        """Read every ``*.pub`` of a directory such as ``/etc/apk/keys``."""
        return cls.from_files(sorted(p for p in path.iterdir() if p.suffix == ".pub"))

    def merged(self, other: Keyring) -> Keyring:
        """Both together; the other's key wins where a name is in both."""
        return Keyring({**self._pem, **other._pem})

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        """Names of key files, sorted."""
        return iter(sorted(self._keys))

    def __contains__(self, name: str) -> bool:
        return _canonical(name) in self._keys

    def pem(self, name: str) -> bytes:
        """The key's PEM as it was given; raises ``KeyError``."""
        return self._pem[_canonical(name)]

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over names and keys: equal exactly for keyrings that trust the same.

        A cache of what a keyring verified must be keyed by this.
        """
        digest = hashlib.sha256()
        for name in self:
            der = self._keys[name].public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            digest.update(f"{len(name)}:{name}:{len(der)}:".encode() + der)
        return digest.hexdigest()

    def verify(self, name: str, algorithm: str, signature: bytes, digest: bytes) -> bool:
        """Whether ``signature`` (PKCS#1 v1.5) by key ``name`` covers what hashes to ``digest``.

        False for an unknown key or algorithm too.
        """
        key, hash_type = self._keys.get(_canonical(name)), HASHES.get(algorithm)
        if key is None or hash_type is None:
            return False
        try:
            # SHA-1 is what RSA signatures of the format are made with.
            key.verify(signature, digest, padding.PKCS1v15(), utils.Prehashed(hash_type()))
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key that signs packages and indexes with PKCS#1 v1.5 over SHA-256.

    Args:
        key: the RSA key.
        name: file name of its public key, which verifiers look for: ``NAME.rsa.pub``.
    """

    algorithm = "RSA256"

    def __init__(self, key: rsa.RSAPrivateKey, name: str) -> None:
        self._key = key
        self.name = name

    @classmethod
    def generate(cls, name: str, bits: int = 4096) -> SigningKey:
        """Make a new key; takes around a second for 4096 bits."""
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=bits), _canonical(name))

    @classmethod
    def load(cls, pem: bytes, name: str, password: bytes | None = None) -> SigningKey:
        """Read a PKCS#1 or PKCS#8 PEM.

        Raises:
            KeyFormatError: it is no RSA private key, or the password does not open it.
        """
        try:
            key = serialization.load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFormatError(
                f"private key {name} cannot be read: {error}",
                hint="an RSA key in PEM (PKCS#1 or PKCS#8) is needed, and its password if it "
                "is encrypted",
            ) from error
        if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < MIN_BITS:
            raise KeyFormatError(
                f"private key {name} is no RSA key of at least {MIN_BITS} bits",
                hint="APK indexes are signed with RSA; make a new key of 4096 bits",
            )
        return cls(key, name)

    @classmethod
    def from_file(cls, path: Path, password: bytes | None = None) -> SigningKey:
        """Read a key file; ``foo.rsa`` signs as ``foo.rsa.pub``.

        Raises:
            KeyFormatError: as ``load``.
            OSError: the file cannot be read.
        """
        return cls.load(_read(path), f"{path.name}.pub", password)

    def sign(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest."""
        return self._key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))

    def private_pem(self) -> bytes:
        """PKCS#1 PEM, not encrypted."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    def public_pem(self) -> bytes:
        """PKIX PEM of the public half."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def load_public_key(pem: bytes, name: str) -> rsa.RSAPublicKey:
    """Read a PEM public key (PKIX or PKCS#1).

    Raises:
        KeyFormatError: it is no RSA key of at least 2048 bits.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFormatError(
            f"key {name} cannot be read as a public key",
            hint="the text must begin with -----BEGIN PUBLIC KEY-----",
        ) from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_BITS:
        raise KeyFormatError(
            f"key {name} is no RSA key of at least {MIN_BITS} bits",
            hint="APK repositories are signed with RSA keys; check that this is the right file",
        )
    return key


def _canonical(name: str) -> str:
    return name if name.endswith(".pub") else f"{name.removesuffix('.rsa')}{SUFFIX}"


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MAX_KEY_FILE + 1)
    if len(data) > _MAX_KEY_FILE:
        raise KeyFormatError(f"{path} is too large for a key", hint="name a PEM file")
    return data
