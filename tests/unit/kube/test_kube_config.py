import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plimsoll.kube.config import KubeConfig
from plimsoll.kube.errors import KubeConfigError


def kubeconfig(tmp_path, cluster=None, **user):
    path = tmp_path / "config"
    path.write_text(
        json.dumps(
            {
                "current-context": "c",
                "clusters": [
                    {"name": "k", "cluster": {"server": "https://h:6443/", **(cluster or {})}}
                ],
                "users": [{"name": "u", "user": user}],
                "contexts": [
                    {"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}
                ],
            }
        )
    )
    return path


def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(encoding), private


def test_a_token(tmp_path):
    config = KubeConfig.load({"KUBECONFIG": str(kubeconfig(tmp_path, token="secret"))})
    assert config.server == "https://h:6443"
    assert config.namespace == "team"
    assert config.authorization() == {"Authorization": "Bearer secret"}
    assert "secret" not in repr(config)


def test_a_token_file_is_read_each_time(tmp_path):
    config = KubeConfig.from_file(kubeconfig(tmp_path, tokenFile="token"))
    for token in ("one", "two"):
        (tmp_path / "token").write_text(f"{token}\n")
        assert config.authorization() == {"Authorization": f"Bearer {token}"}


def test_certificates_from_files_and_inline(tmp_path):
    public, private = certificate()
    (tmp_path / "ca.crt").write_bytes(public)
    user = {
        "client-certificate-data": base64.b64encode(public).decode(),
        "client-key-data": base64.b64encode(private).decode(),
    }
    path = kubeconfig(tmp_path, {"certificate-authority": "ca.crt"}, **user)
    config = KubeConfig.from_file(path)
    assert config.tls.cert_store_stats()["x509"] == 1
    assert config.authorization() == {}


@pytest.mark.parametrize("text", ["", "[]", "a: [", "current-context: x", "{}"])
def test_what_is_no_kubeconfig(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeConfigError, match="kubeconfig"):
        KubeConfig.from_file(path)


def test_logins_by_program_are_named(tmp_path):
    path = kubeconfig(tmp_path, exec={"command": "aws"})
    with pytest.raises(KubeConfigError, match="exec"):
        KubeConfig.from_file(path)


def test_neither_a_file_nor_a_pod(tmp_path):
    with pytest.raises(KubeConfigError) as caught:
        KubeConfig.load({})
    assert "KUBECONFIG" in caught.value.hint
