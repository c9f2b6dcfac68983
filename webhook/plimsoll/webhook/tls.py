"""The serving certificate, taken up without a restart: new handshakes use it at once."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING, Any

import structlog

from plimsoll.errors import Error
from plimsoll.kube.errors import KubeError
from plimsoll.webhook.certificates import Identity, renewed, utc_now
from plimsoll.webhook.errors import NotConfiguredError
from plimsoll.webhook.memfile import memory_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from plimsoll.kube.client import KubeClient
    from plimsoll.webhook.settings import Settings

log = structlog.get_logger("plimsoll.webhook.tls")

#: Seconds between two looks at the files or the Secret.
LOOK_SECONDS = 10.0


class ServingCertificate:
    """A TLS context whose certificate can be changed while it serves."""

    def __init__(self) -> None:
        self.context = _context()
        # A context of its own for each certificate: loading a second one into a context would
        # leave the first in use where their kinds of key differ.
        self.context.sni_callback = self._switch
        self.loaded = asyncio.Event()
        self._live: ssl.SSLContext | None = None
        self._pair: tuple[bytes, bytes] | None = None

    def use(self, certificate: bytes, key: bytes) -> bool:
        """Take up a certificate (PEM); whether it is another than before.

        Raises:
            NotConfiguredError: certificate and key cannot be used; what was in use stays so.
        """
        if self._pair == (certificate, key):
            return False
        context = _context()
        try:
            with memory_files(certificate, key) as (certificate_file, key_file):
                context.load_cert_chain(certificate_file, key_file)
        except (ssl.SSLError, OSError) as error:
            raise NotConfiguredError(f"the serving certificate cannot be used: {error}") from error
        self._live, self._pair = context, (certificate, key)
        self.loaded.set()
        return True

    def _switch(self, tls: ssl.SSLSocket | ssl.SSLObject, name: str, base: ssl.SSLContext) -> None:
        del name, base
        if self._live is not None:
            tls.context = self._live


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


async def follow_files(serving: ServingCertificate, certificate: Path, key: Path) -> None:
    """Keep the certificate that files hold (a mounted Secret, as cert-manager makes it)."""
    while True:
        try:
            pair = await asyncio.to_thread(lambda: (certificate.read_bytes(), key.read_bytes()))
            if serving.use(*pair):
                log.info("certificate loaded", file=str(certificate))
        except (OSError, NotConfiguredError) as error:
            log.warning("certificate not loaded", file=str(certificate), error=str(error))
        await asyncio.sleep(LOOK_SECONDS)


class SelfManaged:
    """Keeps authority and certificate in a Secret and the authority known to the API server.

    Any number of replicas may run this: a write that names the version it was made from loses
    against a faster one, and the next look takes up what the faster one wrote.
    """

    def __init__(self, api: KubeClient, settings: Settings, serving: ServingCertificate) -> None:
        namespace, service = api.config.namespace, settings.service
        self._api = api
        self._serving = serving
        self._names = [f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local"]
        self._secrets = f"/api/v1/namespaces/{namespace}/secrets"
        self._secret = settings.tls_secret
        base = "/apis/admissionregistration.k8s.io/v1"
        self._places = [f"{base}/validatingwebhookconfigurations/{settings.configuration}"]
        if settings.mutating_configuration:
            name = settings.mutating_configuration
            self._places.append(f"{base}/mutatingwebhookconfigurations/{name}")

    async def run(self) -> None:
        """Look after it until cancelled."""
        while True:
            pause = LOOK_SECONDS
            try:
                if await self.step():
                    pause = 0.5
            except Error as error:
                log.warning("certificate not looked after", error=str(error))
                pause = 2.0
            await asyncio.sleep(pause)

    async def step(self) -> bool:
        """Do what is due; whether something was changed and another look is worth while.

        Raises:
            KubeError: the API server refused or did not answer.
        """
        secret = await self._read_secret()
        configurations = {place: await self._maybe(place) for place in self._places}
        data = {} if secret is None else _decoded(secret)
        identity = Identity.from_data(data)
        wanted = renewed(identity, self._names, _told(configurations.values()), utc_now())
        if wanted is not identity:
            await self._write_secret(secret, wanted)
            return True
        if self._serving.use(wanted.certificate, wanted.key):
            log.info("certificate loaded", secret=self._secret)
        told = False
        for place, found in configurations.items():
            if found is None:
                log.warning("no webhook configuration to arm", path=place)
            elif _told([found]) != wanted.bundle:
                await self._tell(place, found, wanted.bundle)
                told = True
        return told

    async def _read_secret(self) -> dict[str, Any] | None:
        return await self._maybe(f"{self._secrets}/{self._secret}")

    async def _maybe(self, path: str) -> dict[str, Any] | None:
        try:
            return await self._api.get(path)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def _write_secret(self, secret: Mapping[str, Any] | None, identity: Identity) -> None:
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self._secret,
                "labels": {"app.kubernetes.io/managed-by": "plimsoll-webhook"},
            },
            "type": "kubernetes.io/tls",
            "data": {k: base64.b64encode(v).decode() for k, v in identity.to_data().items()},
        }
        try:
            if secret is None:
                await self._api.create(self._secrets, body)
            else:
                body["metadata"]["resourceVersion"] = secret["metadata"]["resourceVersion"]
                body["type"] = secret.get("type", "kubernetes.io/tls")
                await self._api.replace(f"{self._secrets}/{self._secret}", body)
            log.info("certificate written", secret=self._secret)
        except KubeError as error:
            if error.status != 409:
                raise

    async def _tell(self, place: str, configuration: Mapping[str, Any], bundle: bytes) -> None:
        """Write the bundle into every webhook of the configuration, by JSON patch of that field."""
        text = base64.b64encode(bundle).decode()
        version = configuration["metadata"]["resourceVersion"]
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        ]
        patch += [
            {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": text}
            for index in range(len(configuration.get("webhooks") or []))
        ]
        try:
            await self._api.json_patch(place, patch)
            log.info("API server told of the authority", path=place)
        except KubeError as error:
            if error.status not in {409, 422}:
                raise


def _decoded(secret: Mapping[str, Any]) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}


def _told(configurations: Iterable[Mapping[str, Any] | None]) -> bytes:
    """The bundle that all webhooks of all configurations have; empty if they differ."""
    webhooks = [hook for one in configurations if one for hook in one.get("webhooks") or []]
    found = {(one.get("clientConfig") or {}).get("caBundle") or "" for one in webhooks}
    return base64.b64decode(found.pop()) if len(found) == 1 else b""
