"""Another implementation judges the same bundles: nothing may pass here that it refuses.

sigstore-python is the reference client of its language. Where it refuses what the conformance
suite accepts, the case is named with the reason.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random

import pytest
from sigstore.hashes import Hashed
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity
from sigstore_models.common.v1 import HashAlgorithm

from plimsoll.errors import Error
from plimsoll.signing.identities import IdentityRule
from plimsoll.signing.keyless import KeylessAuthority, Witnesses
from plimsoll.signing.trustroot import TrustRoot
from plimsoll.signing.verify import verify_bundle
from shared_data import DATA, shared

INDEX = DATA / "sigstore" / "index.json"
CASES = [
    case
    for suite in ("conformance", "sigstore_python")
    for case in (json.loads(INDEX.read_text())[suite] if INDEX.exists() else ())
    if case.get("artifact")
    and case.get("identity")
    and "key" not in case
    and "timestamp_authority" not in case
    and "removed" not in case.get("note", "")
]
GOOD = [case for case in CASES if case["expect"] == "pass"]
#: Accepted by the conformance suite and here, refused by sigstore-python 4.5.
KNOWN = {"intoto-with-custom-trust-root": "it reads no time from intoto entries"}


def read(name):
    return (shared("sigstore") / name).read_bytes()


def ours(case, data):
    rule = IdentityRule.of(subject=case["identity"], issuer=case["issuer"])
    witnesses = Witnesses(root=TrustRoot.parse(read(case["trusted_root"])))
    authority = KeylessAuthority(witnesses=witnesses, identity=rule)
    artifact = read(case["artifact"])
    digest = f"sha256:{hashlib.sha256(artifact).hexdigest()}"
    try:
        verify_bundle(data, digest, authority, artifact=artifact, source="b")
    except Error as error:
        return error.message
    return None


def theirs(case, data):
    verifier = Verifier(
        trusted_root=TrustedRoot.from_file(str(shared("sigstore") / case["trusted_root"]))
    )
    policy = Identity(identity=case["identity"], issuer=case["issuer"])
    digest = hashlib.sha256(read(case["artifact"])).digest()
    try:
        bundle = Bundle.from_json(data)
        if bundle._dsse_envelope is None:
            hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=digest)
            verifier.verify_artifact(hashed, bundle, policy)
        else:
            _, payload = verifier.verify_dsse(bundle, policy)
            subjects = json.loads(payload)["subject"]
            assert digest.hex() in {one["digest"]["sha256"] for one in subjects}
    except Exception as error:  # noqa: BLE001  whatever it is, it is a refusal
        return str(error) or type(error).__name__
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_the_same_verdict(case):
    data = read(case["bundle"])
    agreed = (ours(case, data) is None) == (theirs(case, data) is None)
    assert agreed != (case["case"] in KNOWN)


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))
    else:
        yield path


def spoil(value, choose):
    if not isinstance(value, str) or not value:
        return choose.choice([None, 0, "", "x", [], {}])
    try:
        raw = bytearray(base64.b64decode(value, validate=True))
    except ValueError:
        raw = bytearray()
    if raw and choose.random() < 0.7:
        raw[choose.randrange(len(raw))] ^= 1 << choose.randrange(8)
        return base64.b64encode(raw).decode()
    place = choose.randrange(len(value))
    return value[:place] + choose.choice("0aZ/ ") + value[place + choose.randrange(2) :]


@pytest.mark.parametrize(
    "case", [case for case in GOOD if case["case"] not in KNOWN], ids=lambda case: case["case"]
)
def test_nothing_passes_that_the_other_refuses(case):
    choose = random.Random(case["case"])
    whole = json.loads(read(case["bundle"]))
    for path in list(leaves(whole)) * 3:
        changed = json.loads(json.dumps(whole))
        parent = changed
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = spoil(parent[path[-1]], choose)
        data = json.dumps(changed).encode()
        if ours(case, data) is None:
            assert theirs(case, data) is None, f"{path}: {parent[path[-1]]!r}"
