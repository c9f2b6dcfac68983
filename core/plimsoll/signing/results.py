"""What verification says: what is proven by whom, and why the rest is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signed, as far as it is proven."""

    kind: Literal["key", "certificate"]
    id: str
    """Unique for the signer: the SHA-256 fingerprint of a key (hex), or ``ISSUER#SUBJECT``. One
    signer has one ``id`` however many signatures it made: count these, not signatures."""

    subject: str = ""
    """Of a certificate: a mail address or a URI."""

    issuer: str = ""
    """Of a certificate: the OIDC issuer that vouched for the subject."""

    claims: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Of a certificate: Fulcio's extensions, by their names in ``plimsoll.signing.fulcio``."""

    def __str__(self) -> str:
        return f"key {self.id[:16]}" if self.kind == "key" else f"{self.subject} ({self.issuer})"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSignature:
    """Somebody signed the image with this digest."""

    identity: Identity
    digest: str
    annotations: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the signer added (``cosign sign -a``); signed."""

    source: str = ""
    """Where it was found, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedAttestation:
    """Somebody said something about the image with this digest."""

    identity: Identity
    digest: str
    predicate_type: str
    """From the signed statement, never from an annotation of the registry."""

    predicate: Any = field(hash=False)
    """The JSON value; a string that holds a JSON object is decoded."""

    statement_type: str = ""
    source: str = ""
    payload: bytes = field(default=b"", repr=False)
    """The signed statement: the exact bytes."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One piece of evidence that proves nothing, and why."""

    reason: str
    source: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All that one authority's word amounts to for one digest."""

    digest: str
    signatures: tuple[VerifiedSignature, ...] = ()
    attestations: tuple[VerifiedAttestation, ...] = ()
    rejections: tuple[Rejection, ...] = ()

    @property
    def signers(self) -> frozenset[str]:
        """The distinct signers (``Identity.id``) of the image: what thresholds count."""
        return frozenset(one.identity.id for one in self.signatures)

    def attestations_of(self, predicate_type: str) -> tuple[VerifiedAttestation, ...]:
        """The attestations of one predicate type (URI)."""
        return tuple(one for one in self.attestations if one.predicate_type == predicate_type)
