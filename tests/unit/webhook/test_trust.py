"""Trust roots: each way to give one, and what an authority makes of them."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
import yaml
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyless_bundles import keyless_bundle, logged_key_bundle
from miniature_sigstore import ISSUER, SUBJECT, MiniatureSigstore
from plimsoll.api.trustroot import read_trust_root_spec
from plimsoll.signing.items import BundleItem, Evidence
from plimsoll.signing.privatekey import generate_key
from plimsoll.signing.verify import verify
from plimsoll.webhook.authorities import Secrets
from plimsoll.webhook.needs import Needs, needs_of
from plimsoll.webhook.policies import compile_policy
from plimsoll.webhook.roots import TrustRoots, load_root
from plimsoll.webhook.trust import KnownRoots, LoadedRoot, local_root, parsed_root, public_root
from shared_data import shared
from tuf_repository import TufRepository

GROUP = "plimsoll.dev"
IMAGE = "sha256:" + "a" * 64
WHO = {"issuer": ISSUER, "subject": SUBJECT}


def pem_text(data):
    return base64.b64encode(data).decode()


def public_pem(key):
    return pem_text(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def chain_pem(sigstore):
    chain = (sigstore.issuer.certificate, sigstore.root.certificate)
    return b"".join(one.public_bytes(Encoding.PEM) for one in chain)


def keys_spec(sigstore, **changes):
    return {
        "sigstoreKeys": {
            "certificateAuthorities": [{"certChain": pem_text(chain_pem(sigstore))}],
            "tLogs": [
                {"baseURL": "https://log.example", "publicKey": public_pem(sigstore.log_key)}
            ],
            "ctLogs": [{"publicKey": public_pem(sigstore.ct_key)}],
            **changes,
        }
    }


def load(spec):
    return local_root(read_trust_root_spec(spec))


def roots(**named):
    return KnownRoots({(GROUP, name): loaded for name, loaded in named.items()})


def keyless(*identities, **fields):
    fields = {"trustRootRef": "r", "identities": list(identities or [WHO]), **fields}
    return {"keyless": fields}


def policy(*authorities, trust, **fields):
    spec = {"images": [{"glob": "**"}], "authorities": list(authorities), **fields}
    return compile_policy("p", spec, Secrets("own", {}), trust=trust)


def signed_for(compiled, *bundles):
    assert not compiled.fault
    items = tuple(BundleItem(f"b{n}", data) for n, data in enumerate(bundles))
    evidence = Evidence(digest=IMAGE, repository="r", items=items)
    return verify(evidence, IMAGE, compiled.authorities[0].trusted)


@pytest.fixture(scope="module")
def sigstore():
    return MiniatureSigstore()


@pytest.fixture(params=["trustedRoot", "sigstoreKeys", "repository"])
def loaded(request, sigstore):
    data = sigstore.trusted_root()
    if request.param == "trustedRoot":
        return load({"trustedRoot": data.decode()})
    if request.param == "sigstoreKeys":
        return load(keys_spec(sigstore))
    made = TufRepository(data)
    return load({"repository": {"root": made.root, "mirrorFS": made.mirror()}})


def test_every_local_kind_of_root_verifies_the_same(loaded, sigstore):
    assert not loaded.fault
    compiled = policy(keyless(), trust=roots(r=loaded))
    assert signed_for(compiled, keyless_bundle(sigstore, IMAGE)).signatures
    stranger = MiniatureSigstore()
    assert not signed_for(compiled, keyless_bundle(stranger, IMAGE)).signatures


@pytest.mark.parametrize(
    ("identity", "passes"),
    [
        (WHO, True),
        ({"issuerRegExp": "^https://token", "subjectRegExp": "/team/app/"}, True),
        ({"issuer": ISSUER, "subjectRegExp": ".*"}, True),
        ({"issuer": "https://other.example", "subject": SUBJECT}, False),
        ({"issuer": ISSUER, "subject": SUBJECT + "x"}, False),
        ({"issuer": ISSUER, "subject": SUBJECT[:-1]}, False),
        ({"issuer": ISSUER, "subjectRegExp": "^https://evil"}, False),
        ({"issuerRegExp": "^http://", "subject": SUBJECT}, False),
        # Where text and pattern are given, both must hold.
        ({**WHO, "subjectRegExp": "^https://evil"}, False),
        ({**WHO, "issuerRegExp": "^https://evil"}, False),
        ({**WHO, "subjectRegExp": "team", "issuerRegExp": "token"}, True),
    ],
)
def test_each_part_of_an_identity_restricts(sigstore, identity, passes):
    trust = roots(r=parsed_root(sigstore.trusted_root()))
    compiled = policy(keyless(identity), trust=trust)
    assert bool(signed_for(compiled, keyless_bundle(sigstore, IMAGE)).signatures) is passes


def test_any_identity_of_the_list_is_enough(sigstore):
    trust = roots(r=parsed_root(sigstore.trusted_root()))
    other = {"issuer": "https://other.example", "subject": "x"}
    compiled = policy(keyless(other, WHO), trust=trust)
    assert signed_for(compiled, keyless_bundle(sigstore, IMAGE)).signatures


def test_a_certificate_needs_its_proof_of_transparency_unless_told_otherwise(sigstore):
    trust = roots(r=parsed_root(sigstore.trusted_root()))
    bare = keyless_bundle(sigstore, IMAGE, sct=False)
    assert not signed_for(policy(keyless(), trust=trust), bare).signatures
    lenient = policy(keyless(insecureIgnoreSCT=True), trust=trust)
    assert signed_for(lenient, bare).signatures


def test_a_keyless_signature_needs_the_log(sigstore):
    trust = roots(r=parsed_root(sigstore.trusted_root()))
    unlogged = keyless_bundle(sigstore, IMAGE, logged=False)
    for authority in (keyless(), keyless() | {"ctlog": {"trustRootRef": "r"}}):
        verdict = signed_for(policy(authority, trust=trust), unlogged)
        assert not verdict.signatures
        assert "transparency log" in verdict.rejections[0].reason


def test_the_log_of_another_root_may_be_asked_for(sigstore):
    other = MiniatureSigstore()
    trust = roots(r=parsed_root(sigstore.trusted_root()), other=parsed_root(other.trusted_root()))
    compiled = policy(keyless() | {"ctlog": {"trustRootRef": "other"}}, trust=trust)
    assert not signed_for(compiled, keyless_bundle(sigstore, IMAGE)).signatures


def test_a_key_may_be_held_to_a_log(sigstore):
    key = generate_key()
    trust = roots(r=parsed_root(sigstore.trusted_root()))
    authority = {"key": {"data": key.public.pem.decode()}}
    logged = logged_key_bundle(sigstore, key, IMAGE)
    unlogged = logged_key_bundle(sigstore, key, IMAGE, logged=False)
    plain = policy(authority, trust=trust)
    assert signed_for(plain, logged).signatures
    assert signed_for(plain, unlogged).signatures
    strict = policy(authority | {"ctlog": {"trustRootRef": "r"}}, trust=trust)
    assert signed_for(strict, logged).signatures
    assert not signed_for(strict, unlogged).signatures
    forged = logged_key_bundle(MiniatureSigstore(), key, IMAGE)
    assert not signed_for(strict, forged).signatures


def test_a_timestamp_is_demanded_from_the_named_authority(sigstore):
    key = generate_key()
    stamped = keys_spec(
        sigstore, timestampAuthorities=[{"certChain": pem_text(chain_pem(sigstore))}]
    )
    authority = {
        "key": {"data": key.public.pem.decode()},
        "rfc3161timestamp": {"trustRootRef": "r"},
    }
    compiled = policy(authority, trust=roots(r=load(stamped)))
    verdict = signed_for(compiled, logged_key_bundle(sigstore, key, IMAGE))
    assert "timestamp authorities" in verdict.rejections[0].reason
    none = policy(authority, trust=roots(r=parsed_root(sigstore.trusted_root())))
    assert "has no timestamp authority" in none.fault


def test_a_bare_key_is_no_certificate(sigstore):
    trust = roots(r=parsed_root(sigstore.trusted_root()))
    bundle = logged_key_bundle(sigstore, generate_key(), IMAGE)
    verdict = signed_for(policy(keyless(), trust=trust), bundle)
    assert "by a bare key" in verdict.rejections[0].reason


def test_a_private_authority_by_its_certificate(sigstore):
    other = MiniatureSigstore()
    trust = roots(r=parsed_root(other.trusted_root()), logs=parsed_root(sigstore.trusted_root()))
    mine = {"data": chain_pem(sigstore).decode()}
    authority = keyless(**{"ca-cert": mine, "trustRootRef": "logs"})
    assert signed_for(policy(authority, trust=trust), keyless_bundle(sigstore, IMAGE)).signatures
    assert not signed_for(policy(authority, trust=trust), keyless_bundle(other, IMAGE)).signatures
    alone = keyless(**{"ca-cert": mine})
    del alone["keyless"]["trustRootRef"]
    assert "no certificate transparency log" in policy(alone, trust=trust).fault


@pytest.mark.parametrize(
    ("authority", "text"),
    [
        (keyless(trustRootRef="absent"), "keyless.trustRootRef: TrustRoot absent: TrustRoot"),
        (keyless(trustRootRef="bad"), "keyless.trustRootRef: TrustRoot bad: it was not fetched"),
        (keyless(trustRootRef="bare"), "has no certificate transparency log"),
        (keyless(trustRootRef="logs"), "the trust root has no certificate authority"),
        (keyless() | {"ctlog": {"trustRootRef": "nolog"}}, ".ctlog: the trust root has no transp"),
        (keyless({"issuer": "i", "subjectRegExp": "(?=a)"}), "subjectRegExp"),
        (
            {"keyless": {"url": "https://fulcio.example", "identities": [WHO]}},
            ".keyless.url: nobody said whose keys https://fulcio.example has",
        ),
        (
            {"keyless": {"url": "https://evilsigstore.dev", "identities": [WHO]}},
            ".keyless.url: nobody said",
        ),
    ],
)
def test_what_no_root_supports_refuses(sigstore, authority, text):
    trust = roots(
        r=parsed_root(sigstore.trusted_root()),
        bad=LoadedRoot(fault="it was not fetched yet"),
        bare=parsed_root(sigstore.trusted_root(ctlogs=[])),
        logs=parsed_root(sigstore.trusted_root(certificateAuthorities=[])),
        nolog=parsed_root(sigstore.trusted_root(tlogs=[])),
    )
    assert text in policy(authority, trust=trust).fault


def test_the_public_instance_is_the_default_and_known_without_a_network():
    root = public_root()
    assert root.root.certificate_authorities
    compiled = policy(
        {"keyless": {"url": "https://fulcio.sigstore.dev", "identities": [WHO]}}, trust=KnownRoots()
    )
    assert not compiled.fault


def test_another_default_may_be_set(sigstore):
    loaded = parsed_root(sigstore.trusted_root())
    trust = KnownRoots({(GROUP, "mine"): loaded}, default="mine")
    authority = {"keyless": {"url": "https://fulcio.example", "identities": [WHO]}}
    assert signed_for(policy(authority, trust=trust), keyless_bundle(sigstore, IMAGE)).signatures


def test_a_change_of_trust_is_a_change_of_the_policy(sigstore):
    first, second = (MiniatureSigstore() for _ in range(2))
    prints = {
        policy(keyless(), trust=roots(r=parsed_root(one.trusted_root()))).fingerprint
        for one in (first, second, first)
    }
    assert len(prints) == 2


def test_policies_say_what_they_need():
    spec = {
        "images": [{"glob": "**"}],
        "authorities": [
            {
                "keyless": {
                    "ca-cert": {"secretRef": {"name": "ca"}},
                    "identities": [WHO],
                },
                "ctlog": {"trustRootRef": "logs"},
            },
            {"keyless": {"identities": [WHO]}, "rfc3161timestamp": {"trustRootRef": "tsa"}},
        ],
    }
    assert needs_of(spec) == Needs(frozenset({"ca"}), frozenset({"logs", "tsa", ""}))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"days": -1}, "expired"),
        ({"content": b"{}"}, "is no trusted root"),
    ],
)
def test_a_repository_is_verified(change, text):
    made = TufRepository(**{"content": b"x", **change})
    loaded = load({"repository": {"root": made.root, "mirrorFS": made.mirror()}})
    assert loaded.root is None
    assert text in loaded.fault


def test_a_repository_signed_by_somebody_else_is_refused(sigstore):
    made, other = (TufRepository(sigstore.trusted_root()) for _ in range(2))
    loaded = load({"repository": {"root": other.root, "mirrorFS": made.mirror()}})
    assert loaded.root is None
    files = made.files()
    target = next(name for name in files if name.startswith("targets/"))
    files[target] = MiniatureSigstore().trusted_root()
    loaded = load({"repository": {"root": made.root, "mirrorFS": made.mirror(files)}})
    assert loaded.root is None


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("mirrorFS", "?", "mirrorFS is no base64"),
        ("mirrorFS", pem_text(b"x"), "mirrorFS is no gzipped tar"),
        ("root", "?", "root is no base64"),
        ("root", pem_text(b"{}"), "the TUF repository cannot be used"),
        ("trustedRootTarget", "other.json", "has no target other.json"),
        ("targets", "elsewhere", "the TUF repository cannot be used"),
    ],
)
def test_a_broken_repository_says_why(field, value, text):
    made = TufRepository(b"x")
    spec = {"root": made.root, "mirrorFS": made.mirror(), field: value}
    assert text in load({"repository": spec}).fault


def test_the_golden_trust_root_of_keys_is_read():
    file = shared("policy") / "trustroot/valid-sigstore-keys.yaml"
    loaded = load(yaml.safe_load(file.read_text())["spec"])
    assert not loaded.fault
    assert loaded.root.timestamp_authorities


class Mirror:
    """A TUF repository on loopback that a test changes, or takes away."""

    def __init__(self):
        self.files = {}
        self.broken = False
        self.asked = 0

    async def handle(self, request):
        self.asked += 1
        if self.broken:
            return web.Response(status=503)
        data = self.files.get(request.path.removeprefix("/tuf/"))
        return web.Response(body=data) if data else web.Response(status=404)


@pytest.fixture
async def mirror():
    made = Mirror()
    app = web.Application()
    app.router.add_get("/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/tuf"
    yield made
    await runner.cleanup()


async def test_a_remote_root_is_followed_and_the_last_good_one_kept(mirror, sigstore):
    made = TufRepository(sigstore.trusted_root())
    mirror.files = made.files()
    place = (GROUP, "r")
    changed = asyncio.Event()
    kept = TrustRoots(changed.set, refresh=0.05, retry=0.05)
    spec = {"remote": {"root": made.root, "mirror": mirror.url}}
    task = asyncio.create_task(kept.run())
    try:
        async with asyncio.timeout(20):
            await kept.update({place: spec}, public=False)
            await kept.settled()
            first = kept.roots(*place)
            assert first.root is not None, first.fault
            mirror.broken = True
            while not kept.problems:
                changed.clear()
                await changed.wait()
            assert kept.roots(*place) == first
            made.content, made.version = MiniatureSigstore().trusted_root(), 2
            mirror.files, mirror.broken = made.files(), False
            while kept.roots(*place) == first:
                changed.clear()
                await changed.wait()
            second = kept.roots(*place)
            assert second.fingerprint != first.fingerprint
            # An older repository is a replay; what is known stays.
            made.content, made.version = sigstore.trusted_root(), 1
            mirror.files = made.files()
            while not kept.problems:
                changed.clear()
                await changed.wait()
            assert kept.roots(*place) == second
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_root_that_cannot_be_fetched_refuses_and_says_so(mirror):
    made = TufRepository(b"{}")
    mirror.broken = True
    loaded = await load_root({"remote": {"root": made.root, "mirror": mirror.url}})
    assert loaded.root is None
    assert "could not be fetched" in loaded.fault


@pytest.mark.parametrize(
    ("place", "good"),
    [
        ({}, True),
        ({"targets": "targets", "trustedRootTarget": "trusted_root.json"}, True),
        ({"targets": "elsewhere"}, False),
        ({"trustedRootTarget": "other.json"}, False),
    ],
)
async def test_where_the_target_of_a_remote_root_is(mirror, sigstore, place, good):
    made = TufRepository(sigstore.trusted_root())
    mirror.files = made.files()
    loaded = await load_root({"remote": {"root": made.root, "mirror": mirror.url, **place}})
    assert (loaded.root is not None) == good, loaded.fault


@pytest.mark.parametrize("kind", ["tLogs", "ctLogs"])
@pytest.mark.parametrize(("name", "good"), [("sha-256", True), ("sha-512", False)])
def test_hashes_of_logs(sigstore, kind, name, good):
    spec = keys_spec(sigstore)
    for log in spec["sigstoreKeys"][kind]:
        log["hashAlgorithm"] = name
    loaded = load(spec)
    assert (loaded.root is not None) == good
    assert good or "hashAlgorithm" in loaded.fault


async def test_local_roots_ask_no_network(mirror, sigstore):
    kept = TrustRoots(lambda: None)
    spec = {"trustedRoot": sigstore.trusted_root().decode()}
    await kept.update({(GROUP, "r"): spec, (GROUP, "bad"): {"nonsense": 1}}, public=False)
    await kept.settled()
    assert kept.roots(GROUP, "r").root is not None
    assert "unknown field" in kept.roots(GROUP, "bad").fault
    assert "does not exist" in kept.roots(GROUP, "gone").fault
    # Policies of policy-controller may use roots of ours, not the other way round.
    assert kept.roots("policy.sigstore.dev", "r").root is not None
    assert mirror.asked == 0
    await kept.update({}, public=False)
    assert kept.roots(GROUP, "r").root is None
    assert json.loads(spec["trustedRoot"])["tlogs"]
