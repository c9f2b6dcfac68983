"""A token server as in the distribution project's token specification, and a registry behind it.

Its tokens are signed, and the real registry checks them and their scopes.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import BasicAuth, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from gotools import tool
from registries import PASSWORD, USER, RegistryServer, _serve, distribution_config

REFRESH = "refresh-me"
_SERVICE, _ISSUER = "test registry", "test issuer"


@dataclass
class TokenServer:
    """Gives ``USER`` the right to everything and anybody the right to read ``public/…``."""

    realm: str = ""
    lifetime: int = 300
    asked: list[dict[str, str]] = field(default_factory=list)
    _key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ISSUER)])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    async def handle(self, request: web.Request) -> web.Response:
        """GET with basic authentication, or POST with a refresh token."""
        form = dict(request.query) if request.method == "GET" else dict(await request.post())
        fields = {key: str(value) for key, value in form.items()}
        scopes = request.query.getall("scope", []) or fields.get("scope", "").split(" ")
        fields |= {"method": request.method, "scope": " ".join(scopes)}
        self.asked.append(fields)
        known = False
        if request.method == "POST":
            if fields.get("refresh_token") != REFRESH:
                return web.json_response({"error": "invalid_grant"}, status=401)
            known = True
        elif "Authorization" in request.headers:
            sent = BasicAuth.decode(request.headers["Authorization"])
            if (sent.login, sent.password) != (USER, PASSWORD):
                return web.json_response({"details": "incorrect"}, status=401)
            known = True
        name = "access_token" if request.method == "POST" else "token"
        token = self._token([_access(scope, known=known) for scope in scopes if scope])
        return web.json_response({name: token, "expires_in": self.lifetime})

    def _token(self, access: list[dict[str, object]]) -> str:
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": _ISSUER,
            "sub": USER,
            "aud": _SERVICE,
            "jti": str(len(self.asked)),
        }
        claims |= {"iat": now, "nbf": now - 60, "exp": now + self.lifetime, "access": access}
        text = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@contextlib.asynccontextmanager
async def token_registry(directory: Path) -> AsyncIterator[tuple[RegistryServer, TokenServer]]:
    """A distribution registry that wants tokens of a server beside it."""
    tokens = TokenServer()
    app = web.Application()
    app.router.add_get("/token", tokens.handle)
    app.router.add_post("/token", tokens.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        tokens.realm = f"http://{host}:{port}/token"
        bundle = directory / "roots.pem"
        bundle.write_bytes(tokens.certificate.public_bytes(serialization.Encoding.PEM))

        def command(address: str, home: Path) -> list[str]:
            config = distribution_config(address, home / "storage")
            config["auth"] = {
                "token": {
                    "realm": tokens.realm,
                    "service": _SERVICE,
                    "issuer": _ISSUER,
                    "rootcertbundle": str(bundle),
                    "signingalgorithms": ["ES256"],
                }
            }
            (home / "config.yml").write_text(json.dumps(config))
            return [str(tool("registry")), "serve", str(home / "config.yml")]

        with _serve(command) as server:
            yield server, tokens
    finally:
        await runner.cleanup()


def _access(scope: str, *, known: bool) -> dict[str, object]:
    kind, name, actions = scope.split(":")
    granted = actions.split(",") if known else []
    if not known and name.startswith("public/"):
        granted = [action for action in actions.split(",") if action == "pull"]
    return {"type": kind, "name": name, "actions": granted}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
