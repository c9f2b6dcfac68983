"""Where the API server is and how to be known there."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from plimsoll.kube.errors import KubeConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class KubeConfig:
    """How to reach an API server.

    Attributes:
        server: base URL.
        tls: trust and, where used, the client certificate.
        token: a fixed bearer token.
        token_file: a file that holds the token; read again for every request, as it rotates.
        namespace: of this process.
    """

    server: str
    tls: ssl.SSLContext
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    namespace: str = "default"

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> KubeConfig:
        """``KUBECONFIG`` if it is set, else the pod's own ServiceAccount.

        Raises:
            KubeConfigError: if there is neither.
        """
        env = os.environ if environ is None else environ
        if env.get("KUBECONFIG"):
            return cls.from_file(Path(env["KUBECONFIG"]))
        host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (_SERVICE_ACCOUNT / "token").exists():
            raise KubeConfigError(
                "no Kubernetes API server is known",
                hint="run in a pod with a ServiceAccount token, or set KUBECONFIG",
            )
        return cls(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            tls=ssl.create_default_context(cafile=_SERVICE_ACCOUNT / "ca.crt"),
            token_file=_SERVICE_ACCOUNT / "token",
            namespace=(_SERVICE_ACCOUNT / "namespace").read_text().strip(),
        )

    @classmethod
    def from_file(cls, path: Path) -> KubeConfig:
        """Read the current context of a kubeconfig file (tokens and client certificates).

        Raises:
            KubeConfigError: it cannot be read, or asks for another kind of login.
        """
        try:
            config = yaml.safe_load(path.read_text())
            named = {
                kind: {item["name"]: item[kind] for item in config[f"{kind}s"]}
                for kind in ("cluster", "user", "context")
            }
            context = named["context"][config["current-context"]]
            cluster, user = named["cluster"][context["cluster"]], named["user"][context["user"]]
            if plugin := {"exec", "auth-provider"} & user.keys():
                raise KubeConfigError(
                    f"{path} logs in by {plugin.pop()}, which is not supported",
                    hint="use a token or a client certificate",
                )
            return cls(
                server=cluster["server"].rstrip("/"),
                tls=_tls(cluster, user, path.parent),
                token=user.get("token", ""),
                token_file=path.parent / user["tokenFile"] if "tokenFile" in user else None,
                namespace=context.get("namespace", "default"),
            )
        except (OSError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
            raise KubeConfigError(
                f"{path} cannot be used as a kubeconfig: {error!r}",
                hint="check it with kubectl --kubeconfig",
            ) from error

    def authorization(self) -> dict[str, str]:
        """The header that says who we are."""
        token = self.token_file.read_text().strip() if self.token_file else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    authority = _bytes(cluster, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate = _bytes(user, "client-certificate", folder)
    key = _bytes(user, "client-key", folder)
    if certificate and key:
        # OpenSSL reads keys from files only.
        with tempfile.NamedTemporaryFile(prefix="plimsoll-") as file:
            file.write(certificate.rstrip() + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _bytes(holder: Mapping[str, Any], key: str, folder: Path) -> bytes:
    if f"{key}-data" in holder:
        return base64.b64decode(holder[f"{key}-data"])
    return (folder / holder[key]).read_bytes() if key in holder else b""
