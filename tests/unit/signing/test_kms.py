"""Key management services: a server that lies, settings from a folder, plug-ins."""

from __future__ import annotations

import base64
import json
from importlib.metadata import EntryPoint

import pytest
from aiohttp import web

from plimsoll.http import NO_RETRY, Http
from plimsoll.signing.errors import SigningServiceError
from plimsoll.signing.kms import service
from plimsoll.signing.kms.names import is_reference
from plimsoll.signing.kms.service import (
    KmsError,
    KmsStatements,
    authorities_of,
    open_kms,
    read_kms_folder,
)
from plimsoll.signing.privatekey import generate_key

KEY = generate_key()
OTHER = generate_key()


def described(key=KEY, **changes):
    entry = {"public_key": key.public.pem.decode()}
    return {"data": {"type": "ecdsa-p256", "keys": {"1": entry}, **changes}}


def signed(data, key=KEY):
    return {"data": {"signature": f"vault:v1:{base64.b64encode(key.sign(data)).decode()}"}}


class Server:
    """A service whose every answer a test can set."""

    def __init__(self):
        self.answers = {"keys": described(), "sign": None, "login": None}
        self.status = 200
        self.tokens = []
        self.location = ""

    async def handle(self, request):
        self.tokens.append(request.headers.get("X-Vault-Token", ""))
        if self.location:
            return web.Response(status=307, headers={"Location": self.location})
        parts = request.path.split("/")
        kind = next(part for part in ("keys", "sign", "login") if part in parts)
        answer = self.answers[kind]
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return web.Response(status=self.status, body=body)


async def started(server, stack):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.append(runner)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


@pytest.fixture
async def runners():
    stack = []
    yield stack
    for runner in stack:
        await runner.cleanup()


@pytest.fixture
async def server(runners):
    made = Server()
    made.url = await started(made, runners)
    return made


async def use(server, data=b"x", **environ):
    environ = {"VAULT_ADDR": server.url, "VAULT_TOKEN": "secret", **environ}
    async with Http(retry=NO_RETRY) as http:
        signer = await KmsStatements.of(open_kms("hashivault://k", http, environ))
        return await signer.sign(data)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"{", "answered what cannot be read"),
        (b"[]", "answered what cannot be read"),
        (b'{"data": 5}', "answered what cannot be read"),
        (b'{"data": {}, "data": {}}', "answered what cannot be read"),
        ({"data": {}}, "of no use"),
        (described(type="chacha20-poly1305"), "nobody verifies with a key of the type"),
        (described(keys={"1": {}}), "of no use"),
        (described(keys={"x": {"public_key": "p"}}), "of no use"),
        (described(keys={}), "has no key k that verifies"),
        (described(keys={"1": {"public_key": "no PEM"}}), "no PEM block"),
        (described(min_decryption_version="many"), "of no use"),
        (described(min_decryption_version=2), "has no key k that verifies"),
        (described(type="ed25519"), "of no use"),
        (b" " * (2 << 20), "sends"),
    ],
)
async def test_a_service_that_describes_no_key(server, answer, text):
    server.answers["keys"] = answer
    with pytest.raises(service.SigningError, match=text):
        await use(server)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"data": {}}, "answered what cannot be read"),
        ({"data": {"signature": "nonsense"}}, "answered what cannot be read"),
        ({"data": {"signature": "vault:v1:?"}}, "answered what cannot be read"),
        (signed(b"x", OTHER), "that its key does not verify"),
        (signed(b"y"), "that its key does not verify"),
    ],
)
async def test_a_service_that_signs_something_else(server, answer, text):
    server.answers["sign"] = answer
    with pytest.raises(SigningServiceError, match=text):
        await use(server)


async def test_a_good_signature_passes(server):
    server.answers["sign"] = signed(b"x")
    assert KEY.public.verifies(await use(server), b"x")
    assert set(server.tokens) == {"secret"}


async def test_what_a_server_says_is_shown_without_steering_a_terminal(server):
    server.status = 400
    server.answers["keys"] = {"errors": ["bad\x1b[31m\nnews"]}
    with pytest.raises(SigningServiceError) as refused:
        await use(server)
    assert "bad[31m news" in refused.value.message
    assert "\x1b" not in refused.value.message


async def test_the_token_does_not_follow_to_another_server(server, runners):
    stranger = Server()
    stranger.url = await started(stranger, runners)
    stranger.answers["sign"] = signed(b"x")
    server.location = f"{stranger.url}/v1/transit/keys/k"
    with pytest.raises(service.SigningError):
        await use(server)
    assert stranger.tokens, "it was asked"
    assert set(stranger.tokens) == {""}


async def test_a_login_without_a_token_is_none(server, tmp_path):
    (tmp_path / "jwt").write_text("jwt")
    server.answers["login"] = {"auth": {"client_token": ""}}
    role = {"VAULT_TOKEN": "", "VAULT_ROLE": "r", "VAULT_JWT_FILE": str(tmp_path / "jwt")}
    with pytest.raises(SigningServiceError, match="no client_token"):
        await use(server, **role)
    server.answers |= {"login": {"auth": {"client_token": "t"}}, "sign": signed(b"x")}
    await use(server, **role)
    assert server.tokens[-1] == "t"


def test_references_and_files_are_told_apart():
    assert is_reference("hashivault://k")
    assert is_reference("awskms:///alias/a")
    for text in ("cosign.key", "./hashivault", "hashivault", "https://x", "file://x", ""):
        assert not is_reference(text)


def test_settings_are_files_and_nothing_else(tmp_path):
    (tmp_path / "kms_reference").write_text("hashivault://k\n")
    (tmp_path / "VAULT_ADDR").write_text("https://vault.example\n")
    (tmp_path / "VAULT_CACERT").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "ld.so").write_text("x")
    (tmp_path / "DIR").mkdir()
    reference, settings = read_kms_folder(tmp_path)
    assert reference == "hashivault://k"
    assert settings == {
        "VAULT_ADDR": "https://vault.example",
        "VAULT_CACERT": str(tmp_path / "VAULT_CACERT"),
        "VAULT_JWT_FILE": str(tmp_path / "token"),
    }
    assert authorities_of(settings) == tmp_path / "VAULT_CACERT"
    (tmp_path / "kms_reference").unlink()
    with pytest.raises(KmsError, match="cannot be read"):
        read_kms_folder(tmp_path)


class Plugin:
    """A service of somebody else."""

    def __init__(self, reference, http, environ):
        self.asked = (reference, environ)

    async def public_keys(self):
        return KEY.public.pem

    async def sign(self, data):
        return KEY.sign(data)


async def test_a_package_may_bring_a_service(monkeypatch):
    point = EntryPoint("awskms", f"{__name__}:Plugin", service.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda _: Plugin)
    wanted = []
    monkeypatch.setattr(service, "entry_points", lambda **by: wanted.append(by) or [point])
    async with Http() as http:
        handle = open_kms("awskms:///alias/a", http, {"AWS_REGION": "x"})
    assert wanted == [{"group": "plimsoll.kms", "name": "awskms"}]
    assert handle.asked == ("awskms:///alias/a", {"AWS_REGION": "x"})
    signer = await KmsStatements.of(handle)
    assert await signer.made(await signer.sign_statement(b"{}"))
