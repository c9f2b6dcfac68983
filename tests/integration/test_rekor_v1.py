"""Writing to a log of version 1: a small one that signs what it takes, as Rekor v1 does."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from miniature_sigstore import ISSUER, SUBJECT, MiniatureSigstore, new_key
from plimsoll.http import NO_RETRY, Http, RetryPolicy
from plimsoll.signing.bundle import Bundle, Material
from plimsoll.signing.dsse import IN_TOTO, Envelope, EnvelopeSignature, pae
from plimsoll.signing.errors import SigningServiceError
from plimsoll.signing.identities import IdentityRule
from plimsoll.signing.keyless import KeylessAuthority, Witnesses
from plimsoll.signing.services import log_signature
from plimsoll.signing.signingconfig import Service
from plimsoll.signing.statement import COSIGN_SIGN, build_statement
from plimsoll.signing.trustroot import TrustRoot
from plimsoll.signing.verify import verify_bundle

pytestmark = pytest.mark.integration

DIGEST = f"sha256:{'2' * 64}"


def hexed(text):
    return base64.b64decode(text).hex()


class Log:
    """Answers as ``POST /api/v1/log/entries`` of Rekor does."""

    def __init__(self, sigstore):
        self.sigstore = sigstore
        self.refusals = []

    async def add(self, request):
        if self.refusals:
            return web.json_response({"message": "no"}, status=self.refusals.pop(0))
        spec = (await request.json())["spec"]["proposedContent"]
        envelope = json.loads(spec["envelope"])
        payload = base64.b64decode(envelope["payload"])
        digest = hashlib.sha256(payload).hexdigest()
        (signature,) = (one["sig"] for one in envelope["signatures"])
        entry = self.sigstore.entry(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "payloadHash": {"algorithm": "sha256", "value": digest},
                    "signatures": [{"signature": signature, "verifier": spec["verifiers"][0]}],
                },
            }
        )
        proof = entry["inclusionProof"]
        answer = {
            "body": entry["canonicalizedBody"],
            "integratedTime": int(entry["integratedTime"]),
            "logID": hexed(entry["logId"]["keyId"]),
            "logIndex": int(entry["logIndex"]),
            "verification": {
                "signedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
                "inclusionProof": {
                    "checkpoint": proof["checkpoint"]["envelope"],
                    "hashes": [hexed(one) for one in proof["hashes"]],
                    "logIndex": int(proof["logIndex"]),
                    "rootHash": hexed(proof["rootHash"]),
                    "treeSize": int(proof["treeSize"]),
                },
            },
        }
        return web.json_response({"24296fb24b8ad77a": answer}, status=201)


@pytest.fixture
async def log():
    found = Log(MiniatureSigstore())
    app = web.Application()
    app.router.add_post("/api/v1/log/entries", found.add)
    async with TestServer(app) as server:
        found.service = Service(url=str(server.make_url("")).rstrip("/"), version=1)
        yield found


def signed(log):
    key = new_key()
    certificate = log.sigstore.certificate(
        key, subjects=(x509.UniformResourceIdentifier(SUBJECT),), sct=True
    )
    statement = build_statement(DIGEST, COSIGN_SIGN, {})
    signature = key.sign(pae(IN_TOTO, statement), ec.ECDSA(hashes.SHA256()))
    return Envelope(statement, IN_TOTO, (EnvelopeSignature(signature),)), certificate


async def test_a_promise_and_a_proof_come_back(log):
    envelope, certificate = signed(log)
    log.refusals = [503]
    async with Http(retry=RetryPolicy(attempts=2, base=0.01)) as http:
        entry = await log_signature(http, log.service, envelope, certificate)
    material = Material(
        certificates=(certificate.public_bytes(Encoding.DER),), tlog_entries=(entry,)
    )
    authority = KeylessAuthority(
        witnesses=Witnesses(root=TrustRoot.parse(log.sigstore.trusted_root())),
        identity=IdentityRule.of(subject=SUBJECT, issuer=ISSUER),
    )
    data = Bundle(content=envelope, material=material).to_json()
    assert verify_bundle(data, DIGEST, authority, source="test").identity.subject == SUBJECT


async def test_refusals(log):
    envelope, certificate = signed(log)
    async with Http(retry=NO_RETRY) as http:
        for status, again in ((400, False), (409, False), (503, True)):
            log.refusals = [status]
            with pytest.raises(SigningServiceError, match=f"answered {status}: no") as failure:
                await log_signature(http, log.service, envelope, certificate)
            assert failure.value.retryable is again
