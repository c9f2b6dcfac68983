"""What a cluster's OIDC issuer shows, for a server that cannot reach the cluster's names.

The issuer of most clusters has a name that only pods resolve. Here a proxy answers for it: whatever
host is asked for by ``CONNECT`` is played by the proxy itself, with a certificate made for it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import ssl
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator

_DISCOVERY = "/.well-known/openid-configuration"
_KEYS = "/openid/v1/jwks"


@contextlib.contextmanager
def issuer_mirror(discovery: dict[str, Any], keys: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Play an issuer until the end of the block.

    Args:
        discovery: what the API server says at ``/.well-known/openid-configuration``.
        keys: and at ``/openid/v1/jwks``.

    Yields:
        The environment that a Go program needs to find the issuer here.
    """
    issuer = str(discovery["issuer"]).rstrip("/")
    path = urlsplit(issuer).path
    pages = {
        f"{path}{_DISCOVERY}": {**discovery, "jwks_uri": f"{issuer}{_KEYS}"},
        f"{path}{_KEYS}": keys,
    }
    with tempfile.TemporaryDirectory(prefix="plimsoll-issuer-") as name:
        pem = Path(name) / "issuer.pem"
        pem.write_bytes(_certificate(urlsplit(issuer).hostname or ""))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(context, pages))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            proxy = f"http://127.0.0.1:{server.server_port}"
            yield {"HTTPS_PROXY": proxy, "NO_PROXY": "", "no_proxy": "", "SSL_CERT_FILE": str(pem)}
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _handler(context: ssl.SSLContext, pages: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            inner = context.wrap_socket(self.connection, server_side=True)
            self.connection = inner
            self.rfile = inner.makefile("rb")
            self.wfile = inner.makefile("wb")
            self.close_connection = False

        def do_GET(self) -> None:
            found = pages.get(self.path)
            body = json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        def finish(self) -> None:
            with contextlib.suppress(OSError):
                super().finish()
            if isinstance(self.connection, ssl.SSLSocket):
                self.connection.close()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its name there)
            """Say nothing."""

    return Handler


def _certificate(host: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer mirror")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)
