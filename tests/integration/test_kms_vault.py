"""Keys in OpenBao's transit engine: what they sign is verified by us and by cosign."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gotools import tool
from openbao import openbao
from plimsoll.http import NO_RETRY, Http
from plimsoll.signing.authority import KeyAuthority
from plimsoll.signing.errors import SigningServiceError
from plimsoll.signing.keys import load_public_keys
from plimsoll.signing.kms.service import KmsError, KmsStatements, open_kms
from plimsoll.signing.statement import COSIGN_SIGN, build_statement
from plimsoll.signing.verify import verify_bundle
from plimsoll.webhook import externals
from plimsoll.webhook.externals import Externals
from plimsoll.webhook.needs import Needs
from registries import distribution_registry

pytestmark = pytest.mark.integration

PLIMSOLL = Path(sys.executable).parent / "plimsoll"
DIGEST = "sha256:" + "ab" * 32
STATEMENT = build_statement(DIGEST, COSIGN_SIGN, {})
KINDS = ["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "rsa-3072", "rsa-4096", "ed25519"]


@pytest.fixture(scope="module")
def bao():
    with openbao() as server:
        yield server


async def made(reference, environ):
    async with Http(retry=NO_RETRY) as http:
        signer = await KmsStatements.of(open_kms(reference, http, environ))
        bundle = await signer.sign_statement(STATEMENT)
        assert await signer.made(bundle)
        return signer, bundle


def accepted(bundle, keys):
    return verify_bundle(bundle.to_json(), DIGEST, KeyAuthority(keys), source="here")


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_key_signs(bao, kind):
    reference = bao.key(f"kind-{kind}", kind)
    signer, bundle = await made(reference, bao.environ)
    assert accepted(bundle, signer.public).identity.id == signer.public[0].fingerprint


async def test_a_kind_that_nobody_verifies_is_refused(bao):
    reference = bao.key("cipher", "aes256-gcm96")
    with pytest.raises(KmsError, match="of no use"):
        await made(reference, bao.environ)


async def test_versions_of_a_key(bao):
    reference = bao.key("turned")
    first, old = await made(reference, bao.environ)
    bao.ask("POST", "transit/keys/turned/rotate")
    both, new = await made(reference, bao.environ)
    assert len(both.public) == 2
    assert both.public[1].fingerprint == first.public[0].fingerprint
    assert accepted(old, both.public)
    assert accepted(new, both.public)
    pinned, by_first = await made(f"{reference}?version=1", bao.environ)
    assert pinned.public == first.public
    assert accepted(by_first, first.public)
    with pytest.raises(KmsError, match="no version 9"):
        await made(f"{reference}?version=9", bao.environ)
    bao.ask("POST", "transit/keys/turned/config", {"min_decryption_version": 2})
    after, _ = await made(reference, bao.environ)
    assert after.public == both.public[:1]


async def test_what_a_token_may_not_do_is_said(bao):
    reference = bao.key("guarded")
    readable = bao.token('path "transit/keys/guarded" { capabilities = ["read"] }')
    with pytest.raises(SigningServiceError, match="refused it \\(403") as refused:
        await made(reference, {**bao.environ, "VAULT_TOKEN": readable})
    assert "transit/sign" in (refused.value.hint or "")
    assert not refused.value.retryable
    with pytest.raises(SigningServiceError, match="403"):
        await made(reference, {**bao.environ, "VAULT_TOKEN": "nonsense"})


@pytest.mark.parametrize(
    ("reference", "environ", "text"),
    [
        ("hashivault://", {}, "names no key"),
        ("hashivault://a/../b", {}, "names no key"),
        ("hashivault://absent", {}, "has no key absent"),
        ("hashivault://absent", {"TRANSIT_SECRET_ENGINE_PATH": "elsewhere"}, "elsewhere"),
        ("hashivault://k", {"VAULT_ADDR": ""}, "VAULT_ADDR"),
        ("hashivault://k", {"VAULT_TOKEN": ""}, "who we are"),
        ("hashivault://k", {"VAULT_TOKEN": "", "VAULT_TOKEN_FILE": "/absent"}, "cannot be read"),
        ("awskms:///alias/a", {}, "nothing here speaks to the service"),
        ("gcpkms://projects/p", {}, "nothing here speaks to the service"),
        ("ftp://k", {}, "nothing here speaks to the service"),
    ],
)
async def test_references_of_no_use(bao, reference, environ, text):
    with pytest.raises(KmsError, match=text):
        await made(reference, {**bao.environ, **environ})


async def test_a_server_that_is_away_is_worth_another_try():
    with pytest.raises(SigningServiceError, match="cannot be reached") as away:
        await made("hashivault://k", {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": "t"})
    assert away.value.retryable


def test_images_are_signed_and_verified(bao, tmp_path):
    reference = bao.key("images")
    token = tmp_path / "token"
    token.write_text(bao.environ["VAULT_TOKEN"] + "\n")

    def run(*argv, status=0):
        done = subprocess.run(
            [str(word) for word in argv],
            env={**os.environ, "HOME": str(tmp_path), **bao.environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, f"{argv}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    with distribution_registry() as server:
        image = f"{server.host}/team/app:v1"
        run(tool("crane"), "append", "--oci-empty-base", "-f", os.devnull, "-t", image)
        assert f"with {reference}" in run(PLIMSOLL, "sign", image, "--key", reference, "--legacy")
        predicate = tmp_path / "p.json"
        predicate.write_text('{"spdxVersion": "SPDX-2.3"}')
        attest = [PLIMSOLL, "attest", image, "-t", "spdxjson", "-p", predicate]
        run(*attest, "--key", reference)
        said = json.loads(run(PLIMSOLL, "verify", image, "--key", reference, "--json"))
        assert len(said["verified"]) == 2
        public = tmp_path / "cosign.pub"
        data = bao.ask("GET", "transit/keys/images")["data"]
        public.write_text(data["keys"]["1"]["public_key"] + "\n")
        (key,) = load_public_keys(public.read_bytes())
        assert said["verified"][0]["id"] == key.fingerprint
        run(tool("cosign"), "verify", "--key", public, "--insecure-ignore-tlog=true", image)
        # cosign asks the same server for the same key.
        run(tool("cosign"), "verify", "--key", reference, "--insecure-ignore-tlog=true", image)
        other = bao.key("other")
        assert "not by" in run(PLIMSOLL, "verify", image, "--key", other, status=1)


async def test_a_policy_follows_the_versions_of_a_key(monkeypatch):
    monkeypatch.setattr(externals, "KMS_SECONDS", 0.0)
    wanted = [Needs(kms=frozenset({"hashivault://k", "awskms:///alias/a"}))]
    with openbao() as bao:
        kept = Externals("own", environ=bao.environ)
        await kept.update(wanted)
        assert "no key k" in kept.kms["hashivault://k"].fault
        assert "nothing here speaks" in kept.kms["awskms:///alias/a"].fault
        bao.key("k")
        await kept.update(wanted)
        first = kept.kms["hashivault://k"].pem
        assert first.count(b"BEGIN") == 1
        bao.ask("POST", "transit/keys/k/rotate")
        await kept.update(wanted)
        both = kept.kms["hashivault://k"].pem
        assert both.endswith(first)
        assert both.count(b"BEGIN") == 2
    await kept.update(wanted)
    assert kept.kms["hashivault://k"].pem == both, "the last good ones"
    await kept.update([])
    assert kept.kms == {}
