from __future__ import annotations

import asyncio
import json

import pytest

from plimsoll.http import RetryPolicy
from plimsoll.oci.auth import Credentials
from plimsoll.oci.errors import RegistryUnauthorizedError
from plimsoll.oci.model import OCI_CONFIG, OCI_MANIFEST, Manifest
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Registry
from registries import PASSWORD, USER
from token_server import REFRESH, token_registry

pytestmark = pytest.mark.integration


@pytest.fixture
async def served(tmp_path):
    async with token_registry(tmp_path) as pair:
        yield pair


def client(*credentials: Credentials) -> Registry:
    return Registry(Credentials.merged(*credentials), retry=RetryPolicy(attempts=2, base=0.01))


async def push(registry: Registry, ref: Reference) -> None:
    config = await registry.push_blob(ref, b"{}", OCI_CONFIG)
    await registry.push_manifest(ref, Manifest(config=config, layers=()).to_bytes(), OCI_MANIFEST)


async def test_a_token_is_fetched_once_per_scope(served):
    server, tokens = served
    ref = Reference.parse(f"{server.host}/public/app:v1")
    async with client(Credentials.basic(server.host, USER, PASSWORD)) as registry:
        await push(registry, ref)
        await asyncio.gather(*(registry.resolve(ref) for _ in range(5)))
        await registry.push_blob(ref.with_tag("v2"), b"more")
    scopes = [asked["scope"] for asked in tokens.asked]
    assert scopes == ["repository:public/app:pull,push", "repository:public/app:pull"]
    assert all(asked["service"] == "test registry" for asked in tokens.asked)
    assert all(asked["account"] == USER for asked in tokens.asked)


async def test_anonymous_reads_what_is_public_and_no_more(served):
    server, _ = served
    ref = Reference.parse(f"{server.host}/public/app:v1")
    closed = Reference.parse(f"{server.host}/closed/app:v1")
    async with client(Credentials.basic(server.host, USER, PASSWORD)) as registry:
        await push(registry, ref)
        await push(registry, closed)
    async with client() as registry:
        await registry.resolve(ref)
        with pytest.raises(RegistryUnauthorizedError, match="no credentials are configured"):
            await registry.resolve(closed)
        with pytest.raises(RegistryUnauthorizedError):
            await registry.push_blob(ref, b"x")


async def test_an_identity_token_is_exchanged(served):
    server, tokens = served
    config = {"auths": {server.host: {"auth": "", "identitytoken": REFRESH}}}
    credentials = Credentials.from_bytes(json.dumps(config).encode(), "secret a/b")
    async with client(credentials) as registry:
        await push(registry, Reference.parse(f"{server.host}/team/app:v1"))
    assert {asked["method"] for asked in tokens.asked} == {"POST"}
    assert tokens.asked[0]["grant_type"] == "refresh_token"


async def test_a_refused_login_gives_way_to_the_next(served):
    server, _ = served
    wrong = Credentials.basic(server.host, USER, "wrong")
    right = Credentials.basic(server.host, USER, PASSWORD)
    ref = Reference.parse(f"{server.host}/team/app:v1")
    async with client(wrong, right) as registry:
        await push(registry, ref)
    async with client(wrong) as registry:
        with pytest.raises(RegistryUnauthorizedError, match="gives no token") as caught:
            await registry.resolve(ref)
    assert "wrong" not in str(caught.value)


async def test_an_expired_token_is_renewed(served):
    server, tokens = served
    ref = Reference.parse(f"{server.host}/team/app:v1")
    async with client(Credentials.basic(server.host, USER, PASSWORD)) as registry:
        await push(registry, ref)
        before = len(tokens.asked)
        # The registry forgets our token's signer never, so we make it invalid ourselves.
        for token in registry._session._authorizer._tokens.values():
            token.value = token.value[:-8] + "AAAAAAAA"
        await asyncio.gather(*(push(registry, ref) for _ in range(4)))
    assert before < len(tokens.asked) <= before + 4


async def test_mounting_asks_for_the_right_to_read_the_source(served):
    server, tokens = served
    ref = Reference.parse(f"{server.host}/team/app:v1")
    other = Reference.parse(f"{server.host}/team/other:v1")
    async with client(Credentials.basic(server.host, USER, PASSWORD)) as registry:
        blob = await registry.push_blob(ref, b"shared")
        await registry.push_blob(other, b"shared", mount_from=["team/app"])
        assert await registry.blob_size(other, blob.digest) == 6
    assert "repository:team/other:pull,push repository:team/app:pull" in [
        asked["scope"] for asked in tokens.asked
    ]
