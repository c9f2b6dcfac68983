"""A whole Sigstore of real servers on loopback: Fulcio, Rekor v2, a timestamp authority.

No CT log: certificates carry no SCT. The trust root and the signing config are made from the keys
that the servers have.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gotools import tool
from registries import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

AUDIENCE = "sigstore"
START = "2020-01-01T00:00:00Z"
_ORIGIN = "rekor.test"
_PATIENCE = 60.0


@dataclass(frozen=True)
class SigstoreServers:
    """Running servers and the files that a client needs."""

    fulcio: str
    rekor: str
    """Base URL of the API that writes."""

    tsa: str
    """URL that stamps."""

    folder: Path
    authority: bytes
    """Fulcio's chain (PEM)."""

    stampers: bytes
    """The timestamp authority's chain (PEM)."""

    log_key: ed25519.Ed25519PrivateKey

    @property
    def trusted_root(self) -> Path:
        """``trusted_root.json``."""
        return self.folder / "trusted_root.json"

    @property
    def signing_config(self) -> Path:
        """``signing_config.json``."""
        return self.folder / "signing_config.json"

    @property
    def tiles(self) -> Path:
        """The log's checkpoint and tiles, files for any static server."""
        return self.folder / "tiles"

    def root(self, **other: Any) -> dict[str, Any]:
        """The trust root; members can be replaced."""
        public = self.log_key.public_key()
        named = _ORIGIN.encode() + b"\n\x01" + public.public_bytes_raw()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                {
                    "baseUrl": f"https://{_ORIGIN}",
                    "hashAlgorithm": "SHA2_256",
                    "publicKey": {
                        "rawBytes": _b64(spki),
                        "keyDetails": "PKIX_ED25519",
                        "validFor": {"start": START},
                    },
                    "logId": {"keyId": _b64(hashlib.sha256(named).digest())},
                }
            ],
            "certificateAuthorities": [_authority(self.authority, self.fulcio)],
            "ctlogs": [],
            "timestampAuthorities": [_authority(self.stampers, self.tsa)],
        } | other

    def config(self, **other: Any) -> dict[str, Any]:
        """The signing config; members can be replaced."""
        return {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [_service(self.fulcio, 1)],
            "oidcUrls": [],
            "rekorTlogUrls": [_service(self.rekor, 2)],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": [_service(self.tsa, 1)],
            "tsaConfig": {"selector": "ANY"},
        } | other


def email_issuer(url: str) -> dict[str, dict[str, Any]]:
    """Configuration of Fulcio for an issuer whose tokens name mail addresses."""
    return {url: {"IssuerURL": url, "ClientID": AUDIENCE, "Type": "email"}}


def kubernetes_issuer(url: str, ca: str | None = None) -> dict[str, dict[str, Any]]:
    """Configuration of Fulcio for the ServiceAccount tokens of a cluster.

    Args:
        url: the issuer, ``--service-account-issuer`` of its API server.
        ca: of the API server (PEM), where the system does not know it.
    """
    entry = {"IssuerURL": url, "ClientID": AUDIENCE, "Type": "kubernetes"}
    return {url: entry | ({"CACert": ca} if ca else {})}


@contextlib.contextmanager
def sigstore_servers(
    issuers: Mapping[str, Mapping[str, Any]],
    *,
    address: str = "127.0.0.1",
    environ: Mapping[str, str] | None = None,
) -> Iterator[SigstoreServers]:
    """Run the servers until the end of the block.

    Args:
        issuers: OIDC issuers that Fulcio believes, see ``email_issuer``, ``kubernetes_issuer``.
        address: to listen on; one of a bridge lets pods reach them.
        environ: further variables of Fulcio (``SSL_CERT_FILE``).
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plimsoll-sigstore-")))
        (folder / "fulcio.json").write_text(json.dumps({"OIDCIssuers": issuers}))
        key = ed25519.Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "log.pem").write_bytes(pem)
        (folder / "tiles").mkdir()
        fulcio = _fulcio(stack, folder, address, environ or {})
        rekor = _rekor(stack, folder, address)
        tsa = _tsa(stack, folder, address)
        bundle = json.loads(_get(f"{fulcio}/api/v2/trustBundle"))
        servers = SigstoreServers(
            fulcio=fulcio,
            rekor=rekor,
            tsa=f"{tsa}/api/v1/timestamp",
            folder=folder,
            authority="".join(bundle["chains"][0]["certificates"]).encode(),
            stampers=_get(f"{tsa}/api/v1/timestamp/certchain"),
            log_key=key,
        )
        servers.trusted_root.write_text(json.dumps(servers.root()))
        servers.signing_config.write_text(json.dumps(servers.config()))
        yield servers


def _fulcio(
    stack: contextlib.ExitStack, folder: Path, address: str, environ: Mapping[str, str]
) -> str:
    port, metrics = (free_port(address) for _ in range(2))
    # Its HTTP gateway looks for its gRPC side at 127.0.0.1, whatever the host.
    inner = "127.0.0.1"
    grpc = free_port(inner)
    arguments = [
        "serve",
        "--ca=ephemeralca",
        "--ct-log-url=",
        f"--config-path={folder / 'fulcio.json'}",
        f"--host={address}",
        f"--port={port}",
        f"--grpc-host={inner}",
        f"--grpc-port={grpc}",
        f"--metrics-port={metrics}",
        f"--legacy-unix-domain-socket={folder / 'fulcio.sock'}",
    ]
    url = f"http://{address}:{port}"
    _run(stack, folder, "fulcio", arguments, f"{url}/api/v2/trustBundle", environ)
    return url


def _rekor(stack: contextlib.ExitStack, folder: Path, address: str) -> str:
    port, grpc, metrics = (free_port(address) for _ in range(3))
    arguments = [
        "serve",
        f"--hostname={_ORIGIN}",
        f"--storage-dir={folder / 'tiles'}",
        f"--signer-filepath={folder / 'log.pem'}",
        f"--http-address={address}",
        f"--http-port={port}",
        f"--grpc-address={address}",
        f"--grpc-port={grpc}",
        f"--http-metrics-port={metrics}",
        "--checkpoint-interval=1s",
        "--batch-max-age=50ms",
    ]
    url = f"http://{address}:{port}"
    _run(stack, folder, "rekor-server", arguments, f"{url}/healthz", {})
    return url


def _tsa(stack: contextlib.ExitStack, folder: Path, address: str) -> str:
    port = free_port(address)
    arguments = [f"--host={address}", f"--port={port}"]
    url = f"http://{address}:{port}"
    _run(stack, folder, "timestamp-server", arguments, f"{url}/api/v1/timestamp/certchain", {})
    return url


def _run(
    stack: contextlib.ExitStack,
    folder: Path,
    name: str,
    arguments: Sequence[str],
    probe: str,
    environ: Mapping[str, str],
) -> None:
    log = folder / f"{name}.log"
    process = subprocess.Popen(
        [str(tool(name)), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stack.enter_context(log.open("wb")),
        stderr=subprocess.STDOUT,
        env={**os.environ, "HOME": str(folder), **environ},
        cwd=folder,
    )
    stack.callback(_stop, process)
    end = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(OSError, urllib.error.URLError):
            _get(probe)
            return
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{name} does not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        data: bytes = answer.read()
        return data


def _authority(pem: bytes, url: str) -> dict[str, Any]:
    chain = x509.load_pem_x509_certificates(pem)
    return {
        "subject": {"organization": "test", "commonName": "test"},
        "uri": url,
        "certChain": {
            "certificates": [{"rawBytes": _b64(one.public_bytes(Encoding.DER))} for one in chain]
        },
        "validFor": {"start": START},
    }


def _service(url: str, version: int) -> dict[str, Any]:
    return {
        "url": url,
        "majorApiVersion": version,
        "validFor": {"start": START},
        "operator": "test",
    }


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
