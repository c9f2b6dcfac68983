"""Where credentials for a registry come from: docker's configuration and its relatives.

Read are ``config.json`` of docker, ``auth.json`` of podman, and the payload of Kubernetes pull
secrets (``kubernetes.io/dockerconfigjson`` and the older ``dockercfg``). Only files of the user
may name credential helpers: bytes from a cluster never make us run a program.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plimsoll.oci.errors import InvalidDockerConfigError, InvalidManifestError
from plimsoll.oci.reference import DEFAULT_REGISTRY
from plimsoll.oci.strictjson import load_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plimsoll.oci.reference import Reference

_CONFIG_LIMIT: Final = 4 << 20
_HELPER_TIMEOUT: Final = 30.0
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_DOCKER_HOSTS = frozenset({"docker.io", "registry-1.docker.io", DEFAULT_REGISTRY})
#: The key under which docker keeps the credentials of its own registry.
_DOCKER_KEY: Final = f"https://{DEFAULT_REGISTRY}/v1/"
#: The user name by which a helper says that its secret is an identity token.
_TOKEN_USER: Final = "<token>"  # noqa: S105  a marker, not a secret


@dataclass(frozen=True, slots=True)
class Login:
    """One way to log in to a registry."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """An OAuth 2 refresh token; wins over the password."""
    registry_token: str = field(default="", repr=False)
    """A bearer token to be sent as it is."""
    source: str = ""
    """Where it was found, for errors."""


@dataclass(frozen=True, slots=True)
class _Entry:
    host: str
    path: str
    login: Login

    def fits(self, reference: Reference) -> bool:
        return _host_fits(self.host, reference.registry) and (
            not self.path or f"{reference.repository}/".startswith(f"{self.path}/")
        )


@dataclass(frozen=True, slots=True)
class _Config:
    source: str
    entries: tuple[_Entry, ...] = ()
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""

    def helper_for(self, reference: Reference) -> tuple[str, str] | None:
        """The helper program and the key to ask it for."""
        key = _DOCKER_KEY if reference.registry == DEFAULT_REGISTRY else reference.registry
        for name, helper in self.helpers.items():
            if _split_key(name)[0] == reference.registry:
                return helper, key
        return (self.store, key) if self.store else None


class Credentials:
    """Logins by registry and repository, from any number of configurations.

    Construct it with one of the class methods. It is immutable; secrets do not show in its
    ``repr``.
    """

    def __init__(self, configs: Iterable[_Config] = ()) -> None:
        self.configs = tuple(configs)

    def __repr__(self) -> str:
        return f"Credentials({', '.join(config.source for config in self.configs)})"

    @classmethod
    def none(cls) -> Credentials:
        """Anonymous everywhere."""
        return cls()

    @classmethod
    def default(cls, environ: Mapping[str, str] | None = None) -> Credentials:
        """What the user is logged in to.

        Reads ``$DOCKER_CONFIG/config.json`` (else ``~/.docker/config.json``) and
        ``$REGISTRY_AUTH_FILE`` (else podman's ``auth.json``); what does not exist is left out.

        Raises:
            InvalidDockerConfigError: one exists and cannot be read.
        """
        env = os.environ if environ is None else environ
        home = Path(env.get("HOME") or Path.home())
        runtime = env.get("XDG_RUNTIME_DIR")
        docker = Path(env.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
        podman = env.get("REGISTRY_AUTH_FILE") or (
            f"{runtime}/containers/auth.json" if runtime else None
        )
        paths = [docker, *([Path(podman)] if podman else [])]
        return cls.merged(*(cls.from_file(path) for path in paths if path.exists()))

    @classmethod
    def from_file(cls, path: Path) -> Credentials:
        """Read one docker configuration, its credential helpers included.

        Raises:
            InvalidDockerConfigError: if it cannot be read.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InvalidDockerConfigError(
                f"cannot read the docker configuration {path}: {error.strerror}"
            ) from error
        return cls([_parse(data, str(path), helpers=True)])

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> Credentials:
        """Read the payload of a pull secret; credential helpers in it are ignored.

        Args:
            data: value of ``.dockerconfigjson`` or ``.dockercfg``.
            source: names it in errors: ``secret team/pull``.

        Raises:
            InvalidDockerConfigError: if it cannot be read; the text does not repeat its content.
        """
        return cls([_parse(data, source, helpers=False)])

    @classmethod
    def basic(cls, host: str, username: str, password: str) -> Credentials:
        """One user name and password for one registry."""
        login = Login(username=username, password=password, source=f"the login of {host}")
        return cls([_Config(login.source, (_Entry(*_split_key(host), login),))])

    @classmethod
    def merged(cls, *several: Credentials) -> Credentials:
        """All of them, the first ones preferred."""
        return cls(config for item in several for config in item.configs)

    @property
    def sources(self) -> list[str]:
        """Where they come from."""
        return [config.source for config in self.configs]

    async def logins(self, reference: Reference) -> list[Login]:
        """What to try for this repository, best first: entries with the longest path, then hosts.

        Raises:
            InvalidDockerConfigError: a credential helper failed.
        """
        found: list[tuple[int, bool, Login]] = []
        for config in self.configs:
            matching = [entry for entry in config.entries if entry.fits(reference)]
            found.extend((len(e.path), "*" not in e.host, e.login) for e in matching)
            helper = config.helper_for(reference)
            if helper is not None and not matching:
                login = await _ask_helper(*helper, config.source)
                if login is not None:
                    found.append((0, True, login))
        found.sort(key=lambda item: item[:2], reverse=True)
        return list(dict.fromkeys(login for _, _, login in found))


def _parse(data: bytes, source: str, *, helpers: bool) -> _Config:
    try:
        obj = load_object(data, what=source, max_size=_CONFIG_LIMIT)
    except InvalidManifestError as error:
        raise InvalidDockerConfigError(
            f"cannot read credentials: {error.message}",
            hint='it should look like {"auths": {"registry.example": {"auth": "…"}}}',
        ) from None
    known = {"auths", "credHelpers", "credsStore"}
    auths = obj.get("auths", {} if known & set(obj) or not _is_dockercfg(obj) else obj)
    if not isinstance(auths, dict):
        raise InvalidDockerConfigError(f"{source}: auths is no map of registries")
    entries = []
    for key, value in auths.items():
        login = _login(value, key, source)
        if login is not None:
            entries.append(_Entry(*_split_key(key), login))
    named = obj.get("credHelpers")
    store = obj.get("credsStore")
    return _Config(
        source,
        tuple(entries),
        {str(k): str(v) for k, v in named.items()} if helpers and isinstance(named, dict) else {},
        store if helpers and isinstance(store, str) else "",
    )


def _is_dockercfg(obj: Mapping[str, Any]) -> bool:
    return bool(obj) and all(
        isinstance(value, dict) and {"auth", "username"} & set(value) for value in obj.values()
    )


def _login(value: Any, key: str, source: str) -> Login | None:
    if not isinstance(value, dict):
        raise InvalidDockerConfigError(f"{source}: the entry of {key[:100]!r} is no object")
    texts = {name: item for name, item in value.items() if isinstance(item, str)}
    username, password = texts.get("username", ""), texts.get("password", "")
    if texts.get("auth"):
        try:
            plain = base64.b64decode(texts["auth"].strip(), validate=True).decode()
            username, colon, password = plain.partition(":")
        except (binascii.Error, ValueError):
            colon = ""
        if not colon:
            raise InvalidDockerConfigError(
                f"{source}: the auth of {key[:100]!r} is no base64 of user:password",
                hint="log in anew, or make the secret with kubectl create secret docker-registry",
            )
        password = password.rstrip("\0")
    login = Login(
        username, password, texts.get("identitytoken", ""), texts.get("registrytoken", ""), source
    )
    empty = not (login.username or login.identity_token or login.registry_token)
    return None if empty else login


def _split_key(key: str) -> tuple[str, str]:
    """Host and path of a key, which may be written as a URL."""
    bare = re.sub(r"^https?://", "", key.strip(), flags=re.IGNORECASE).rstrip("/")
    host, _, path = bare.partition("/")
    host = host.lower()
    path = re.sub(r"^v[12](?:/|$)", "", path)
    return (DEFAULT_REGISTRY if host in _DOCKER_HOSTS else host), path


def _host_fits(pattern: str, host: str) -> bool:
    if "*" not in pattern:
        return pattern == host.lower()
    have, want = host.lower().split("."), pattern.split(".")
    # As in Kubernetes: a star stands for (a part of) one label, never for several.
    return len(have) == len(want) and all(map(fnmatchcase, have, want))


async def _ask_helper(helper: str, key: str, source: str) -> Login | None:
    program = f"docker-credential-{helper}"
    if _HELPER_NAME.fullmatch(helper) is None:
        raise InvalidDockerConfigError(f"{source}: {helper[:60]!r} is no credential helper's name")
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise InvalidDockerConfigError(
            f"{source} names the credential helper {program}, which does not start: "
            f"{error.strerror}",
            hint="install it, or remove it from the configuration",
        ) from error
    try:
        async with asyncio.timeout(_HELPER_TIMEOUT):
            output, _ = await process.communicate(key.encode())
    except TimeoutError:
        raise InvalidDockerConfigError(
            f"{program} gave no answer for {key} within {_HELPER_TIMEOUT:.0f} s"
        ) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        if b"credentials not found" in output:
            return None
        raise InvalidDockerConfigError(
            f"{program} failed for {key} (exit status {process.returncode})",
            hint=f"run: echo {key} | {program} get",
        )
    try:
        answer = json.loads(output)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise InvalidDockerConfigError(f"{program} gave no credentials for {key}") from None
    if username == _TOKEN_USER:
        return Login(identity_token=secret, source=program)
    return Login(username=username, password=secret, source=program)
