"""A Sigstore for one cluster: its ServiceAccounts sign, its webhook believes.

Works with any cluster whose administrator we are; nothing of it is changed.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from issuer_mirror import issuer_mirror
from sigstore_servers import SigstoreServers, kubernetes_issuer, sigstore_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG_MAP = "sigstore"


@dataclass(frozen=True)
class ClusterSigstore:
    """Running servers, and the objects that make a cluster use them."""

    servers: SigstoreServers
    issuer: str
    """Of the cluster's ServiceAccount tokens."""

    def subject(self, namespace: str, account: str = "plimsoll-seal") -> str:
        """Who signs the images of a namespace."""
        return f"https://kubernetes.io/namespaces/{namespace}/serviceaccounts/{account}"

    def config_map(self, namespace: str) -> dict[str, Any]:
        """The ConfigMap that ``signing`` names."""
        files = (self.servers.signing_config, self.servers.trusted_root)
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "namespace": namespace},
            "data": {path.name: path.read_text() for path in files},
        }

    @property
    def signing(self) -> dict[str, Any]:
        """``spec.signing`` of an ImageBuild beside that ConfigMap."""

        def entry(key: str) -> dict[str, Any]:
            return {"configMap": {"name": CONFIG_MAP, "key": key}}

        return {
            "keyless": {
                "signingConfig": entry(self.servers.signing_config.name),
                "trustedRoot": entry(self.servers.trusted_root.name),
            }
        }

    def trust_root(self, name: str = "sigstore") -> dict[str, Any]:
        """A TrustRoot."""
        return {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "TrustRoot",
            "metadata": {"name": name},
            "spec": {"trustedRoot": self.servers.trusted_root.read_text()},
        }

    def authority(self, namespace: str, trust_root: str = "sigstore") -> dict[str, Any]:
        """An authority of a policy: the images of a namespace, signed by its seal Jobs."""
        identity = {"issuer": self.issuer, "subject": self.subject(namespace)}
        return {
            "name": "seal",
            "keyless": {
                "trustRootRef": trust_root,
                "identities": [identity],
                # There is no certificate transparency log among these servers.
                "insecureIgnoreSCT": True,
            },
        }


@contextlib.contextmanager
def cluster_sigstore(
    kubectl: Callable[..., str], address: str = "127.0.0.1"
) -> Iterator[ClusterSigstore]:
    """Run the servers until the end of the block.

    Args:
        kubectl: runs kubectl as an administrator and returns its output.
        address: of this machine as pods see it.
    """
    discovery = json.loads(kubectl("get", "--raw", "/.well-known/openid-configuration"))
    keys = json.loads(kubectl("get", "--raw", "/openid/v1/jwks"))
    issuer = str(discovery["issuer"])
    with (
        issuer_mirror(discovery, keys) as environ,
        sigstore_servers(
            kubernetes_issuer(issuer),
            address=address,
            # Fulcio's own gateway is no host to ask a proxy for.
            environ={**environ, "NO_PROXY": address, "no_proxy": address},
        ) as servers,
    ):
        yield ClusterSigstore(servers, issuer)
