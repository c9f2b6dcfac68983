"""What pods that run code of packages may reach: nothing. Pure.

Policies belong to their PackageRepo or ImageBuild and select its pods alone. They are additive, so
one more of somebody else's may open what these close.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from plimsoll.api.meta import GROUP
from plimsoll.api.packagesteps import OUTBOX_PORT
from plimsoll.operator import podspec
from plimsoll.operator.packagerequest import KIND
from plimsoll.operator.podspec import STEP_LABEL, owner_label

if TYPE_CHECKING:
    from plimsoll.api.meta import ObjectMeta
    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.operator.podspec import Manifest, OwnerKind

#: Label of pods whose steps may use the network.
NETWORK_LABEL = f"{GROUP}/network"

_NOT_PUBLIC_4 = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
)
_NOT_PUBLIC_6 = ("::1/128", "fc00::/7", "fe80::/10")


def policies(desired: PackageRepo) -> list[Manifest]:
    """The policies of a repository, for all its pods."""
    owner = owner_label(KIND)
    ours = {owner: desired.metadata.uid}
    untrusted = {
        "matchLabels": ours,
        "matchExpressions": [{"key": STEP_LABEL, "operator": "In", "values": ["build", "test"]}],
    }
    collect = {"podSelector": {"matchLabels": {**ours, STEP_LABEL: "collect"}}}
    outbox = [{"protocol": "TCP", "port": OUTBOX_PORT}]
    dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    specs: dict[str, Manifest] = {
        # Nobody talks to any of our pods, and untrusted ones talk to nobody.
        "ingress": {"podSelector": {"matchLabels": ours}, "policyTypes": ["Ingress"]},
        "egress": {"podSelector": untrusted, "policyTypes": ["Egress"]},
        # But what a build left is fetched.
        "outbox": {
            "podSelector": {"matchLabels": {**ours, STEP_LABEL: "build"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [collect], "ports": outbox}],
        },
    }
    if desired.spec.packages is not None and desired.spec.packages.network:
        public = [
            {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(_NOT_PUBLIC_4)}},
            {"ipBlock": {"cidr": "::/0", "except": list(_NOT_PUBLIC_6)}},
        ]
        names = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
        }
        specs["public"] = {
            "podSelector": {"matchLabels": {**ours, NETWORK_LABEL: "public"}},
            "policyTypes": ["Egress"],
            "egress": [{"to": public}, {"to": [names], "ports": dns}],
        }
    return [_policy(KIND, desired.metadata, name, spec) for name, spec in specs.items()]


def image_policy(about: ObjectMeta) -> Manifest:
    """Nobody talks to the pods that test an image, and they talk to nobody."""
    ours = {owner_label("ImageBuild"): about.uid, STEP_LABEL: "test"}
    types = ["Ingress", "Egress"]
    spec = {"podSelector": {"matchLabels": ours}, "policyTypes": types}
    return _policy("ImageBuild", about, "tests", spec)


def _policy(kind: OwnerKind, about: ObjectMeta, what: str, spec: Manifest) -> Manifest:
    digest = hashlib.sha256(about.uid.encode()).hexdigest()[:6]
    name = f"{about.name[:200].rstrip('-.')}-{digest}-{what}"
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": podspec.metadata(kind, about, name, {}),
        "spec": spec,
    }
