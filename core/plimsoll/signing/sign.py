"""Making signatures and attestations that cosign verifies.

A signature of an image is, as with cosign 3, a statement v1 with the predicate type
``https://sigstore.dev/cosign/sign/v1`` and an empty predicate; what ``cosign sign -a`` adds stands
in the subject's annotations.

Nothing is written to a transparency log. The real cosign v3 verifies such signatures offline with

    cosign verify --key cosign.pub --insecure-ignore-tlog=true IMAGE
    cosign verify-attestation --key cosign.pub --insecure-ignore-tlog=true --type spdxjson IMAGE

and makes them itself with ``--signing-config FILE``, where the file names no services:
``{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plimsoll.signing.bundle import Bundle, Material
from plimsoll.signing.dsse import IN_TOTO, Envelope, EnvelopeSignature, pae
from plimsoll.signing.legacy import build_payload
from plimsoll.signing.statement import COSIGN_SIGN, build_statement, predicate_type_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.signing.privatekey import Signer


def sign_statement(signer: Signer, statement: bytes) -> Bundle:
    """Sign the exact bytes of an in-toto statement."""
    signature = signer.sign(pae(IN_TOTO, statement))
    return Bundle(
        content=Envelope(statement, IN_TOTO, (EnvelopeSignature(signature),)),
        material=Material(key_hint=signer.public.hint),
    )


def sign_image(
    signer: Signer, digest: str, *, annotations: Mapping[str, str] | None = None
) -> Bundle:
    """Sign an image or index.

    Args:
        signer: the key.
        digest: of the manifest: ``sha256:…``.
        annotations: signed with it; policies may ask for them.
    """
    return sign_statement(signer, build_statement(digest, COSIGN_SIGN, {}, annotations=annotations))


def attest(
    signer: Signer, digest: str, predicate_type: str, predicate: Any, *, name: str = ""
) -> Bundle:
    """Attest something about an image or index.

    Args:
        signer: the key.
        digest: of the manifest: ``sha256:…``.
        predicate_type: a URI, or a short name as ``spdxjson`` or ``slsaprovenance1``.
        predicate: a JSON object.
        name: of the subject: the repository, for people.

    Raises:
        InvalidEvidenceError: if ``predicate_type`` is no predicate type.
    """
    kind = predicate_type_of(predicate_type)
    return sign_statement(signer, build_statement(digest, kind, predicate, name=name))


def sign_legacy(
    signer: Signer, repository: str, digest: str, *, annotations: Mapping[str, str] | None = None
) -> tuple[bytes, bytes]:
    """A simple signing payload and the signature over it, for ``.sig`` tags."""
    payload = build_payload(repository, digest, annotations)
    return payload, signer.sign(payload)
