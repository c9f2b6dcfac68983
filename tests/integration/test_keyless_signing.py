"""Keyless signing with the real Fulcio, Rekor v2 and timestamp authority, and the real cosign."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sigstore.models import Bundle as SecondBundle
from sigstore.models import TrustedRoot as SecondRoot
from sigstore.verify import Verifier
from sigstore.verify import policy as second_policy

from gotools import tool
from keyless_expired import expired_bundle
from oidc_issuer import oidc_issuer
from plimsoll.http import NO_RETRY, Http
from plimsoll.signing.bundle import Bundle
from plimsoll.signing.errors import RejectedError, SigningServiceError
from plimsoll.signing.identities import IdentityRule
from plimsoll.signing.identitytoken import IdentityToken
from plimsoll.signing.keyless import KeylessAuthority, Witnesses
from plimsoll.signing.keylesssign import KeylessSigner, RejectedSignatureError
from plimsoll.signing.services import request_timestamp
from plimsoll.signing.signingconfig import Service, SigningConfig
from plimsoll.signing.statement import COSIGN_SIGN, build_statement
from plimsoll.signing.trustroot import TrustRoot
from plimsoll.signing.verify import verify_bundle
from registries import crane_registry, distribution_registry, free_port
from sigstore_servers import email_issuer, sigstore_servers

pytestmark = pytest.mark.integration

PLIMSOLL = Path(sys.executable).parent / "plimsoll"
ME = "me@example.com"
DIGEST = f"sha256:{'1' * 64}"
STATEMENT = build_statement(DIGEST, COSIGN_SIGN, {})


@pytest.fixture(scope="module")
def issuer():
    with oidc_issuer() as running:
        yield running


@pytest.fixture(scope="module")
def servers(issuer):
    with sigstore_servers(email_issuer(issuer.url)) as running:
        yield running


@pytest.fixture(scope="module", params=[crane_registry, distribution_registry])
def registry(request):
    """With the referrers API and without."""
    with request.param() as server:
        yield server


@pytest.fixture
def image(registry, tmp_path):
    (tmp_path / "file").write_bytes(os.urandom(8))
    tar = tmp_path / "layer.tar"
    subprocess.run(["tar", "-cf", tar, "-C", tmp_path, "file"], check=True)
    target = f"{registry.host}/team/app:v{os.urandom(4).hex()}"
    append = [tool("crane"), "append", "--oci-empty-base", "-f", tar, "-t", target]
    done = subprocess.run(append, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def run(tmp_path, issuer):
    def work(*argv, status=0, **environ):
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "SIGSTORE_ID_TOKEN": "", **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, f"{argv}: {done.stdout}\n{done.stderr}"
        return done.stdout if status == 0 else done.stderr

    (tmp_path / "token").write_text(issuer.token(ME))
    return work


def signing(servers):
    return ("--signing-config", servers.signing_config, "--trusted-root", servers.trusted_root)


def as_me(servers, issuer, who=ME):
    """Options of our verifier."""
    root = ("--trusted-root", servers.trusted_root, "--insecure-ignore-sct")
    return (*root, "--identity", who, "--issuer", issuer.url)


def as_me_for_cosign(servers, issuer, who=ME):
    root = ("--trusted-root", servers.trusted_root, "--insecure-ignore-sct")
    return (*root, "--certificate-identity", who, "--certificate-oidc-issuer", issuer.url)


def test_what_we_sign_is_verified_by_us_and_by_cosign(run, servers, issuer, image, tmp_path):
    said = run(PLIMSOLL, "sign", image, "--keyless", *signing(servers), "--identity-token", "token")
    assert f"as {ME} ({issuer.url})" in said
    (tmp_path / "sbom.json").write_text('{"spdxVersion": "SPDX-2.3"}')
    attest = ("attest", image, "--keyless", *signing(servers), "--type", "spdxjson")
    token = (tmp_path / "token").read_text()
    run(PLIMSOLL, *attest, "--predicate", "sbom.json", SIGSTORE_ID_TOKEN=token)

    assert f"signature by {ME}" in run(PLIMSOLL, "verify", image, *as_me(servers, issuer))
    run(PLIMSOLL, "verify", image, *as_me(servers, issuer), "--type", "spdxjson")
    cosign = as_me_for_cosign(servers, issuer)
    run(tool("cosign"), "verify", *cosign, "--use-signed-timestamps", image)
    kind = ("--type", "spdxjson", "--use-signed-timestamps")
    run(tool("cosign"), "verify-attestation", *cosign, *kind, image)

    other = run(PLIMSOLL, "verify", image, *as_me(servers, issuer, "you@example.com"), status=1)
    assert "who is not trusted here" in other
    run(
        tool("cosign"),
        "verify",
        *as_me_for_cosign(servers, issuer, "you@example.com"),
        image,
        status=1,
    )


def test_what_cosign_signs_is_verified_by_us(run, servers, issuer, image, tmp_path):
    common = (*signing(servers), "--identity-token", "token", "--yes")
    run(tool("cosign"), "sign", *common, image)
    (tmp_path / "vex.json").write_text("{}")
    attest = ("attest", *common, "--type", "openvex", "--predicate", "vex.json", image)
    run(tool("cosign"), *attest)
    assert f"signature by {ME}" in run(PLIMSOLL, "verify", image, *as_me(servers, issuer))
    run(PLIMSOLL, "verify", image, *as_me(servers, issuer), "--type", "openvex")

    (tmp_path / "file").write_text("content")
    run(tool("cosign"), "sign-blob", *common, "--bundle", "b.json", "file")
    run(PLIMSOLL, "verify-bundle", "b.json", "file", *as_me(servers, issuer))
    (tmp_path / "file").write_text("other content")
    run(PLIMSOLL, "verify-bundle", "b.json", "file", *as_me(servers, issuer), status=1)


def test_what_cosign_signs_into_legacy_tags_is_verified_by_us(
    run, servers, issuer, image, tmp_path
):
    """Certificate and timestamp stand in annotations; cosign 3 reaches no Rekor v2 like that."""
    services = ("--fulcio-url", servers.fulcio, "--timestamp-server-url", servers.tsa)
    form = ("--use-signing-config=false", "--new-bundle-format=false", "--tlog-upload=false")
    token = ("--identity-token", "token", "--yes", "--insecure-skip-verify")
    run(tool("cosign"), "sign", *services, *form, *token, image)
    strict = run(PLIMSOLL, "verify", image, *as_me(servers, issuer), status=1)
    assert "in no trusted transparency log" in strict
    (tmp_path / "root.json").write_text(json.dumps(servers.root(tlogs=[])))
    root = ("--trusted-root", "root.json", "--insecure-ignore-sct", "--issuer", issuer.url)
    assert f"signature by {ME}" in run(PLIMSOLL, "verify", image, *root, "--identity", ME)
    run(PLIMSOLL, "verify", image, *root, "--identity", "you@example.com", status=1)


def test_what_is_said_where_nobody_can_sign(run, servers, issuer, image, tmp_path):
    sign = (PLIMSOLL, "sign", image, "--keyless", *signing(servers))
    assert "there is no OIDC token" in run(*sign, status=1, **NO_CI)
    assert "expired" in run(
        *sign, status=1, SIGSTORE_ID_TOKEN=issuer.token(ME, lifetime=-10), **NO_CI
    )
    foreign = issuer.token(ME, iss="http://127.0.0.1:1")
    said = run(*sign, status=1, SIGSTORE_ID_TOKEN=foreign, **NO_CI)
    assert "Fulcio" in said
    assert "does its configuration know the issuer" in said
    said += run(*sign, status=1, SIGSTORE_ID_TOKEN=issuer.token(ME, aud="other"), **NO_CI)
    assert foreign.split(".")[2] not in said, "no token is shown"
    assert "either --key cosign.key or --keyless" in run(PLIMSOLL, "sign", image, status=1)
    legacy = run(*sign, "--legacy", status=1)
    assert "--legacy tags are only written for keys" in legacy


NO_CI = {"GITHUB_ACTIONS": "", "GITLAB_CI": "", "BUILDKITE": "", "CIRCLECI": ""}


async def signed(servers, issuer, *, config=None, root=None, retry=NO_RETRY, statement=STATEMENT):
    async def token():
        return IdentityToken.parse(issuer.token(ME), source="the test")

    async with Http(retry=retry) as http:
        signer = KeylessSigner(
            http,
            SigningConfig.parse(json.dumps(config or servers.config()).encode()),
            TrustRoot.parse(json.dumps(root or servers.root()).encode()),
            token,
        )
        bundle = await signer.sign_statement(statement)
        assert await signer.made(Bundle.parse(bundle.to_json()))
        return json.loads(bundle.to_json())


def judge(servers, issuer, bundle, *, root=None, who=ME):
    authority = KeylessAuthority(
        witnesses=Witnesses(root=TrustRoot.parse(json.dumps(root or servers.root()).encode())),
        identity=IdentityRule.of(subject=who, issuer=issuer.url),
        require_sct=False,
    )
    return verify_bundle(json.dumps(bundle).encode(), DIGEST, authority, source="test")


async def test_sigstore_python_agrees(servers, issuer, monkeypatch):
    bundle = await signed(servers, issuer)
    # Its verifier knows no instance without certificate transparency.
    monkeypatch.setattr("sigstore.verify.verifier.verify_sct", lambda *_: None)
    monkeypatch.setattr(SecondRoot, "ct_keyring", lambda *_: None)
    verifier = Verifier(trusted_root=SecondRoot.from_file(str(servers.trusted_root)))
    kind, payload = verifier.verify_dsse(
        SecondBundle.from_json(json.dumps(bundle)),
        second_policy.Identity(identity=ME, issuer=issuer.url),
    )
    assert (kind, payload) == ("application/vnd.in-toto+json", STATEMENT)


async def test_each_part_of_a_bundle_counts(servers, issuer):
    bundle = await signed(servers, issuer)
    assert judge(servers, issuer, bundle).identity.subject == ME
    with pytest.raises(RejectedError, match="who is not trusted here"):
        judge(servers, issuer, bundle, who="you@example.com")

    other = await signed(servers, issuer, statement=build_statement(DIGEST, COSIGN_SIGN, {"a": 1}))
    swapped = json.loads(json.dumps(bundle))
    material = other["verificationMaterial"]
    swapped["verificationMaterial"]["tlogEntries"] = material["tlogEntries"]
    with pytest.raises(RejectedError, match="the log entry is of another"):
        judge(servers, issuer, swapped)

    swapped = json.loads(json.dumps(bundle))
    stamps = material["timestampVerificationData"]
    swapped["verificationMaterial"]["timestampVerificationData"] = stamps
    with pytest.raises(RejectedError, match="no timestamp is by a trusted authority"):
        judge(servers, issuer, swapped)

    without = json.loads(json.dumps(bundle))
    del without["verificationMaterial"]["timestampVerificationData"]
    with pytest.raises(RejectedError, match="nothing proves when it was signed"):
        judge(servers, issuer, without)

    without = json.loads(json.dumps(bundle))
    without["verificationMaterial"]["tlogEntries"] = []
    with pytest.raises(RejectedError, match="in no trusted transparency log"):
        judge(servers, issuer, without)


async def test_another_instance_is_not_believed(servers, issuer):
    bundle = await signed(servers, issuer)
    with sigstore_servers(email_issuer(issuer.url)) as stranger:
        theirs = stranger.root()
        for part, reason in (
            ("certificateAuthorities", "issued by no trusted authority"),
            ("tlogs", "not trusted|not signed by the log"),
            ("timestampAuthorities", "no timestamp is by a trusted authority"),
        ):
            root = servers.root(**{part: theirs[part]})
            with pytest.raises(RejectedError, match=reason):
                judge(servers, issuer, bundle, root=root)
            with pytest.raises(RejectedSignatureError, match="cannot be verified"):
                await signed(servers, issuer, root=root)


async def test_a_certificate_is_no_good_after_its_end(servers, issuer):
    """Signed, stamped and logged for real, with a certificate that had ended."""

    async with Http() as http:
        bundle, authority = await expired_bundle(http, servers, ME, issuer.url, STATEMENT)
    root = servers.root(certificateAuthorities=[authority])
    with pytest.raises(RejectedError, match="when the certificate was not valid"):
        judge(servers, issuer, bundle, root=root)


async def test_the_next_server_is_asked_where_any_will_do(servers, issuer):
    dead = {
        "url": f"http://127.0.0.1:{free_port()}",
        "majorApiVersion": 1,
        "operator": "dead",
        "validFor": {"start": "2020-01-01T00:00:00Z"},
    }
    config = servers.config()
    for key, version in (("caUrls", 1), ("rekorTlogUrls", 2), ("tsaUrls", 1)):
        config[key] = [{**dead, "majorApiVersion": version}, *config[key]]
    assert judge(servers, issuer, await signed(servers, issuer, config=config))
    config["tsaConfig"] = {"selector": "ALL"}
    with pytest.raises(SigningServiceError, match="the timestamp authority cannot be reached") as e:
        await signed(servers, issuer, config=config)
    assert e.value.retryable


async def test_tiles_show_what_was_logged(servers, issuer):
    bundle = await signed(servers, issuer)
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    body = base64.b64decode(entry["canonicalizedBody"])
    found = b"".join(p.read_bytes() for p in servers.tiles.rglob("entries/**/*") if p.is_file())
    assert body in found


async def test_a_server_that_is_none_is_named(servers):
    async with Http(retry=NO_RETRY) as http:
        with pytest.raises(SigningServiceError, match=r"answered 40\d|answered what cannot"):
            await request_timestamp(http, Service(url=servers.fulcio, version=1), b"x")
