"""Certificates and keys of an image, as the reference adds them."""

from __future__ import annotations

import hashlib
import posixpath
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder import jks
from plimsoll.builder.certificates import CA_BUNDLE, JAVA_STORE, CertificateError
from plimsoll.builder.rootfs import runtime_key_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.imagecontents import Certificates, Contents
    from plimsoll.builder.compattree import CompatTree
    from plimsoll.builder.node import Node

_FOLDER = "usr/local/share/ca-certificates"
#: Certificates of packages below the folder are listed in the file.
_SYSTEM_FOLDER = "usr/share/ca-certificates/"
_SYSTEM_LIST = "etc/ca-certificates.conf"
_BUNDLES = (CA_BUNDLE, "var/lib/ecs/deps/execute-command/certs/tls-ca-bundle.pem")


def add_certificates(tree: CompatTree, certificates: Certificates, created: int) -> None:
    """Append certificates to the bundles and stores that are there; what is touched gets a time.

    Args:
        tree: the image.
        certificates: what to trust.
        created: creation time of the image, seconds since the epoch.

    Raises:
        CertificateError: a text is not exactly one certificate.
        KeyStoreError: a Java store cannot be read.
    """
    found: list[tuple[str, bytes, bytes]] = []
    for item in certificates.additional:
        parsed = _certificate(item.content.encode())
        if parsed is None:
            raise CertificateError(
                f"additional certificate {item.name!r} is not exactly one PEM certificate",
                hint="it must begin with '-----BEGIN CERTIFICATE'; write one entry per certificate",
            )
        pem, der = parsed
        name = f"{item.name}-{hashlib.sha256(der).hexdigest()}"
        tree.touch(tree.write(f"{_FOLDER}/{name}.crt", pem), created)
        found.append((name, pem, der))
    listed = []
    for path, node in _provided(tree, certificates.providers):
        parsed = _certificate(tree.content(node))
        if parsed is None:
            continue
        pem, der = parsed
        found.append((f"pkg-{hashlib.sha256(der).hexdigest()}", pem, der))
        if path.startswith(_SYSTEM_FOLDER):
            listed.append(path.removeprefix(_SYSTEM_FOLDER))
    if listed:
        _append(tree, _SYSTEM_LIST, "".join(f"{path}\n" for path in listed).encode(), created)
    if found:
        _trust(tree, found, created)


def _trust(tree: CompatTree, found: Sequence[tuple[str, bytes, bytes]], created: int) -> None:
    """Add (name, PEM, DER) to the bundles and stores that are there."""
    pems = b"".join(pem + b"\n" for _, pem, _ in found)
    for path in _BUNDLES:
        if _file(tree, path) is not None:
            _append(tree, path, pems, created)
    node = _file(tree, JAVA_STORE)
    if node is not None:
        entries = [(name, der) for name, _, der in found]
        store = jks.add_certificates(
            tree.content(node), entries, f"/{node.path}", created=created, in_order=True
        )
        tree.touch(tree.write(JAVA_STORE, store), created)


def add_checksums(tree: CompatTree, created: int) -> None:
    """Beside each bundle and store, a file with its SHA-256, as ``sha256sum`` writes it."""
    for path in (*_BUNDLES, JAVA_STORE):
        node = _file(tree, path)
        if node is None:
            continue
        folder, name = posixpath.split(path)
        digest = hashlib.sha256(tree.content(node)).hexdigest()
        beside = tree.write(f"{folder}/.{name}.sha256", f"{digest}  {name}\n".encode())
        tree.change(beside, mode=0o444)
        tree.touch(beside, created)


def add_runtime_keys(tree: CompatTree, contents: Contents, created: int) -> None:
    """Keys that the image trusts when it runs and the build did not.

    Raises:
        FileConflictError: one has the name of a key that is there already.
        CertificateError: one is no RSA public key.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  (few have one)

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    for key in contents.runtime_keyring:
        path = runtime_key_path(tree, key.name)
        try:
            public = serialization.load_pem_public_key(key.content.encode())
        except ValueError as error:
            raise CertificateError(
                f"runtime keyring entry {key.name!r} is no public key: {error}",
                hint="it must begin with '-----BEGIN PUBLIC KEY'",
            ) from None
        pem = public.public_bytes(serialization.Encoding.PEM, form)
        tree.touch(tree.write(path, pem), created)


def _append(tree: CompatTree, path: str, content: bytes, created: int) -> None:
    node = _file(tree, path)
    before = tree.content(node) if node is not None else b""
    tree.touch(tree.write(path, before + content), created)


def _file(tree: CompatTree, path: str) -> Node | None:
    node = tree.resolve(path)
    return node if node is not None and node.kind in {Type.FILE, Type.HARDLINK} else None


def _provided(tree: CompatTree, providers: Sequence[str]) -> list[tuple[str, Node]]:
    """Certificate files of packages that provide just one of these names, by path."""
    wanted = set(providers)
    found = []
    for installed in tree.packages if wanted else ():
        if wanted.isdisjoint(installed.package.info.provides):
            continue
        for entry in installed.package.entries:
            node = tree.resolve(entry.path)
            if (
                entry.kind is not Type.DIRECTORY
                and entry.path not in installed.lost
                and posixpath.splitext(entry.path)[1] in {".crt", ".pem"}
                and node is not None
                and node.kind is not Type.DIRECTORY
            ):
                found.append((entry.path, node))
    return sorted(found, key=lambda pair: pair[0])


def _certificate(data: bytes) -> tuple[bytes, bytes] | None:
    """A text's only PEM block as PEM and DER, if it is a certificate."""
    from cryptography import x509  # noqa: PLC0415  (most images add no certificate)
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    if data.count(b"-----BEGIN ") != 1 or b"-----BEGIN CERTIFICATE-----" not in data:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(data)
    except ValueError:
        return None
    return certificate.public_bytes(Encoding.PEM), certificate.public_bytes(Encoding.DER)
