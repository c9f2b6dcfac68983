"""The cluster's certificates and the kubeconfigs made of them; everything verifies everything."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.layout import NODE, replace_text

if TYPE_CHECKING:
    from ipaddress import IPv4Address
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from cluster.layout import Layout, Network

_LIFETIME = timedelta(days=365)
_PURPOSES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]

#: Users of the API server: file name → (user, group).
USERS = {
    "admin": ("plimsoll-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
}


@dataclass(frozen=True)
class Authority:
    """A certificate authority in memory."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str) -> Authority:
        """Make a self-signed one."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        builder = (
            _builder(subject, subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
        )
        return cls(key, builder.sign(key, hashes.SHA256()))

    def issue(
        self,
        name: str,
        group: str = "",
        names: tuple[str, ...] = (),
        addresses: tuple[IPv4Address, ...] = (),
    ) -> tuple[str, str]:
        """A new key with its certificate: PEM certificate and PEM key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(name, group), self.certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_PURPOSES), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        alternatives: list[x509.GeneralName] = [x509.DNSName(each) for each in names]
        alternatives += [x509.IPAddress(each) for each in addresses]
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            )
        return _pem(builder.sign(self.key, hashes.SHA256())), _key_pem(key)


def ensure(layout: Layout) -> None:
    """Make all certificates and kubeconfigs, if they are not there or end within a week."""
    if _fresh(layout.pki / "ca.crt"):
        return
    scratch = layout.state / ".pki.new"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(layout.pki, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    _write(scratch, layout.network)
    replace_text(layout.kubeconfig, (scratch / "admin.kubeconfig").read_text(), mode=0o600)
    scratch.rename(layout.pki)


def _write(home: Path, network: Network) -> None:
    loopback = network.node.__class__("127.0.0.1")
    authority, etcd = Authority.new("plimsoll"), Authority.new("plimsoll-etcd")
    _store(home, "ca", _pem(authority.certificate), _key_pem(authority.key))
    _store(home, "etcd-ca", _pem(etcd.certificate), _key_pem(etcd.key))
    _store(home, "etcd", *etcd.issue("etcd", names=("localhost",), addresses=(loopback,)))
    _store(home, "etcd-client", *etcd.issue("kube-apiserver"))
    inside = tuple(f"kubernetes{rest}" for rest in ("", ".default", ".default.svc"))
    names = ("localhost", *inside, f"{inside[-1]}.cluster.local")
    addresses = (network.node, network.api_service, loopback)
    _store(home, "apiserver", *authority.issue("kube-apiserver", "", names, addresses))
    _store(home, "apiserver-kubelet", *authority.issue("kube-apiserver-kubelet", "system:masters"))
    _store(home, "kubelet-server", *authority.issue(NODE, "", (NODE,), (network.node,)))
    # RSA: what other programs that verify ServiceAccount tokens all understand.
    tokens = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = tokens.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    replace_text(home / "sa.key", _key_pem(tokens), mode=0o600)
    replace_text(home / "sa.pub", public.decode())
    for name, (user, group) in USERS.items():
        certificate, key = authority.issue(user, group)
        _store(home, name, certificate, key)
        text = _kubeconfig(network, _pem(authority.certificate), certificate, key)
        replace_text(home / f"{name}.kubeconfig", text, mode=0o600)


def _kubeconfig(network: Network, authority: str, certificate: str, key: str) -> str:
    """JSON, which is YAML too."""

    def data(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    cluster = {
        "server": f"https://{network.node}:6443",
        "certificate-authority-data": data(authority),
    }
    user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "plimsoll", "cluster": cluster}],
        "users": [{"name": "plimsoll", "user": user}],
        "contexts": [{"name": "plimsoll", "context": {"cluster": "plimsoll", "user": "plimsoll"}}],
        "current-context": "plimsoll",
    }
    return json.dumps(config, indent=1)


def _fresh(path: Path) -> bool:
    if not path.exists():
        return False
    end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    return end > datetime.now(UTC) + timedelta(days=7)


def _store(home: Path, name: str, certificate: str, key: str) -> None:
    replace_text(home / f"{name}.crt", certificate)
    replace_text(home / f"{name}.key", key, mode=0o600)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(name: str, group: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: PrivateKeyTypes) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
