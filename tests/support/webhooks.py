"""The real admission server on a loopback port with TLS, and reviews to send to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from gotools import tool
from plimsoll.oci.digest import digest_of
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Registry
from plimsoll.signing.attach import attach_bundle
from plimsoll.signing.sign import attest, sign_image
from plimsoll.webhook.access import OwnLogins, PullSecrets
from plimsoll.webhook.authorities import Secrets
from plimsoll.webhook.certificates import renewed, utc_now
from plimsoll.webhook.decide import Decider
from plimsoll.webhook.metrics import Metrics
from plimsoll.webhook.policies import compile_policy
from plimsoll.webhook.policyset import PolicySet
from plimsoll.webhook.registries import Registries
from plimsoll.webhook.server import AdmissionHandler, admission_app
from plimsoll.webhook.settings import Settings
from plimsoll.webhook.tls import ServingCertificate
from plimsoll.webhook.verifier import Verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from plimsoll.oci.auth import Credentials
    from plimsoll.signing.privatekey import PrivateKey
    from plimsoll.webhook.rules.engines import Engines
    from plimsoll.webhook.tracing import Tracing
    from plimsoll.webhook.trust import KnownRoots

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass
class Policies:
    """Policies that a test sets; stands where the cluster's would."""

    policies: PolicySet = field(default_factory=PolicySet)
    ready: bool = True
    problems: list[str] = field(default_factory=list)

    def set(
        self,
        secrets: Mapping[str, Mapping[str, bytes]] | None = None,
        trust: KnownRoots | None = None,
        engines: Engines | None = None,
        **specs: Any,
    ) -> None:
        """Replace all policies: name → spec."""
        known = Secrets("plimsoll-system", secrets or {})
        compiled = [
            compile_policy(name, spec, known, trust=trust, engines=engines)
            for name, spec in specs.items()
        ]
        self.policies = PolicySet(compiled, self.policies.generation + 1)


@dataclass
class Webhook:
    """A running server."""

    url: str
    session: aiohttp.ClientSession
    policies: Policies
    verifier: Verifier
    metrics: Metrics
    app: web.Application
    ending: asyncio.Event

    async def send(self, review: Any, *, path: str = "", **options: Any) -> dict[str, Any]:
        """Send an AdmissionReview, to another path if given; the ``response`` of the answer."""
        url = self.url.replace("/validate", path) if path else self.url
        body = review if isinstance(review, bytes) else json.dumps(review).encode()
        headers = {"Content-Type": "application/json"}
        async with self.session.post(url, data=body, headers=headers, **options) as answer:
            assert answer.status == 200, await answer.text()
            document = await answer.json()
        assert document["apiVersion"] == "admission.k8s.io/v1"
        response: dict[str, Any] = document["response"]
        if not isinstance(review, bytes):
            assert response["uid"] == review["request"]["uid"]
        return response

    async def admit(self, *images: str, **parts: Any) -> dict[str, Any]:
        """Ask about a new pod whose containers have these images."""
        return await self.send(review(pod(*images, **parts)))


@contextlib.asynccontextmanager
async def serving(
    settings: Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[Webhook]:
    """Start the server; everything is let go at the end."""
    chosen = settings or Settings()
    async with contextlib.AsyncExitStack() as stack:
        metrics = Metrics()
        registries = await stack.enter_async_context(
            Registries(
                insecure=chosen.insecure_registries,
                seconds=chosen.deadline,
                observe=metrics.registry_call,
                tracing=tracing,
            )
        )
        secrets = PullSecrets(None, OwnLogins(environ or {}))
        verifier = Verifier(chosen, registries, secrets)
        stack.push_async_callback(verifier.close)
        policies = Policies()
        metrics.follow(verifier, policies)
        decider = Decider(chosen, policies, verifier, secrets)
        certificate = ServingCertificate()
        identity = renewed(None, ["localhost"], b"", utc_now())
        certificate.use(identity.certificate, identity.key)
        ending = asyncio.Event()
        handler = AdmissionHandler(decider, metrics, tracing=tracing, ending=ending.is_set)
        app = admission_app(handler, pins=True)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificate.context)
        await site.start()
        port = runner.addresses[0][1]
        trust = ssl.create_default_context(cadata=identity.bundle.decode())
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))
        )
        url = f"https://localhost:{port}/validate"
        yield Webhook(url, session, policies, verifier, metrics, app, ending)


def pod(*images: str, **parts: Any) -> dict[str, Any]:
    """A pod whose containers have these images; ``parts`` go into its spec."""
    containers = [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]
    metadata = {"name": "p", "namespace": "team", "labels": {"app": "p"}}
    spec = {"containers": containers, **parts}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def review(target: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An AdmissionReview for an object; ``fields`` go into the request."""
    group, _, version = target["apiVersion"].rpartition("/")
    kind = target["kind"]
    request = {
        "uid": str(uuid.uuid4()),
        "kind": {"group": group, "version": version, "kind": kind},
        "resource": {"group": group, "version": version, "resource": f"{kind.lower()}s"},
        "namespace": "team",
        "operation": "CREATE",
        "userInfo": {"username": "somebody"},
        "object": target,
        **fields,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def key_policy(public_key: Path | str, glob: str = "**", **spec: Any) -> dict[str, Any]:
    """A policy spec with one key authority."""
    data = public_key if isinstance(public_key, str) else public_key.read_text()
    return {"images": [{"glob": glob}], "authorities": [{"key": {"data": data}}], **spec}


@dataclass(frozen=True)
class Cosign:
    """The real cosign with a key pair of its own."""

    folder: Path

    @classmethod
    def with_key(cls, folder: Path) -> Cosign:
        """Make a key pair in ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder)
        made.run("generate-key-pair")
        return made

    @property
    def public_key(self) -> Path:
        """``cosign.pub``."""
        return self.folder / "cosign.pub"

    def sign(self, image: str, *options: str) -> None:
        """``cosign sign``."""
        self.run("sign", "--key", str(self.folder / "cosign.key"), *_QUIET, *options, image)

    def attest(self, image: str, kind: str, predicate: Any, *options: str) -> None:
        """``cosign attest``."""
        file = self.folder / "predicate.json"
        file.write_text(json.dumps(predicate))
        given = ["--type", kind, "--predicate", str(file)]
        key = ["--key", str(self.folder / "cosign.key")]
        self.run("attest", *key, *given, *_QUIET, *options, image)

    def run(self, *arguments: str) -> str:
        """Run cosign; its standard output."""
        done = subprocess.run(
            [str(tool("cosign")), *arguments],
            cwd=self.folder,
            env={**os.environ, "COSIGN_PASSWORD": "", "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"cosign {arguments[0]}: {done.stderr}")
        return done.stdout


_QUIET = ["--yes", "--tlog-upload=false", "--use-signing-config=false", "--allow-insecure-registry"]


async def push_image(
    host: str, repository: str, tag: str, marker: str, credentials: Credentials | None = None
) -> str:
    """Push a tiny image that differs by ``marker``; ``HOST/REPO@DIGEST``."""
    reference = Reference.parse(f"{host}/{repository}:{tag}")
    async with Registry(credentials, insecure=frozenset({host})) as registry:
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Labels": {"marker": marker}},
                "rootfs": {"type": "layers", "diff_ids": []},
            }
        ).encode()
        described = await registry.push_blob(reference, config, _CONFIG)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": {
                    "mediaType": _CONFIG,
                    "digest": described.digest,
                    "size": described.size,
                },
                "layers": [],
            }
        ).encode()
        await registry.push_manifest(reference, manifest, _MANIFEST)
    return f"{host}/{repository}@{digest_of(manifest)}"


async def push_signed(
    host: str, repository: str, tag: str, key: PrivateKey, predicate: Any = None
) -> str:
    """Push a tiny image with a signature (and an SBOM, if given); ``HOST/REPO@DIGEST``."""
    image = await push_image(host, repository, tag, f"{repository}:{tag}")
    reference = Reference.parse(image)
    async with Registry(insecure=frozenset({host})) as registry:
        subject = await registry.resolve(reference)
        bundles = [sign_image(key, subject.digest)]
        if predicate is not None:
            bundles.append(attest(key, subject.digest, "spdx", predicate))
        for bundle in bundles:
            await attach_bundle(registry, reference, subject, bundle)
    return image


async def push_index(host: str, repository: str, tag: str, *images: str) -> str:
    """Push an index of images of the same repository; ``HOST/REPO@DIGEST``."""
    reference = Reference.parse(f"{host}/{repository}:{tag}")
    async with Registry(insecure=frozenset({host})) as registry:
        entries = []
        for architecture, image in zip(("amd64", "arm64"), images, strict=False):
            described = await registry.resolve(Reference.parse(image))
            entries.append(
                {
                    "mediaType": described.media_type,
                    "digest": described.digest,
                    "size": described.size,
                    "platform": {"os": "linux", "architecture": architecture},
                }
            )
        index = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}).encode()
        await registry.push_manifest(reference, index, _INDEX)
    return f"{host}/{repository}@{digest_of(index)}"


def for_tests(host: str, **changes: Any) -> Settings:
    """Settings that let the webhook read the registry of a test."""
    return replace(Settings(insecure_registries=frozenset({host})), **changes)
