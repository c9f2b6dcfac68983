"""The transit engine of HashiCorp Vault and OpenBao (API v1, ``/transit``).

References: ``hashivault://KEY``, or ``hashivault://KEY?version=3`` for one version of it. The
environment says the rest, by the names that Vault's own programs use:

* ``VAULT_ADDR`` (required), ``VAULT_CACERT``, ``VAULT_NAMESPACE``;
* ``TRANSIT_SECRET_ENGINE_PATH``: where the engine is mounted, default ``transit``;
* ``VAULT_TOKEN``, or ``VAULT_TOKEN_FILE``; or ``VAULT_ROLE``: log in as the pod's ServiceAccount
  (``VAULT_AUTH_PATH``, default ``kubernetes``; ``VAULT_JWT_FILE``, default where Kubernetes mounts
  the token).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from plimsoll.http import Http, HttpError, retrying
from plimsoll.http.errors import RETRYABLE_STATUS
from plimsoll.signing.encoding import b64decode, child, parse_json, text
from plimsoll.signing.errors import InvalidEvidenceError, SigningServiceError
from plimsoll.signing.kms.service import KmsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE: Final = re.compile(
    r"hashivault://(?P<key>\w(?:[\w.-]*\w)?)(?:\?version=(?P<version>[1-9]\d{0,8}))?", re.ASCII
)
_JWT: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
_ANSWER_LIMIT: Final = 1 << 20
_SECRET_LIMIT: Final = 64 << 10

#: Type of a key → hash, by the names of Vault and of Python; Ed25519 signs the data itself.
_HASHES: Final[dict[str, tuple[str, str] | None]] = {
    "ecdsa-p256": ("sha2-256", "sha256"),
    "ecdsa-p384": ("sha2-384", "sha384"),
    "ecdsa-p521": ("sha2-512", "sha512"),
    "rsa-2048": ("sha2-256", "sha256"),
    "rsa-3072": ("sha2-256", "sha256"),
    "rsa-4096": ("sha2-256", "sha256"),
    "ed25519": None,
}


def vault_key(reference: str, http: Http, environ: Mapping[str, str]) -> VaultKey:
    """The key of a ``hashivault://`` reference; see ``plimsoll.signing.kms.service.Factory``."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise KmsError(
            f"{reference[:100]!r} names no key of Vault",
            hint="write hashivault://KEY, or hashivault://KEY?version=N",
        )
    address = environ.get("VAULT_ADDR", "").rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise KmsError(
            "VAULT_ADDR says no address of Vault", hint="for example https://vault.example:8200"
        )
    namespace = environ.get("VAULT_NAMESPACE", "")
    return VaultKey(
        http=http,
        address=address,
        mount=environ.get("TRANSIT_SECRET_ENGINE_PATH", "transit").strip("/"),
        name=found["key"],
        version=int(found["version"] or 0),
        login=_Login(
            token=environ.get("VAULT_TOKEN", ""),
            token_file=environ.get("VAULT_TOKEN_FILE", ""),
            role=environ.get("VAULT_ROLE", ""),
            path=environ.get("VAULT_AUTH_PATH", "kubernetes").strip("/"),
            jwt_file=environ.get("VAULT_JWT_FILE", _JWT),
        ),
        headers={"X-Vault-Namespace": namespace} if namespace else {},
    )


@dataclass(frozen=True, slots=True, repr=False)
class _Login:
    token: str
    token_file: str
    role: str
    path: str
    jwt_file: str


@dataclass(slots=True)
class VaultKey:
    """One key of the engine; see ``KmsHandle``."""

    http: Http
    address: str
    mount: str
    name: str
    version: int
    """Of the key; 0: the newest signs, and all that Vault itself still verifies with count."""

    login: _Login = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    _token: str = field(default="", repr=False)
    _type: str = ""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def public_keys(self) -> bytes:
        """See ``KmsHandle.public_keys``."""
        data = await self._ask("GET", f"{self.mount}/keys/{quote(self.name)}", None)
        try:
            kind = text(data, "type", "the key")
            versions = child(data, "keys", "the key")
            oldest = max(int(data.get("min_decryption_version", 1)), 1)
            pems = {int(number): _pem(kind, entry) for number, entry in versions.items()}
        except (InvalidEvidenceError, ValueError, TypeError, KeyError) as error:
            raise KmsError(
                f"key {self.name} of Vault is of no use: {error}",
                hint="make one of the type ecdsa-p256, rsa-3072 or ed25519",
            ) from None
        self._type = kind
        if self.version:
            pems = {number: pem for number, pem in pems.items() if number == self.version}
        usable = [pem for number, pem in sorted(pems.items(), reverse=True) if number >= oldest]
        if not usable:
            which = f"version {self.version} of key" if self.version else "key"
            raise KmsError(f"Vault has no {which} {self.name} that verifies")
        return b"".join(usable)

    async def sign(self, data: bytes) -> bytes:
        """See ``KmsHandle.sign``."""
        if not self._type:
            await self.public_keys()
        names = _HASHES[self._type]
        body: dict[str, Any] = {"key_version": self.version} if self.version else {}
        path = f"{self.mount}/sign/{quote(self.name)}"
        if names is None:
            body |= {"input": base64.b64encode(data).decode()}
        else:
            digest = hashlib.new(names[1], data).digest()
            body |= {
                "input": base64.b64encode(digest).decode(),
                "prehashed": True,
                "signature_algorithm": "pkcs1v15",
                "marshaling_algorithm": "asn1",
            }
            path = f"{path}/{names[0]}"
        answer = await self._ask("POST", path, body)
        try:
            # vault:v<version>:<base64>
            _, _, encoded = text(answer, "signature", "the answer").split(":")
            return b64decode(encoded, "the signature")
        except (InvalidEvidenceError, ValueError) as error:
            raise self._nonsense(error) from None

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        """``data`` of the answer; logs in again once where the token is refused."""
        token = await self._login("")
        status, answer = await self._send(method, path, body, token)
        if status == 403 and self.login.role:
            token = await self._login(token)
            status, answer = await self._send(method, path, body, token)
        if status == 404:
            raise KmsError(
                f"Vault at {self.address} has no key {self.name} in {self.mount}",
                hint="is TRANSIT_SECRET_ENGINE_PATH right?",
            )
        if status != 200:
            raise self._refused(status, answer)
        return self._part(answer, "data")

    async def _login(self, stale: str) -> str:
        """A token; a new one if that which is held is the stale one."""
        who = self.login
        if who.token:
            return who.token
        async with self._lock:
            if self._token and self._token != stale:
                return self._token
            if not who.role:
                if not who.token_file:
                    raise KmsError(
                        "nothing says who we are to Vault",
                        hint="set VAULT_TOKEN, VAULT_TOKEN_FILE or VAULT_ROLE",
                    )
                self._token = await asyncio.to_thread(_read, who.token_file)
                return self._token
            jwt = await asyncio.to_thread(_read, who.jwt_file)
            body = {"role": who.role, "jwt": jwt}
            status, answer = await self._send("POST", f"auth/{who.path}/login", body, "")
            if status != 200:
                raise self._refused(status, answer, f"the role {who.role} to this ServiceAccount")
            auth = self._part(answer, "auth")
            token = auth.get("client_token")
            if not isinstance(token, str) or not token:
                raise self._nonsense(ValueError("there is no client_token"))
            self._token = token
            return token

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, token: str
    ) -> tuple[int, bytes]:
        headers = {**self.headers, "X-Vault-Request": "true"}
        if token:
            headers["X-Vault-Token"] = token
        data = json.dumps(body).encode() if body is not None else None

        async def once() -> tuple[int, bytes]:
            answer = await self.http.fetch(
                method,
                f"{self.address}/v1/{path}",
                max_size=_ANSWER_LIMIT,
                headers=headers,
                body=data,
            )
            if answer.status in RETRYABLE_STATUS:
                raise self._refused(answer.status, answer.body)
            return answer.status, answer.body

        try:
            return await retrying(once, self.http.retry)
        except HttpError as error:
            raise SigningServiceError(
                f"Vault cannot be reached: {error.message}",
                hint=error.hint or "is VAULT_ADDR right?",
                retryable=error.retryable,
            ) from None

    def _part(self, answer: bytes, name: str) -> dict[str, Any]:
        try:
            return child(parse_json(answer, "the answer", _ANSWER_LIMIT), name, "the answer")
        except InvalidEvidenceError as error:
            raise self._nonsense(error) from None

    def _refused(self, status: int, answer: bytes, what: str = "it") -> SigningServiceError:
        return SigningServiceError(
            f"Vault at {self.address} refused {what} ({status}{_reason(answer)})",
            hint="may the token read the key (transit/keys) and sign with it (transit/sign)?"
            if status == 403
            else None,
            retryable=status in RETRYABLE_STATUS,
        )

    def _nonsense(self, error: Exception) -> SigningServiceError:
        detail = getattr(error, "message", None) or str(error)
        return SigningServiceError(
            f"Vault at {self.address} answered what cannot be read: {detail[:200]}",
            hint="is VAULT_ADDR that of Vault or OpenBao?",
        )


def _pem(kind: str, entry: Any) -> bytes:
    if kind not in _HASHES:
        raise ValueError(f"nobody verifies with a key of the type {kind[:40]}")
    public = str(entry["public_key"])
    if kind != "ed25519":
        return f"{public.strip()}\n".encode()
    key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read(path: str) -> str:
    try:
        with Path(path).open() as file:
            return file.read(_SECRET_LIMIT).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KmsError(f"{path}, which says who we are to Vault, cannot be read: {error}") from None


def _reason(answer: bytes) -> str:
    try:
        errors = json.loads(answer)["errors"]
        line = "; ".join(str(one) for one in errors)
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    printable = "".join(c for c in " ".join(line.split()) if c.isprintable())[:200]
    return f": {printable}" if printable else ""
