"""Whose word counts: the question that every signature is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from plimsoll.signing.bundle import Material
from plimsoll.signing.errors import InvalidKeyError, RejectedError
from plimsoll.signing.results import Identity

if TYPE_CHECKING:
    from plimsoll.signing.dsse import Envelope
    from plimsoll.signing.keys import PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """One signature, what it should be over, and what came with it."""

    signature: bytes
    message: bytes | None = None
    """The exact bytes that were signed; ``None`` where only their SHA-256 is known."""

    sha256: bytes = b""
    """SHA-256 of the message, where ``message`` is ``None``."""

    envelope: Envelope | None = None
    """The envelope whose pre-authentication encoding the message is."""

    material: Material = field(default_factory=Material)


class Authority(Protocol):
    """Says who made a signature, or refuses it."""

    def identify(self, signed: Signed) -> Identity:
        """Who signed.

        Raises:
            RejectedError: if it is nobody that this authority trusts, saying why.
            InvalidEvidenceError: if what came with the signature is malformed.
        """


@dataclass(frozen=True, slots=True)
class KeyAuthority:
    """Trusts whatever any of these keys signed. Needs no log, no timestamp, no network."""

    keys: tuple[PublicKey, ...]

    def __post_init__(self) -> None:
        if not self.keys:
            raise InvalidKeyError("an authority without a key trusts nobody")

    def identify(self, signed: Signed) -> Identity:
        """Try every key; the hint of a bundle is not trusted, not even to skip one."""
        return key_identity(self.signer(signed))

    def signer(self, signed: Signed) -> PublicKey:
        """The key that made the signature; raises ``RejectedError``."""
        for key in self.keys:
            if signed.message is None:
                if key.verifies_sha256(signed.signature, signed.sha256):
                    return key
            elif key.verifies(signed.signature, signed.message):
                return key
        many = f"any of the {len(self.keys)} trusted keys" if len(self.keys) > 1 else "the key"
        raise RejectedError(f"the signature is not by {many}")


def key_identity(key: PublicKey) -> Identity:
    """The identity that a key proves."""
    return Identity(kind="key", id=key.fingerprint)
