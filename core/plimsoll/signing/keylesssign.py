"""Signing without a key of one's own: a certificate for minutes, a log, timestamps.

Each bundle is verified with the trust root before it is handed out: what cannot be verified with
it is never published.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from plimsoll.http import Http
from plimsoll.signing.authority import Signed
from plimsoll.signing.bundle import Bundle, Material
from plimsoll.signing.dsse import IN_TOTO, Envelope, EnvelopeSignature, pae
from plimsoll.signing.errors import (
    InvalidSigningConfigError,
    RejectedError,
    SigningError,
    SigningServiceError,
)
from plimsoll.signing.fulcio import certificate_identity
from plimsoll.signing.identitytoken import IdentityToken, find_token
from plimsoll.signing.keyless import KeylessAuthority, Witnesses
from plimsoll.signing.services import log_signature, request_certificate, request_timestamp
from plimsoll.signing.signingconfig import SigningConfig
from plimsoll.signing.trustroot import TrustRoot

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from plimsoll.signing.results import Identity
    from plimsoll.signing.signingconfig import Choice, Service

T = TypeVar("T")
TokenSource = Callable[[], Awaitable[IdentityToken]]

#: A certificate that expires sooner is not used for another signature.
_MARGIN: Final = timedelta(minutes=2)


@dataclass(slots=True)
class KeylessSigner:
    """Signs statements as whom a token names.

    One certificate serves for all that is signed while it is valid; its key is forgotten with the
    signer.
    """

    http: Http
    config: SigningConfig
    root: TrustRoot
    token: TokenSource
    """Gives a token that is valid now; asked before each certificate."""

    require_sct: bool = True
    """Demand that the certificate is in a transparency log, where the trust root has one."""

    _held: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None = field(
        default=None, repr=False
    )
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def identity(self) -> Identity:
        """Who signs, as verifiers will see it.

        Raises:
            SigningError: if no certificate can be had.
        """
        _, certificate = await self._certificate()
        return certificate_identity(certificate)

    async def sign_statement(self, statement: bytes) -> Bundle:
        """Sign the exact bytes of an in-toto statement.

        Raises:
            SigningServiceError: if Fulcio, a log or a timestamp authority refuses or fails.
            IdentityTokenError: if there is no token.
            SigningError: if the trust root does not accept what they made.
        """
        key, certificate = await self._certificate()
        signature = key.sign(pae(IN_TOTO, statement), ec.ECDSA(hashes.SHA256()))
        envelope = Envelope(statement, IN_TOTO, (EnvelopeSignature(signature),))

        async def stamp(service: Service) -> bytes:
            return await request_timestamp(self.http, service, signature)

        async def log(service: Service) -> dict[str, Any]:
            return await log_signature(self.http, service, envelope, certificate)

        # Stamped first: a log keeps what it has, also when signing fails after it.
        stamps = await _of(self.config.tsa, stamp)
        entries = await _of(self.config.rekor, log)
        bundle = Bundle(
            content=envelope,
            material=Material(
                certificates=(certificate.public_bytes(Encoding.DER),),
                tlog_entries=tuple(entries),
                timestamps=tuple(stamps),
                version="0.3",
            ),
        )
        await self._check(bundle, envelope)
        return bundle

    async def made(self, bundle: Bundle) -> bool:
        """Whether a bundle is a valid signature by the identity that signs here."""
        if not isinstance(bundle.content, Envelope):
            return False
        try:
            await self._check(bundle, bundle.content)
        except RejectedSignatureError:
            return False
        return True

    async def _certificate(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        async with self._lock:
            if self._held is None or _ends_soon(self._held[1]):
                key = ec.generate_private_key(ec.SECP256R1())
                token = await self.token()

                async def ask(service: Service) -> x509.Certificate:
                    return await request_certificate(self.http, service, key, token)

                (certificate,) = await _of(self.config.fulcio, ask)
                if certificate.public_key() != key.public_key():
                    raise SigningServiceError("Fulcio certified another key than it was sent")
                self._held = key, certificate
            return self._held

    async def _check(self, bundle: Bundle, envelope: Envelope) -> None:
        wanted = (await self.identity()).id
        authority = KeylessAuthority(
            witnesses=Witnesses(root=self.root),
            identity=lambda found: found.id == wanted,
            require_sct=self.require_sct and bool(self.root.ctlogs),
        )
        signed = Signed(
            signature=envelope.signatures[0].sig,
            message=envelope.signed_bytes,
            envelope=envelope,
            material=bundle.material,
        )
        try:
            await asyncio.to_thread(authority.identify, signed)
        except SigningError as error:
            raise RejectedSignatureError(
                f"what was signed cannot be verified with the trusted root: {error.message}",
                hint="signing config and trusted root must be of the same sigstore instance",
            ) from None


@asynccontextmanager
async def keyless_signer(
    config: bytes,
    root: bytes,
    token: Path | None = None,
    *,
    trusted_hosts: frozenset[str] | None = None,
) -> AsyncIterator[KeylessSigner]:
    """A signer with its own connections.

    Args:
        config: the signing config (JSON).
        root: ``trusted_root.json``.
        token: file with the OIDC token; default: see ``identitytoken.find_token``.
        trusted_hosts: where somebody else wrote ``config``: refuse loopback, link-local and
            metadata addresses of all hosts but these. Default: connect to any.

    Raises:
        InvalidSigningConfigError: for ``config``.
        InvalidTrustRootError: for ``root``.
    """
    chosen, trusted = SigningConfig.parse(config), TrustRoot.parse(root)
    open_to_all = trusted_hosts is None
    async with Http(allow_private=open_to_all, trusted_hosts=trusted_hosts or frozenset()) as http:
        yield KeylessSigner(http, chosen, trusted, partial(find_token, token))


def read_signing_folder(folder: Path) -> tuple[bytes, bytes, Path]:
    """What ``keyless_signer`` takes, from a folder as the seal Job has it mounted.

    Raises:
        InvalidSigningConfigError: if ``signing_config.json`` or ``trusted_root.json`` is missing.
    """
    try:
        config = (folder / "signing_config.json").read_bytes()
        root = (folder / "trusted_root.json").read_bytes()
    except OSError as error:
        raise InvalidSigningConfigError(
            f"what keyless signing needs cannot be read: {error.strerror}: {error.filename}",
            hint="the ConfigMap of signing.keyless needs both entries that it names",
        ) from None
    return config, root, folder / "token"


class RejectedSignatureError(RejectedError):
    """The servers made something that the trust root does not accept."""

    reason = "SignatureNotTrusted"


def _ends_soon(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc - _MARGIN <= datetime.now(UTC)


async def _of(choice: Choice, ask: Callable[[Service], Awaitable[T]]) -> list[T]:
    """Answers of as many services as are wanted; where one fails, the next takes its place."""
    results: list[T] = []
    failure: SigningServiceError | None = None
    for service in choice.services:
        if len(results) == choice.count:
            break
        try:
            results.append(await ask(service))
        except SigningServiceError as error:
            failure = error
    if failure is not None and len(results) < choice.count:
        raise failure
    return results
