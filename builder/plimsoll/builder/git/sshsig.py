"""Signatures by SSH keys (OpenSSH's PROTOCOL.sshsig), judged as ``ssh-keygen -Y verify`` does.

Read here and not by ``ssh-keygen``: no program and no temporary file is needed, the same rules
hold wherever we run, and every limit is ours. The tests compare with the program.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_identity
from cryptography.hazmat.primitives.serialization.ssh import SSHCertificate

from plimsoll.builder.git.errors import NotSignedError
from plimsoll.builder.git.wire import Reader, string

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.serialization.ssh import SSHPublicKeyTypes

_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_ARMOR = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END SSH SIGNATURE-----\s*"
)
_MIN_RSA: Final = 2048
_SK_ED25519: Final = b"sk-ssh-ed25519@openssh.com"
_SK_ECDSA: Final = b"sk-ecdsa-sha2-nistp256@openssh.com"
_PRESENT: Final = 1
_CURVES: Final[dict[bytes, tuple[type[ec.EllipticCurve], hashes.HashAlgorithm]]] = {
    b"nistp256": (ec.SECP256R1, hashes.SHA256()),
    b"nistp384": (ec.SECP384R1, hashes.SHA384()),
    b"nistp521": (ec.SECP521R1, hashes.SHA512()),
}
_RSA: Final[dict[bytes, hashes.HashAlgorithm]] = {
    b"rsa-sha2-256": hashes.SHA256(),
    b"rsa-sha2-512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class SshSignature:
    """A signature as it was read; nothing of it is verified.

    Attributes:
        key: blob of the public key, or of a certificate.
        namespace: what it is for: ``git``.
        hash: ``sha256`` or ``sha512``.
        blob: the signature itself, with its kind.
    """

    key: bytes
    namespace: str
    hash: str
    blob: bytes


def read_signature(armored: bytes) -> SshSignature:
    """Read an armored signature; raises ``NotSignedError``."""
    match = _ARMOR.fullmatch(armored)
    try:
        data = base64.b64decode(b"".join(match[1].split()), validate=True) if match else b""
    except binascii.Error:
        data = b""
    if not data.startswith(_MAGIC):
        raise NotSignedError("what should be an SSH signature is none")
    reader = Reader(data[len(_MAGIC) :], "the SSH signature")
    version = reader.number()
    if version != _VERSION:
        raise NotSignedError(f"the SSH signature is of the unknown version {version}")
    key, namespace = reader.string(), reader.string()
    reader.string()  # reserved
    algorithm, blob = reader.string().decode(errors="replace"), reader.string()
    reader.end()
    if algorithm not in {"sha256", "sha512"}:
        raise NotSignedError(f"the SSH signature uses the hash {algorithm[:20]!r}")
    return SshSignature(key, namespace.decode(errors="replace"), algorithm, blob)


def verify_signature(signature: SshSignature, message: bytes, namespace: str) -> None:
    """Demand that the key in a signature made it over a message, for a purpose.

    Whether the key is trusted is another question; see ``allowedsigners``.

    Raises:
        NotSignedError: it did not.
    """
    if signature.namespace != namespace:
        raise NotSignedError(f"the SSH signature is for {signature.namespace[:40]!r}")
    signed = _MAGIC + b"".join(
        string(part)
        for part in (
            namespace.encode(),
            b"",
            signature.hash.encode(),
            hashlib.new(signature.hash, message).digest(),
        )
    )
    reader = Reader(signature.blob, "the SSH signature")
    kind = reader.string()
    value = reader.string()
    try:
        _verify(_plain_key(signature.key), kind, value, reader, signed)
        reader.end()
    except InvalidSignature:
        raise NotSignedError("the SSH signature is over something else") from None
    except (ValueError, UnsupportedAlgorithm):
        raise NotSignedError("the key of the SSH signature cannot be used") from None


def fingerprint(key: bytes) -> str:
    """``SHA256:…``, as ``ssh-keygen -l`` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def certificate(key: bytes) -> SSHCertificate | None:
    """The certificate that a blob is, its own signature verified; ``None`` for a plain key.

    Raises:
        NotSignedError: it is no valid certificate.
    """
    kind = Reader(key, "the SSH key").string()
    if b"-cert-v01@" not in kind:
        return None
    try:
        found = load_ssh_public_identity(kind + b" " + base64.b64encode(key))
        if isinstance(found, SSHCertificate):
            found.verify_cert_signature()
            return found
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        pass
    raise NotSignedError("the SSH certificate is not valid")


def _plain_key(key: bytes) -> bytes | SSHPublicKeyTypes:
    """The blob of a plain key, or the key in a certificate."""
    found = certificate(key)
    return key if found is None else found.public_key()


def _verify(
    key: bytes | SSHPublicKeyTypes, kind: bytes, value: bytes, reader: Reader, signed: bytes
) -> None:
    if isinstance(key, bytes):
        name = Reader(key, "the SSH key").string()
        if name in {_SK_ED25519, _SK_ECDSA}:
            _verify_security_key(key, name, kind, value, reader, signed)
            return
        found = load_ssh_public_identity(name + b" " + base64.b64encode(key))
    else:
        found = key
    if isinstance(found, ed25519.Ed25519PublicKey) and kind == b"ssh-ed25519":
        found.verify(value, signed)
    elif isinstance(found, ec.EllipticCurvePublicKey) and kind.startswith(b"ecdsa-sha2-"):
        curve, algorithm = _CURVES.get(kind.removeprefix(b"ecdsa-sha2-"), (None, None))
        if curve is None or algorithm is None or not isinstance(found.curve, curve):
            raise NotSignedError("kind and key of the SSH signature do not go together")
        found.verify(_dss(value), signed, ec.ECDSA(algorithm))
    elif isinstance(found, rsa.RSAPublicKey) and kind in _RSA:
        if found.key_size < _MIN_RSA:
            raise NotSignedError(f"an RSA key of {found.key_size} bits is too short")
        found.verify(value, signed, padding.PKCS1v15(), _RSA[kind])
    else:
        raise NotSignedError(f"SSH signatures of the kind {kind[:40]!r} are not accepted")


def _verify_security_key(  # noqa: PLR0913, PLR0917  the parts of one signature
    key: bytes, name: bytes, kind: bytes, value: bytes, reader: Reader, signed: bytes
) -> None:
    """A key in hardware (OpenSSH's PROTOCOL.u2f); somebody must have touched it."""
    flags, counter = reader.take(1), reader.take(4)
    if kind != name or not flags[0] & _PRESENT:
        raise NotSignedError("nobody touched the security key for the SSH signature")
    blob = Reader(key, "the SSH key")
    blob.string()
    if name == _SK_ED25519:
        public, application = blob.string(), blob.string()
        blob.end()
        told = _told(application, flags, counter, signed)
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(value, told)
        return
    curve, point, application = blob.string(), blob.string(), blob.string()
    blob.end()
    if curve != b"nistp256":
        raise NotSignedError("kind and key of the SSH signature do not go together")
    told = _told(application, flags, counter, signed)
    found = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    found.verify(_dss(value), told, ec.ECDSA(hashes.SHA256()))


def _told(application: bytes, flags: bytes, counter: bytes, signed: bytes) -> bytes:
    hashed = hashlib.sha256(signed).digest()
    return hashlib.sha256(application).digest() + flags + counter + hashed


def _dss(value: bytes) -> bytes:
    reader = Reader(value, "the SSH signature")
    r, s = reader.integer(), reader.integer()
    reader.end()
    return encode_dss_signature(r, s)
