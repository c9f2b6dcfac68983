"""Logging in to registries: basic, and bearer tokens by GET or OAuth 2 (token specification).

Credentials go to the registry they were configured for and to the token server that this very
registry names, nowhere else.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

from plimsoll.http.retry import retrying
from plimsoll.http.transport import basic
from plimsoll.oci.challenge import Challenge, check_realm, choose
from plimsoll.oci.errors import (
    InvalidManifestError,
    RegistryError,
    RegistryUnauthorizedError,
    RegistryUnavailableError,
)
from plimsoll.oci.failures import unwrapped
from plimsoll.oci.strictjson import load_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from plimsoll.http import Http, Response
    from plimsoll.oci.auth import Credentials, Login
    from plimsoll.oci.reference import Reference

_ANSWER_LIMIT: Final = 256 << 10
_CLIENT_ID: Final = "plimsoll"
_DEFAULT_LIFETIME: Final = 60.0
_CACHE_LIMIT: Final = 1000


@dataclass(slots=True)
class _Token:
    value: str = field(repr=False)
    expires: float
    used: bool = False


@dataclass(slots=True)
class _Account:
    """The logins of one repository, and which is in use."""

    logins: list[Login]
    position: int = 0

    @property
    def login(self) -> Login | None:
        return self.logins[self.position] if self.position < len(self.logins) else None


class Authorizer:
    """Remembers what registries ask for, and answers it."""

    def __init__(self, http: Http, credentials: Credentials, insecure: frozenset[str]) -> None:
        self._http = http
        self._credentials = credentials
        self._insecure = insecure
        self._challenges: dict[str, Challenge] = {}
        self._accounts: dict[str, _Account] = {}
        self._tokens: dict[tuple[str, str, tuple[str, ...]], _Token] = {}
        self._locks: dict[tuple[str, str, tuple[str, ...]], asyncio.Lock] = {}

    async def header(self, ref: Reference, base: str, scopes: tuple[str, ...]) -> str | None:
        """The ``Authorization`` to send, or ``None`` while nothing was asked for.

        Raises:
            RegistryUnauthorizedError: the token server refused every login.
        """
        challenge = self._challenges.get(ref.registry)
        if challenge is None:
            return None
        account = await self._account(ref)
        fixed = _fixed_header(challenge, account.login)
        if fixed is not None or challenge.scheme == "basic":
            return fixed
        return f"Bearer {await self._token(ref, base, challenge, scopes, account)}"

    async def refused(
        self, ref: Reference, scopes: tuple[str, ...], sent: str | None, challenges: Iterable[str]
    ) -> bool:
        """Learn from a 401; says whether asking again makes sense.

        Args:
            ref: what was asked about.
            scopes: what was asked for.
            sent: the ``Authorization`` that was refused.
            challenges: the ``WWW-Authenticate`` headers.
        """
        challenge = choose(challenges) or self._challenges.get(ref.registry)
        if challenge is None:
            return False
        self._challenges[ref.registry] = challenge
        account = await self._account(ref)
        if sent is None:
            return challenge.scheme == "bearer" or account.login is not None
        key = (ref.registry, ref.repository, scopes)
        token = self._tokens.get(key)
        if sent != _fixed_header(challenge, account.login):
            if token is None or sent != f"Bearer {token.value}":
                return True  # another request was refused before us, and something changed
            del self._tokens[key]
            if token.used:
                return True  # it worked before, so it expired
        if account.login is None:
            return False
        account.position += 1
        return account.login is not None

    async def source_of(self, ref: Reference) -> str:
        """Names the logins that were tried for a repository; empty if there were none."""
        return ", ".join(dict.fromkeys(i.source for i in (await self._account(ref)).logins))

    def worked(self, ref: Reference, scopes: tuple[str, ...]) -> None:
        """Note that the token was accepted, so that a later refusal means it expired."""
        token = self._tokens.get((ref.registry, ref.repository, scopes))
        if token is not None:
            token.used = True

    async def _account(self, ref: Reference) -> _Account:
        found = self._accounts.get(ref.name)
        if found is None:
            found = _Account(await self._credentials.logins(ref))
            if len(self._accounts) >= _CACHE_LIMIT:
                self._accounts.clear()
            found = self._accounts.setdefault(ref.name, found)
        return found

    async def _token(
        self,
        ref: Reference,
        base: str,
        challenge: Challenge,
        scopes: tuple[str, ...],
        account: _Account,
    ) -> str:
        key = (ref.registry, ref.repository, scopes)
        if len(self._locks) >= _CACHE_LIMIT:
            self._locks.clear()
            self._tokens.clear()
        async with self._locks.setdefault(key, asyncio.Lock()):
            token = self._tokens.get(key)
            if token is None or token.expires < time.monotonic():
                token = await self._fetch(ref, base, challenge, scopes, account)
                self._tokens[key] = token
            return token.value

    async def _fetch(
        self,
        ref: Reference,
        base: str,
        challenge: Challenge,
        scopes: tuple[str, ...],
        account: _Account,
    ) -> _Token:
        check_realm(challenge.realm, base, self._insecure)

        while True:
            login = account.login

            async def ask(login: Login | None = login) -> Response:
                with unwrapped(ref):
                    answer = await self._ask(challenge, scopes, login, base)
                if answer.status in {408, 429} or answer.status >= 500:
                    raise RegistryUnavailableError(
                        f"the token server of {ref.registry} answered {answer.status}",
                        host=ref.registry,
                        repository=ref.repository,
                        status=answer.status,
                    )
                return answer

            answer = await retrying(ask, self._http.retry)
            if answer.status == 200:
                return _read_token(answer.body, ref)
            account.position += 1 if login is not None else 0
            if account.login is None:
                raise RegistryUnauthorizedError(
                    f"{urlsplit(challenge.realm).hostname} gives no token for {ref.name} "
                    f"(status {answer.status})",
                    hint=await self.hint(ref),
                    host=ref.registry,
                    repository=ref.repository,
                    status=answer.status,
                )

    async def hint(self, ref: Reference) -> str:
        """What to do about a refusal."""
        tried = await self.source_of(ref)
        login = f"docker login {ref.registry}"
        if tried:
            return f"the credentials of {tried} were refused: renew them ({login})"
        return (
            f"no credentials are configured for it: run {login}, or give a pull secret; "
            "a repository that does not exist looks the same"
        )

    async def _ask(
        self, challenge: Challenge, scopes: tuple[str, ...], login: Login | None, base: str
    ) -> Response:
        if login is not None and login.identity_token:
            return await self._post(
                challenge,
                scopes,
                base,
                {"grant_type": "refresh_token", "refresh_token": login.identity_token},
            )
        query = [("service", challenge.service)] if challenge.service else []
        query += [("scope", scope) for scope in scopes]
        headers = {}
        if login is not None:
            query.append(("account", login.username))
            headers["Authorization"] = basic(login.username, login.password)
        separator = "&" if urlsplit(challenge.realm).query else "?"
        answer = await self._http.fetch(
            "GET",
            f"{challenge.realm}{separator}{urlencode(query)}",
            headers=headers,
            max_size=_ANSWER_LIMIT,
            sent_by=base,
        )
        if answer.status in {404, 405} and login is not None:
            password = {"grant_type": "password", "username": login.username}
            password["password"] = login.password
            return await self._post(challenge, scopes, base, password)
        return answer

    async def _post(
        self, challenge: Challenge, scopes: tuple[str, ...], base: str, form: dict[str, str]
    ) -> Response:
        form |= {"client_id": _CLIENT_ID, "service": challenge.service, "scope": " ".join(scopes)}
        return await self._http.fetch(
            "POST",
            challenge.realm,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            max_size=_ANSWER_LIMIT,
            sent_by=base,
        )


def _fixed_header(challenge: Challenge, login: Login | None) -> str | None:
    """The ``Authorization`` of a login that needs no token server."""
    if login is None:
        return None
    if login.registry_token:
        return f"Bearer {login.registry_token}"
    return basic(login.username, login.password) if challenge.scheme == "basic" else None


def _read_token(body: bytes, ref: Reference) -> _Token:
    what = f"the answer of the token server of {ref.registry}"
    try:
        obj = load_object(body, what=what, max_size=_ANSWER_LIMIT)
    except InvalidManifestError as error:
        raise RegistryError(error.message, host=ref.registry, repository=ref.repository) from None
    value = obj.get("token") or obj.get("access_token")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise RegistryError(f"{what} has no token", host=ref.registry, repository=ref.repository)
    lifetime = obj.get("expires_in")
    seconds = float(lifetime) if isinstance(lifetime, int | float) else _DEFAULT_LIFETIME
    # A tenth less, as clocks and requests take time; never renewed more than once in ten seconds.
    return _Token(value, time.monotonic() + max(10.0, min(seconds, 86400.0) * 0.9))
