"""Whoever makes bundles of statements: a key, or a short-lived certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from plimsoll.signing.dsse import Envelope
from plimsoll.signing.sign import sign_statement

if TYPE_CHECKING:
    from plimsoll.signing.bundle import Bundle
    from plimsoll.signing.privatekey import Signer


class StatementSigner(Protocol):
    """Signs in-toto statements."""

    async def sign_statement(self, statement: bytes) -> Bundle:
        """Sign the exact bytes of a statement; raises ``SigningError``."""

    async def made(self, bundle: Bundle) -> bool:
        """Whether a bundle is a valid signature by the same signer; raises ``SigningError``."""


@runtime_checkable
class DataSigner(Protocol):
    """Signs whatever it is given, as the tags of cosign 1 and 2 need it."""

    async def sign(self, data: bytes) -> bytes:
        """The signature over ``data``; raises ``SigningError``."""


@dataclass(frozen=True, slots=True)
class KeyStatements:
    """Signs with a key; needs no server."""

    signer: Signer

    async def sign_statement(self, statement: bytes) -> Bundle:
        """See ``StatementSigner``."""
        return sign_statement(self.signer, statement)

    async def sign(self, data: bytes) -> bytes:
        """See ``DataSigner``."""
        return self.signer.sign(data)

    async def made(self, bundle: Bundle) -> bool:
        """See ``StatementSigner``."""
        content = bundle.content
        return isinstance(content, Envelope) and any(
            self.signer.public.verifies(one.sig, content.signed_bytes) for one in content.signatures
        )
