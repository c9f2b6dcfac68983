"""Configuration files of the node's programs, as seen from inside. Pure: names in, text out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cluster.layout import INSIDE, NODE
from registries import distribution_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.layout import Layout, Network

PAUSE_IMAGE = "plimsoll.local/pause:1"
EGRESS_PLUGIN = "plimsoll-egress"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"

_CONTAINERD = f"""
version = 2
root = "{INSIDE}/data/containerd"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without it a sandbox dies where a process may not lower its OOM score.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{INSIDE}/etc/cni-bin"
  conf_dir = "{INSIDE}/etc/cni"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{INSIDE}/etc/registries"
"""


def files(layout: Layout) -> Mapping[str, str]:
    """Path below ``etc`` → text."""
    return {
        "containerd.toml": _CONTAINERD,
        f"registries/{layout.registry}/hosts.toml": _mirror(layout.registry),
        "registry.yml": _text(distribution_config(layout.registry, INSIDE / "data/registry")),
        "cni/10-plimsoll.conflist": _text(_cni(layout.network)),
        "kubelet.json": _text(_kubelet(layout)),
        "kube-proxy.json": _text(_kube_proxy(layout.network)),
    }


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1)


def _mirror(registry: str) -> str:
    address = f"http://{registry}"
    host = f'[host."{address}"]\n  capabilities = ["pull", "resolve"]\n'
    return f'server = "{address}"\n\n{host}'


def _cni(network: Network) -> dict[str, Any]:
    return {
        "cniVersion": "1.0.0",
        "name": "plimsoll",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-addresses",
                    "ranges": [[{"subnet": str(network.pods)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": EGRESS_PLUGIN},
        ],
    }


def _kubelet(layout: Layout) -> dict[str, Any]:
    pki = INSIDE / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(layout.network.node),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet-server.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "resolvConf": str(INSIDE / "etc/resolv.conf"),
        "podLogsDir": str(INSIDE / "data/pod-logs"),
        "volumePluginDir": str(INSIDE / "data/volume-plugins"),
        "failSwapOn": False,
        "failCgroupV1": False,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "evictionHard": dict.fromkeys(
            ("imagefs.available", "memory.available", "nodefs.available", "nodefs.inodesFree"), "0%"
        ),
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "localStorageCapacityIsolation": False,
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "10s",
        "enforceNodeAllocatable": ["pods"],
        "featureGates": {"ImageVolume": True},
    }


def _kube_proxy(network: Network) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": NODE,
        "clusterCIDR": str(network.pods),
        "clientConnection": {"kubeconfig": str(INSIDE / "pki/kube-proxy.kubeconfig")},
        # Answers between two pods of one bridge find their way back on any kernel.
        "iptables": {"masqueradeAll": True, "minSyncPeriod": "100ms", "syncPeriod": "30s"},
        # The limits of the connection table belong to the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
