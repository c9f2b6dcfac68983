"""With which logins evidence is read: the webhook's own, and those that the pod would pull with.

Logins go to the registry host they are for and nowhere else (``plimsoll.oci.auth``), and verdicts
that were reached with one tenant's logins are never shown to another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from plimsoll.kube.errors import KubeError
from plimsoll.oci.auth import Credentials
from plimsoll.oci.errors import InvalidDockerConfigError
from plimsoll.webhook.cache import ExpiringCache, Flights
from plimsoll.webhook.errors import UndecidedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plimsoll.kube.client import KubeClient

log = structlog.get_logger("plimsoll.webhook.access")

_REMEMBER = 60.0
_REMEMBER_ABSENCE = 5.0
_OBJECTS = 4096
_KINDS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Logins for one pod."""

    credentials: Credentials
    fingerprint: str = ""
    """Tells the logins of one tenant from those of another; empty: only the webhook's own."""


ANONYMOUS = Access(Credentials.none())


class OwnLogins:
    """The webhook's docker configuration, read again when the file changes."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        folder = self._environ.get("DOCKER_CONFIG")
        self._path = Path(folder) / "config.json" if folder else None
        self._version = -1
        self._credentials = Credentials.none()

    def __call__(self) -> Credentials:
        """The logins now; the last good ones if the file is broken."""
        if self._path is None:
            return self._credentials
        try:
            version = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            version = 0
        if version != self._version:
            self._version = version
            try:
                self._credentials = (
                    Credentials.from_file(self._path) if version else Credentials.none()
                )
            except InvalidDockerConfigError as error:
                log.warning("own logins not read", error=str(error))
        return self._credentials


class PullSecrets:
    """Finds the logins that a pod would pull with.

    Args:
        api: the session; ``None`` where there is no cluster.
        own: the webhook's own logins.
        enabled: whether pods' Secrets are read at all.
    """

    def __init__(self, api: KubeClient | None, own: OwnLogins, *, enabled: bool = True) -> None:
        self._api = api
        self._own = own
        self._enabled = enabled
        self._objects: ExpiringCache[dict[str, Any]] = ExpiringCache(_OBJECTS, time.monotonic)
        self._flights: Flights[dict[str, Any]] = Flights()
        self._refused = False

    async def own(self, names: Sequence[str] = ()) -> Access:
        """The webhook's own logins, and those of Secrets in its own namespace.

        Raises:
            UndecidedError: the API server cannot be asked.
        """
        if not names or self._api is None:
            return Access(self._own())
        return await self._of_secrets(self._api.config.namespace, names)

    def of_any_pod(self) -> Access | None:
        """The logins if they are the same for every pod, which nobody need be asked for."""
        return None if self._enabled and self._api is not None else Access(self._own())

    async def of_pod(self, namespace: str, names: Sequence[str], service_account: str) -> Access:
        """The logins of a pod's pull secrets and of its ServiceAccount's, before our own.

        Raises:
            UndecidedError: the API server cannot be asked.
        """
        if not self._enabled or self._api is None or not namespace:
            return Access(self._own())
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}"
        account = await self._read(path)
        listed = [item.get("name", "") for item in account.get("imagePullSecrets") or []]
        wanted = dict.fromkeys(name for name in [*names, *listed] if name)
        return await self._of_secrets(namespace, list(wanted))

    async def _of_secrets(self, namespace: str, names: Sequence[str]) -> Access:
        found: list[Credentials] = []
        digest = hashlib.sha256(namespace.encode())
        for name in names:
            secret = await self._read(f"/api/v1/namespaces/{namespace}/secrets/{name}")
            payload = _payload(secret)
            if payload is None:
                continue
            try:
                found.append(Credentials.from_bytes(payload, f"secret {namespace}/{name}"))
            except InvalidDockerConfigError as error:
                log.warning("pull secret not used", error=str(error))
                continue
            digest.update(payload)
        if not found:
            return Access(self._own())
        return Access(Credentials.merged(*found, self._own()), digest.hexdigest())

    async def _read(self, path: str) -> dict[str, Any]:
        """An object, or nothing if it is not there or may not be read; remembered for a while."""
        known = self._objects.get(path)
        return (
            known if known is not None else await self._flights.join(path, lambda: self._ask(path))
        )

    async def _ask(self, path: str) -> dict[str, Any]:
        if self._api is None:
            return {}
        try:
            found = await self._api.get(path)
        except KubeError as error:
            if error.status not in {403, 404}:
                raise UndecidedError(f"the pod's pull secrets cannot be read: {error}") from error
            if error.status == 403 and not self._refused:
                self._refused = True
                log.warning("pull secrets of pods may not be read", error=str(error))
            self._objects.put(path, {}, _REMEMBER_ABSENCE)
            return {}
        kept: dict[str, Any] = {
            key: found[key] for key in ("type", "imagePullSecrets") if key in found
        }
        if found.get("type") in _KINDS:
            kept["data"] = found.get("data")
        self._objects.put(path, kept, _REMEMBER)
        return kept


def _payload(secret: Mapping[str, Any]) -> bytes | None:
    """The docker configuration in a pull secret; other Secrets are not opened."""
    key = _KINDS.get(secret.get("type", ""))
    value = (secret.get("data") or {}).get(key) if key else None
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return None
