"""The servers of keyless signing: Fulcio, Rekor v1 and v2, timestamp authorities (RFC 3161).

What they answer is only taken apart here. Whoever signs verifies the whole bundle before it is
shown to anybody.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, decode_timestamp_response

from plimsoll.http import Http, HttpError, retrying
from plimsoll.http.errors import RETRYABLE_STATUS
from plimsoll.signing.encoding import array, b64decode, b64encode, child, parse_json, text
from plimsoll.signing.errors import InvalidEvidenceError, SigningServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric import ec

    from plimsoll.http import Response
    from plimsoll.signing.dsse import Envelope
    from plimsoll.signing.identitytoken import IdentityToken
    from plimsoll.signing.signingconfig import Service

ANSWER_LIMIT: Final = 1 << 20
_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}
_KEY_DETAILS: Final = "PKIX_ECDSA_P256_SHA_256"
_OK: Final = frozenset({200, 201})


async def request_certificate(
    http: Http, fulcio: Service, key: ec.EllipticCurvePrivateKey, token: IdentityToken
) -> x509.Certificate:
    """Ask Fulcio for a certificate of ``key`` for whom the token names.

    Raises:
        SigningServiceError: if it refuses or fails.
    """
    # Fulcio takes only the key from the request; its signature proves that we hold it.
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .sign(key, hashes.SHA256())
    )
    body = {"certificateSigningRequest": b64encode(request.public_bytes(Encoding.PEM))}
    answer = await _post(
        http,
        "Fulcio",
        f"{fulcio.url}/api/v2/signingCert",
        json.dumps(body).encode(),
        {**_JSON, "Authorization": f"Bearer {token.secret}"},
        hints={
            400: "does its configuration know the issuer of the token, and its audience?",
            401: "the token is of an issuer that it does not trust, has expired, or is for another "
            "audience",
        },
    )
    try:
        obj = parse_json(answer.body, "the answer of Fulcio", ANSWER_LIMIT)
        name = next(
            (
                n
                for n in ("signedCertificateEmbeddedSct", "signedCertificateDetachedSct")
                if n in obj
            ),
            "signedCertificateEmbeddedSct",
        )
        chain = child(child(obj, name, "the answer"), "chain", "the answer")
        pems = array(chain, "certificates", "the answer", 16)
        return x509.load_pem_x509_certificate(str(pems[0]).encode())
    except (InvalidEvidenceError, ValueError, IndexError) as error:
        raise _nonsense("Fulcio", fulcio, error) from None


async def log_signature(
    http: Http, rekor: Service, envelope: Envelope, certificate: x509.Certificate
) -> dict[str, Any]:
    """Write the signature of an envelope into a log.

    Returns:
        The entry as a member of ``tlogEntries`` in bundles.

    Raises:
        SigningServiceError: if the log refuses or fails.
    """
    if rekor.version == 1:
        return await _log_v1(http, rekor, envelope, certificate)
    body = {
        "hashedRekordRequestV002": {
            "digest": b64encode(hashlib.sha256(envelope.signed_bytes).digest()),
            "signature": {
                "content": b64encode(envelope.signatures[0].sig),
                "verifier": {
                    "x509Certificate": {
                        "rawBytes": b64encode(certificate.public_bytes(Encoding.DER))
                    },
                    "keyDetails": _KEY_DETAILS,
                },
            },
        }
    }
    url = f"{rekor.url}/api/v2/log/entries"
    answer = await _post(http, "Rekor", url, json.dumps(body).encode(), _JSON)
    try:
        entry = parse_json(answer.body, "the answer of Rekor", ANSWER_LIMIT)
    except InvalidEvidenceError as error:
        raise _nonsense("Rekor", rekor, error) from None
    return {key: value for key, value in entry.items() if value is not None}


async def _log_v1(
    http: Http, rekor: Service, envelope: Envelope, certificate: x509.Certificate
) -> dict[str, Any]:
    body = {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "proposedContent": {
                "envelope": json.dumps(envelope.to_dict()),
                "verifiers": [b64encode(certificate.public_bytes(Encoding.PEM))],
            }
        },
    }
    url = f"{rekor.url}/api/v1/log/entries"
    answer = await _post(http, "Rekor", url, json.dumps(body).encode(), _JSON)
    try:
        obj = parse_json(answer.body, "the answer of Rekor", ANSWER_LIMIT)
        entry = child(obj, next(iter(obj), ""), "the answer of Rekor")
        verification = child(entry, "verification", "the entry")
        proof = child(verification, "inclusionProof", "the entry")
        hexes = [proof.get("rootHash"), *array(proof, "hashes", "the proof", 64)]
        root, *path = (b64encode(bytes.fromhex(one)) for one in hexes)
        return {
            "logIndex": str(entry["logIndex"]),
            "logId": {"keyId": b64encode(bytes.fromhex(text(entry, "logID", "the entry")))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(entry["integratedTime"]),
            "inclusionPromise": {
                "signedEntryTimestamp": text(verification, "signedEntryTimestamp", "the entry")
            },
            "inclusionProof": {
                "logIndex": str(proof["logIndex"]),
                "rootHash": root,
                "treeSize": str(proof["treeSize"]),
                "hashes": path,
                "checkpoint": {"envelope": text(proof, "checkpoint", "the proof")},
            },
            "canonicalizedBody": b64encode(b64decode(entry.get("body"), "the body")),
        }
    except (InvalidEvidenceError, KeyError, TypeError, ValueError) as error:
        raise _nonsense("Rekor", rekor, error) from None


async def request_timestamp(http: Http, tsa: Service, signature: bytes) -> bytes:
    """Have a signature stamped; the response (DER).

    Raises:
        SigningServiceError: if the authority refuses or fails.
    """
    request = (
        TimestampRequestBuilder()
        .data(signature)
        .hash_algorithm(HashAlgorithm.SHA256)
        .nonce(nonce=True)
        .cert_request(cert_request=True)
        .build()
    )
    headers = {"Content-Type": "application/timestamp-query"}
    answer = await _post(http, "the timestamp authority", tsa.url, request.as_bytes(), headers)
    try:
        response = decode_timestamp_response(answer.body)
    except ValueError as error:
        raise _nonsense("the timestamp authority", tsa, error) from None
    # PKIStatus 0 and 1 grant (RFC 3161 §2.4.2).
    if response.status not in {0, 1} or response.tst_info.nonce != request.nonce:
        raise SigningServiceError(
            f"the timestamp authority at {tsa.url} stamped nothing, or something else"
        )
    return answer.body


async def _post(  # noqa: PLR0913, PLR0917  the parts of one request
    http: Http,
    who: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    hints: Mapping[int, str] | None = None,
) -> Response:
    async def once() -> Response:
        answer = await http.fetch("POST", url, max_size=ANSWER_LIMIT, headers=headers, body=body)
        if answer.status not in _OK:
            raise SigningServiceError(
                f"{who} at {url} answered {answer.status}{_reason(answer)}",
                hint=(hints or {}).get(answer.status),
                retryable=answer.status in RETRYABLE_STATUS,
            )
        return answer

    try:
        return await retrying(once, http.retry)
    except HttpError as error:
        raise SigningServiceError(
            f"{who} cannot be reached: {error.message}",
            hint=error.hint or "is its address in the signing config right?",
            retryable=error.retryable,
        ) from None


def _reason(answer: Response) -> str:
    """What a refusal says, where it is the JSON of these servers."""
    try:
        message = json.loads(answer.body)["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    # A server that repeats what it was sent must not put it into our log.
    printable = "".join(c for c in str(message) if c.isprintable())[:300]
    return "" if "eyJ" in printable else f": {printable}"


def _nonsense(who: str, service: Service, error: Exception) -> SigningServiceError:
    detail = getattr(error, "message", None) or str(error)
    return SigningServiceError(
        f"{who} at {service.url} answered what cannot be read: {detail[:200]}",
        hint="is the address in the signing config that of such a server?",
    )
