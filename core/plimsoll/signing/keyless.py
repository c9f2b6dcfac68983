"""Authorities that need a trust root: short-lived certificates, logged keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.serialization import Encoding

from plimsoll.signing.authority import KeyAuthority, Signed, key_identity
from plimsoll.signing.certificate import (
    build_path,
    certificate_key,
    check_leaf,
    check_transparency,
    load_certificate,
    names,
)
from plimsoll.signing.errors import InvalidKeyError, RejectedError
from plimsoll.signing.fulcio import certificate_identity
from plimsoll.signing.logbody import check_body
from plimsoll.signing.rekor import LogEntry, verify_entry
from plimsoll.signing.timestamp import VerifiedTime, verify_timestamps

if TYPE_CHECKING:
    from plimsoll.signing.keys import HashName
    from plimsoll.signing.results import Identity
    from plimsoll.signing.trustroot import TrustRoot


class IdentityMatcher(Protocol):
    """Says whether an identity is one of those that may sign."""

    def __call__(self, identity: Identity) -> bool:
        """Whether it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """What must vouch for a signature beside its key.

    The defaults follow the trust root: a log entry if it has logs; time from a timestamp
    authority or from a log's signed entry timestamp.
    """

    root: TrustRoot
    log_entries: int | None = None
    """How many distinct logs must hold the signature. Default: one, if the root has any."""

    timestamps: int = 0
    """How many distinct timestamp authorities must have stamped it."""

    def times(
        self, signed: Signed, key_spki: bytes, certificate: bytes | None
    ) -> tuple[VerifiedTime, ...]:
        """Verify all that came with a signature; the times that are proven by it.

        Raises:
            RejectedError: if a log entry does not verify, or there are too few witnesses.
            InvalidEvidenceError: if something is malformed.
        """
        stamps = verify_timestamps(
            signed.material.timestamps, signed.signature, self.root.timestamp_authorities
        )
        if len(stamps) < self.timestamps:
            raise RejectedError(
                f"{len(stamps)} trusted timestamp authorities stamped it, not {self.timestamps}"
            )
        logs: set[bytes] = set()
        times = list(stamps)
        for obj in signed.material.tlog_entries if self.root.tlogs else ():
            entry = LogEntry.parse(obj, version=signed.material.version)
            log, moment = verify_entry(entry, self.root.tlogs)
            check_body(entry.body, entry.kind, signed, key_spki, certificate)
            logs.add(log.log_id)
            if moment is not None:
                times.append(VerifiedTime(moment, f"log {log.log_id.hex()[:16]}"))
        wanted = self.log_entries
        if wanted is None:
            wanted = 1 if self.root.tlogs else 0
        if len(logs) < wanted:
            raise RejectedError(
                f"it is in {len(logs)} trusted transparency logs, not in {wanted}"
                if logs or wanted > 1
                else "it is in no trusted transparency log"
            )
        return tuple(times)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeylessAuthority:
    """Trusts signatures by short-lived certificates of the right identities (Fulcio)."""

    witnesses: Witnesses
    identity: IdentityMatcher
    require_sct: bool = True
    """Demand that a certificate transparency log vouches for the certificate."""

    hash_algorithm: HashName | None = None
    """The only hash that signatures may be made over. Default: what fits the certificate's key."""

    def identify(self, signed: Signed) -> Identity:
        """See ``Authority.identify``."""
        if not signed.material.certificates:
            raise RejectedError("it is signed by a bare key, not by a certificate")
        bundled = [load_certificate(der) for der in signed.material.certificates]
        leaf = bundled[0]
        if any(issuer == subject for issuer, subject in map(names, bundled[1:])):
            raise RejectedError("the chain that came with it contains a root certificate")
        key = certificate_key(leaf)
        if self.hash_algorithm is not None:
            key = replace(key, hash_algorithms=(self.hash_algorithm,))
        check_leaf(leaf)
        KeyAuthority((key,)).signer(signed)
        times = self.witnesses.times(signed, key.der, leaf.public_bytes(Encoding.DER))
        if not times:
            raise RejectedError("nothing proves when it was signed")
        for time in times:
            path = build_path(
                leaf, bundled[1:], self.witnesses.root.certificate_authorities, time.moment
            )
            if self.require_sct:
                check_transparency(path, self.witnesses.root.ctlogs)
        found = certificate_identity(leaf)
        if not self.identity(found):
            raise RejectedError(f"it is signed by {found}, who is not trusted here")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedKeyAuthority:
    """Trusts keys whose signatures are also logged, or stamped."""

    keys: KeyAuthority
    witnesses: Witnesses
    valid_from: datetime | None = None
    """The keys' own window; checked at the proven times, else now."""

    valid_until: datetime | None = None

    def __post_init__(self) -> None:
        start, end = self.valid_from, self.valid_until
        if start is not None and end is not None and start > end:
            raise InvalidKeyError("the key's validity ends before it starts")

    def identify(self, signed: Signed) -> Identity:
        """See ``Authority.identify``."""
        key = self.keys.signer(signed)
        times = self.witnesses.times(signed, key.der, None)
        for moment in [time.moment for time in times] or [datetime.now(UTC)]:
            early = self.valid_from is not None and moment < self.valid_from
            late = self.valid_until is not None and moment > self.valid_until
            if early or late:
                raise RejectedError(f"the key is not trusted at {moment.isoformat()}")
        return key_identity(key)
