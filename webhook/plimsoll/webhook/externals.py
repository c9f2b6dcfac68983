"""What policies take from places that nobody watches for us; the last good of each is kept.

Rules in ConfigMaps and behind URLs, public keys of key management services.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from plimsoll.errors import Error
from plimsoll.http import NO_RETRY, Http, HttpError
from plimsoll.kube.errors import KubeError
from plimsoll.signing.kms.service import authorities_of, open_kms
from plimsoll.webhook.authorities import KmsKey
from plimsoll.webhook.rules.text import RemoteText, Texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from plimsoll.webhook.needs import Needs

log = structlog.get_logger("plimsoll.webhook.externals")

#: Bytes of a rule behind a URL.
RULE_LIMIT: Final = 1 << 20
#: Seconds after which the public keys of a service are asked for again: keys are rotated.
KMS_SECONDS: Final = 300.0
#: Seconds that one round of questions may take; what is late is asked for in the next.
_ROUND_SECONDS: Final = 8.0


class Externals:
    """Keeps what policies need from elsewhere.

    Args:
        namespace: the webhook's own.
        read_config_map: asks the API server for a ConfigMap of that namespace by its name.
        environ: addresses and credentials of key management services; the process's by default.
    """

    def __init__(
        self,
        namespace: str,
        read_config_map: Callable[[str], Awaitable[Mapping[str, Any]]] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.texts = Texts(namespace)
        self.kms: dict[str, KmsKey] = {}
        self._read = read_config_map
        self._environ = os.environ if environ is None else environ
        self._due: dict[str, float] = {}

    async def update(self, needs: Iterable[Needs]) -> bool:
        """Ask for what is missing or old; whether the API server answered all of it."""
        wanted = list(needs)
        maps = sorted({name for one in wanted for name in one.config_maps})
        remote = dict(sorted({pair for one in wanted for pair in one.remote}))
        kms = sorted({reference for one in wanted for reference in one.kms})
        complete, config_maps = await self._config_maps(maps)
        texts, keys = await asyncio.gather(self._remote(remote), self._kms(kms))
        self.texts = Texts(self.texts.namespace, config_maps, texts)
        self.kms = keys
        return complete

    async def _config_maps(
        self, names: list[str]
    ) -> tuple[bool, dict[str, Mapping[str, str] | None]]:
        complete = True
        found: dict[str, Mapping[str, str] | None] = {}
        for name in names:
            if self._read is None:
                found[name] = None
                continue
            try:
                item = await self._read(name)
            except KubeError as error:
                if error.status in {403, 404}:
                    found[name] = None
                    continue
                log.warning("cannot read a rule", config_map=name, error=str(error))
                complete = False
                found[name] = self.texts.config_maps.get(name)
            else:
                data = item.get("data") or {}
                found[name] = {str(key): str(value) for key, value in data.items()}
        return complete, found

    async def _remote(self, wanted: Mapping[str, str]) -> dict[str, RemoteText]:
        known = self.texts.remote
        found = {
            checksum: known[checksum]
            for checksum in wanted.values()
            if checksum in known and known[checksum].text is not None
        }
        missing = [(url, one) for url, one in wanted.items() if one not in found]
        if missing:
            async with Http(retry=NO_RETRY, allow_private=False) as http:
                texts = await asyncio.gather(*(fetch_text(http, *pair) for pair in missing))
            found |= dict(zip((one for _, one in missing), texts, strict=True))
        return found

    async def _kms(self, wanted: list[str]) -> dict[str, KmsKey]:
        now = time.monotonic()
        due = [one for one in wanted if self._due.get(one, 0.0) <= now]
        if due:
            async with Http(retry=NO_RETRY, ca_file=authorities_of(self._environ)) as http:
                asked = await asyncio.gather(*(self._ask(http, one) for one in due))
            for reference, key in zip(due, asked, strict=True):
                last = self.kms.get(reference)
                if key.pem:
                    self._due[reference] = now + KMS_SECONDS
                elif last is not None and last.pem:
                    log.warning("cannot read a key", kms=reference, error=key.fault)
                    continue
                self.kms[reference] = key
        return {one: self.kms[one] for one in wanted}

    async def _ask(self, http: Http, reference: str) -> KmsKey:
        try:
            async with asyncio.timeout(_ROUND_SECONDS):
                return KmsKey(await open_kms(reference, http, self._environ).public_keys())
        except TimeoutError:
            return KmsKey(fault="the service does not answer")
        except Error as error:
            return KmsKey(fault=str(error))


async def fetch_text(http: Http, url: str, checksum: str) -> RemoteText:
    """The text behind a URL, if it has the SHA-256 (hex)."""
    try:
        async with asyncio.timeout(_ROUND_SECONDS):
            data = await http.get_bytes(url, max_size=RULE_LIMIT)
    except TimeoutError:
        return RemoteText(fault=f"{url} does not answer")
    except HttpError as error:
        return RemoteText(fault=error.message)
    if hashlib.sha256(data).hexdigest() != checksum:
        return RemoteText(fault=f"{url} has another text than sha256sum says")
    try:
        return RemoteText(data.decode())
    except UnicodeDecodeError:
        return RemoteText(fault=f"{url} has no text")
