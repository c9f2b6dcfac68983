"""Command lines of the node's programs. Pure: names in, words out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.configs import CONTAINERD_SOCKET
from cluster.layout import INSIDE, NODE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.layout import Layout

_PKI = INSIDE / "pki"
_ETCD = "https://127.0.0.1:2379"

#: Beta in Kubernetes 1.34 and off by default: pods with ``volumes[].image``.
_FEATURES = "ImageVolume=true"

#: Groups of tools (see ``gotools``) that a cluster is built from.
TOOL_GROUPS = ("kubernetes", "etcd", "pause", "registry")


def _flags(**values: object) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


def arguments(layout: Layout) -> Mapping[str, list[str]]:
    """Program → its arguments, in the order of starting."""
    return {
        "etcd": _etcd(),
        "containerd": [f"--config={INSIDE}/etc/containerd.toml"],
        "registry": ["serve", f"{INSIDE}/etc/registry.yml"],
        "kube-apiserver": _apiserver(layout),
        "kube-controller-manager": _controller_manager(),
        "kube-scheduler": _flags(
            kubeconfig=_PKI / "scheduler.kubeconfig",
            leader_elect="false",
            bind_address="127.0.0.1",
        ),
        "kubelet": _flags(
            config=INSIDE / "etc/kubelet.json",
            kubeconfig=_PKI / "kubelet.kubeconfig",
            root_dir=INSIDE / "data/kubelet",
            cert_dir=INSIDE / "data/kubelet/pki",
            hostname_override=NODE,
            node_ip=layout.network.node,
        ),
        "kube-proxy": _flags(config=INSIDE / "etc/kube-proxy.json"),
    }


def ctr(*words: str) -> list[str]:
    """A ``ctr`` command on the images and containers of Kubernetes."""
    return ["ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", *words]


def _etcd() -> list[str]:
    return _flags(
        data_dir=INSIDE / "data/etcd",
        listen_client_urls=_ETCD,
        advertise_client_urls=_ETCD,
        listen_peer_urls="http://127.0.0.1:2380",
        cert_file=_PKI / "etcd.crt",
        key_file=_PKI / "etcd.key",
        client_cert_auth="true",
        trusted_ca_file=_PKI / "etcd-ca.crt",
        # A test cluster need not survive a power cut.
        unsafe_no_fsync="true",
        log_level="warn",
    )


def _apiserver(layout: Layout) -> list[str]:
    network = layout.network
    return _flags(
        advertise_address=network.node,
        bind_address="0.0.0.0",
        secure_port=6443,
        etcd_servers=_ETCD,
        etcd_cafile=_PKI / "etcd-ca.crt",
        etcd_certfile=_PKI / "etcd-client.crt",
        etcd_keyfile=_PKI / "etcd-client.key",
        client_ca_file=_PKI / "ca.crt",
        tls_cert_file=_PKI / "apiserver.crt",
        tls_private_key_file=_PKI / "apiserver.key",
        kubelet_certificate_authority=_PKI / "ca.crt",
        kubelet_client_certificate=_PKI / "apiserver-kubelet.crt",
        kubelet_client_key=_PKI / "apiserver-kubelet.key",
        kubelet_preferred_address_types="InternalIP",
        authorization_mode="Node,RBAC",
        enable_admission_plugins="NodeRestriction",
        service_cluster_ip_range=network.services,
        service_account_issuer="https://kubernetes.default.svc.cluster.local",
        service_account_key_file=_PKI / "sa.pub",
        service_account_signing_key_file=_PKI / "sa.key",
        feature_gates=_FEATURES,
        profiling="false",
    )


def _controller_manager() -> list[str]:
    return _flags(
        kubeconfig=_PKI / "controller-manager.kubeconfig",
        authentication_kubeconfig=_PKI / "controller-manager.kubeconfig",
        authorization_kubeconfig=_PKI / "controller-manager.kubeconfig",
        root_ca_file=_PKI / "ca.crt",
        cluster_signing_cert_file=_PKI / "ca.crt",
        cluster_signing_key_file=_PKI / "ca.key",
        service_account_private_key_file=_PKI / "sa.key",
        use_service_account_credentials="true",
        leader_elect="false",
        bind_address="127.0.0.1",
        profiling="false",
    )
