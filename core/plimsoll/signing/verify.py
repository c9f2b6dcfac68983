"""Verification: evidence and an authority in, proven facts and reasons out.

Pure: no network, no clock but the one that an authority brings. Whatever is malformed or does not
prove what it should is a ``Rejection``, never an exception, so that one bad attachment cannot hide
a good one, nor stop the decision.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from plimsoll.errors import Error
from plimsoll.signing.authority import Authority, Signed
from plimsoll.signing.bundle import Bundle, Material, MessageSignature
from plimsoll.signing.dsse import IN_TOTO, Envelope
from plimsoll.signing.encoding import b64decode, parse_json
from plimsoll.signing.errors import RejectedError
from plimsoll.signing.items import BundleItem, Evidence, EvidenceItem, LegacySignatureItem
from plimsoll.signing.legacy import SIGNATURE, SimplePayload, material_of
from plimsoll.signing.results import (
    Rejection,
    Verdict,
    VerifiedAttestation,
    VerifiedSignature,
)
from plimsoll.signing.statement import COSIGN_SIGN, Statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.signing.results import Identity

Fact = VerifiedSignature | VerifiedAttestation

#: Bytes of a DSSE envelope in a legacy attestation.
ENVELOPE_LIMIT: Final = 96 << 20
_SHA256_SIZE: Final = 32


def verify(evidence: Evidence, digest: str, authority: Authority) -> Verdict:
    """Judge all evidence of one image by one authority.

    Args:
        evidence: what was found; see ``plimsoll.signing.evidence.discover``.
        digest: of the image that is going to run (``sha256:…``). Evidence that speaks of another
            digest proves nothing, wherever it was attached.
        authority: whose word counts.

    Returns:
        What is proven; everything else with the reason why not. An empty verdict is no error:
        deciding what is enough is the caller's.
    """
    signatures: list[VerifiedSignature] = []
    attestations: list[VerifiedAttestation] = []
    rejections = list(evidence.rejections)
    for item in evidence.items:
        try:
            facts = list(_facts(item, digest, authority))
        except Error as error:
            rejections.append(Rejection(error.message, item.source))
            continue
        for fact in facts:
            if isinstance(fact, Rejection):
                rejections.append(fact)
            elif isinstance(fact, VerifiedSignature):
                signatures.append(fact)
            else:
                attestations.append(fact)
    return Verdict(
        digest=digest,
        signatures=tuple(signatures),
        attestations=tuple(attestations),
        rejections=tuple(rejections),
    )


def verify_bundle(
    data: bytes, digest: str, authority: Authority, *, artifact: bytes | None = None, source: str
) -> Fact:
    """Judge one bundle about an artifact with the given digest.

    Args:
        data: the bundle.
        digest: of the artifact (``sha256:…``).
        authority: whose word counts.
        artifact: the artifact itself, where it is at hand: some keys cannot verify without it.
        source: names the bundle in the result.

    Raises:
        InvalidEvidenceError: if the bundle is malformed.
        RejectedError: if it does not prove anything about the artifact.
    """
    bundle = Bundle.parse(data)
    if isinstance(bundle.content, Envelope):
        envelope = bundle.content
        signed = _signed(envelope, envelope.signatures[0].sig, bundle.material)
        return _statement_fact(envelope, authority.identify(signed), digest, source)
    signed = _message(bundle.content, digest, artifact, bundle.material)
    return VerifiedSignature(identity=authority.identify(signed), digest=digest, source=source)


def _facts(item: EvidenceItem, digest: str, authority: Authority) -> Iterator[Fact | Rejection]:
    if isinstance(item, BundleItem):
        yield verify_bundle(item.data, digest, authority, source=item.source)
    elif isinstance(item, LegacySignatureItem):
        yield _simple_signature(item, digest, authority)
    else:
        obj = parse_json(item.envelope, "the DSSE envelope", ENVELOPE_LIMIT)
        envelope = Envelope.from_dict(obj)
        material = material_of(item.annotations)
        counted: set[str] = set()
        for one in envelope.signatures:
            try:
                identity = authority.identify(_signed(envelope, one.sig, material))
                if identity.id in counted:
                    continue
                fact = _statement_fact(envelope, identity, digest, item.source)
            except Error as error:
                yield Rejection(error.message, item.source)
            else:
                counted.add(identity.id)
                yield fact


def _simple_signature(
    item: LegacySignatureItem, digest: str, authority: Authority
) -> VerifiedSignature:
    signature = b64decode(item.annotations.get(SIGNATURE), "the signature annotation")
    signed = Signed(
        signature=signature, message=item.payload, material=material_of(item.annotations)
    )
    identity = authority.identify(signed)
    payload = SimplePayload.parse(item.payload)
    if payload.digest != digest:
        raise RejectedError(f"it signs another image: {payload.digest[:100]}")
    return VerifiedSignature(
        identity=identity, digest=digest, annotations=payload.annotations, source=item.source
    )


def _signed(envelope: Envelope, signature: bytes, material: Material) -> Signed:
    if envelope.payload_type != IN_TOTO:
        raise RejectedError(f"the envelope holds {envelope.payload_type[:80]!r}, no statement")
    return Signed(
        signature=signature,
        message=envelope.signed_bytes,
        envelope=envelope,
        material=material,
    )


def _statement_fact(envelope: Envelope, identity: Identity, digest: str, source: str) -> Fact:
    statement = Statement.parse(envelope.payload)
    subject = statement.subject_of(digest)
    if subject is None:
        named = [f"{name}:{value}" for name, value in statement.subjects[0].digest.items()]
        raise RejectedError(f"it speaks of another image: {', '.join(named)[:200]}")
    if statement.predicate_type == COSIGN_SIGN:
        return VerifiedSignature(
            identity=identity, digest=digest, annotations=subject.annotations, source=source
        )
    return VerifiedAttestation(
        identity=identity,
        digest=digest,
        predicate_type=statement.predicate_type,
        predicate=statement.predicate,
        statement_type=statement.type,
        source=source,
        payload=envelope.payload,
    )


def _message(
    content: MessageSignature, digest: str, artifact: bytes | None, material: Material
) -> Signed:
    algorithm, _, encoded = digest.partition(":")
    if algorithm != "sha256":
        raise RejectedError(f"a message signature cannot be checked with a {algorithm} digest")
    sha256 = bytes.fromhex(encoded)
    if artifact is not None and hashlib.sha256(artifact).digest() != sha256:
        raise RejectedError("the artifact does not have the digest")
    if content.algorithm == "SHA2_256" and content.digest != sha256:
        raise RejectedError(f"it signs another artifact: sha256:{content.digest.hex()}")
    if content.algorithm not in {"", "SHA2_256"}:
        if artifact is None:
            raise RejectedError(f"it is made over {content.algorithm}; the artifact is needed")
        name = content.algorithm.replace("SHA2_", "sha")
        if hashlib.new(name, artifact).digest() != content.digest:
            raise RejectedError("messageDigest is not that of the artifact")
    return Signed(signature=content.signature, message=artifact, sha256=sha256, material=material)
