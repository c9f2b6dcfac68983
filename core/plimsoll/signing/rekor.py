"""Entries of the transparency log Rekor: that they are in the log.

v1: signed entry timestamp over the canonical entry (RFC 8785); inclusion proof (RFC 6962 §2.1.1)
against a checkpoint (C2SP tlog-checkpoint). v2: proof and checkpoint only. What an entry says is
judged in ``plimsoll.signing.logbody``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

from plimsoll.signing.encoding import array, b64decode, b64encode, child, text
from plimsoll.signing.errors import InvalidEvidenceError, RejectedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.signing.trustroot import LogKey

_HASHES_LIMIT: Final = 64
_NOTE_LIMIT: Final = 64 << 10
_SIGNATURE_LIMIT: Final = 32
_MARK: Final = "—"
_HINT_SIZE: Final = 4
_MAX_INT: Final = (1 << 63) - 1
#: Years beyond this are nonsense, and beyond what ``datetime`` can hold.
_MAX_TIME: Final = 253402300799


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """Where in the tree an entry stands."""

    index: int
    size: int
    root: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry as a bundle or annotation carries it; nothing of it is verified."""

    log_id: bytes
    index: int
    integrated_time: int
    """Seconds since 1970; only worth something with a signed entry timestamp; 0 in v2."""

    body: bytes
    kind: tuple[str, str] | None = None
    """Kind and version that the bundle says the body is of; a hint that must agree."""

    promise: bytes = b""
    """The signed entry timestamp."""

    proof: InclusionProof | None = None

    @classmethod
    def parse(cls, obj: dict[str, Any], *, version: str) -> LogEntry:
        """Read a ``tlogEntries`` member of a bundle of this version, or ``{"legacy": …}``.

        Raises:
            InvalidEvidenceError: if it is malformed, or lacks what the version demands.
        """
        if "legacy" in obj:
            return _legacy(obj["legacy"])
        proof = obj.get("inclusionProof")
        promise = obj.get("inclusionPromise")
        kind = child(obj, "kindVersion", "the log entry")
        entry = cls(
            log_id=b64decode(child(obj, "logId", "the log entry").get("keyId"), "the log's id"),
            index=_integer(obj.get("logIndex"), "the log index"),
            integrated_time=_integer(obj.get("integratedTime") or 0, "the integrated time"),
            body=b64decode(obj.get("canonicalizedBody"), "the body of the log entry"),
            kind=(text(kind, "kind", "the log entry"), text(kind, "version", "the log entry")),
            promise=b64decode(
                child(obj, "inclusionPromise", "the log entry").get("signedEntryTimestamp"),
                "the signed entry timestamp",
            )
            if promise
            else b"",
            proof=_proof(child(obj, "inclusionProof", "the log entry")) if proof else None,
        )
        if version == "0.1" and not entry.promise:
            raise InvalidEvidenceError("a log entry of a v0.1 bundle has no inclusion promise")
        if version not in {"", "0.1"} and entry.proof is None:
            raise InvalidEvidenceError("the log entry has no inclusion proof")
        return entry


def verify_entry(entry: LogEntry, logs: Iterable[LogKey]) -> tuple[LogKey, datetime | None]:
    """Check that a trusted log holds the entry.

    Returns:
        The log, and the time at which it took the entry in where it signed that.

    Raises:
        RejectedError: if no trusted log does.
    """
    known = [log for log in logs if log.log_id == entry.log_id]
    if not known:
        raise RejectedError("the entry is of a transparency log that is not trusted")
    reason = ""
    for log in known:
        try:
            return log, _verify_in(entry, log)
        except RejectedError as error:
            reason = error.message
    raise RejectedError(reason)


def _verify_in(entry: LogEntry, log: LogKey) -> datetime | None:
    moment: datetime | None = None
    if entry.promise:
        moment = datetime.fromtimestamp(entry.integrated_time, UTC)
        if moment not in log.valid_for:
            raise RejectedError(f"the log's key is not trusted at {moment.isoformat()}")
        _verify_promise(entry, log)
    if entry.proof is not None:
        _verify_proof(entry.body, entry.proof)
        _verify_checkpoint(entry.proof, log)
    if entry.proof is None and moment is None:
        raise RejectedError("the log entry has neither a promise nor a proof of inclusion")
    return moment


def _verify_promise(entry: LogEntry, log: LogKey) -> None:
    payload = rfc8785.dumps(
        {
            "body": b64encode(entry.body),
            "integratedTime": entry.integrated_time,
            "logID": entry.log_id.hex(),
            "logIndex": entry.index,
        }
    )
    if not _by_log(log, entry.promise, payload):
        raise RejectedError("the signed entry timestamp is not by the log")


def _verify_proof(body: bytes, proof: InclusionProof) -> None:
    if proof.index >= proof.size:
        raise RejectedError("the inclusion proof is for an entry outside of the tree")
    inner = (proof.index ^ (proof.size - 1)).bit_length()
    border = (proof.index >> inner).bit_count()
    if len(proof.hashes) != inner + border:
        raise RejectedError("the inclusion proof has the wrong length")
    node = hashlib.sha256(b"\x00" + body).digest()
    for level, sibling in enumerate(proof.hashes):
        left = level >= inner or (proof.index >> level) & 1
        pair = sibling + node if left else node + sibling
        node = hashlib.sha256(b"\x01" + pair).digest()
    if node != proof.root:
        raise RejectedError("the inclusion proof does not lead to the root of the tree")


def _verify_checkpoint(proof: InclusionProof, log: LogKey) -> None:
    body, separator, tail = proof.checkpoint.partition("\n\n")
    lines = body.split("\n")
    if not separator or len(lines) < 3 or not lines[0]:
        raise RejectedError("the checkpoint is malformed")
    try:
        root = b64decode(lines[2], "the root hash of the checkpoint")
    except InvalidEvidenceError as error:
        raise RejectedError(error.message) from None
    if lines[1] != str(proof.size) or root != proof.root:
        raise RejectedError("the checkpoint is of another tree than the inclusion proof")
    signed = f"{body}\n".encode()
    for line in tail.split("\n")[:_SIGNATURE_LIMIT]:
        if _note_signature(line, signed, log):
            return
    raise RejectedError("the checkpoint is not signed by the log")


def _note_signature(line: str, signed: bytes, log: LogKey) -> bool:
    mark, name, encoded = (*line.split(" "), "", "", "")[:3]
    if mark != _MARK or not name or line.count(" ") != 2:
        return False
    try:
        data = b64decode(encoded, "a signature of the checkpoint")
    except InvalidEvidenceError:
        return False
    hint = log.log_id[:_HINT_SIZE]
    return data[:_HINT_SIZE] == hint and _by_log(log, data[_HINT_SIZE:], signed)


def _by_log(log: LogKey, signature: bytes, data: bytes) -> bool:
    try:
        if isinstance(log.key, ed25519.Ed25519PublicKey):
            log.key.verify(signature, data)
        elif isinstance(log.key, ec.EllipticCurvePublicKey):
            log.key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        else:
            log.key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _proof(obj: dict[str, Any]) -> InclusionProof:
    where = "the inclusion proof"
    checkpoint = obj.get("checkpoint")
    if not isinstance(checkpoint, dict):
        raise InvalidEvidenceError("the inclusion proof has no checkpoint")
    envelope = text(checkpoint, "envelope", "the checkpoint")
    if len(envelope) > _NOTE_LIMIT:
        raise InvalidEvidenceError("the checkpoint is too long")
    siblings: Sequence[Any] = array(obj, "hashes", where, _HASHES_LIMIT)
    decoded = tuple(b64decode(one, f"a hash of {where}") for one in siblings)
    root = b64decode(obj.get("rootHash"), f"the root of {where}")
    if any(len(one) != hashlib.sha256().digest_size for one in (root, *decoded)):
        raise InvalidEvidenceError(f"a hash of {where} has the wrong length")
    return InclusionProof(
        index=_integer(obj.get("logIndex") or 0, f"the index of {where}"),
        size=_integer(obj.get("treeSize"), f"the tree size of {where}"),
        root=root,
        hashes=decoded,
        checkpoint=envelope,
    )


def _legacy(obj: dict[str, Any]) -> LogEntry:
    payload = child(obj, "Payload", "the log annotation")
    try:
        log_id = bytes.fromhex(text(payload, "logID", "the log annotation"))
    except ValueError:
        raise InvalidEvidenceError("the log id of the annotation is not hexadecimal") from None
    promise = b64decode(obj.get("SignedEntryTimestamp"), "the signed entry timestamp")
    if not promise:
        raise InvalidEvidenceError("the log annotation has no signed entry timestamp")
    return LogEntry(
        log_id=log_id,
        index=_integer(payload.get("logIndex"), "the log index"),
        integrated_time=_integer(payload.get("integratedTime"), "the integrated time"),
        body=b64decode(payload.get("body"), "the body of the log entry"),
        promise=promise,
    )


def _integer(value: Any, what: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    limit = _MAX_TIME if "time" in what else _MAX_INT
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
        raise InvalidEvidenceError(f"{what} is no number of the right size")
    return value
