"""Certificates that an image trusts beside those of its packages."""

from __future__ import annotations

import hashlib
import posixpath
from typing import TYPE_CHECKING

from plimsoll.apk.tarfmt import Type
from plimsoll.builder import jks
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.api.imagecontents import Certificates, NamedContent
    from plimsoll.builder.tree import Tree

CA_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
JAVA_STORE = "etc/ssl/certs/java/cacerts"
_CA_FOLDER = "usr/local/share/ca-certificates"
_CA_SIDECAR = "etc/ssl/certs/.ca-certificates.crt.sha256"


class CertificateError(Error):
    """A certificate that cannot be used."""

    reason = "InvalidCertificate"


def add_certificates(tree: Tree, certificates: Certificates) -> None:
    """Add certificates to the image's bundle and leave a copy of each.

    Certificates of packages that provide one of ``providers`` are taken from the folder where
    such packages put them.

    Raises:
        CertificateError: a text is not exactly one PEM certificate.
    """
    blocks = [
        block
        for path in _provided(tree, certificates.providers)
        for block in _certificates(tree.content(tree.resolve(path) or tree.nodes[path]), f"/{path}")
    ]
    for item in certificates.additional:
        blocks.append(only_one(item))
        digest = hashlib.sha256(item.content.encode()).hexdigest()
        tree.write(f"{_CA_FOLDER}/{item.name}-{digest}.crt", item.content.encode())
    if not blocks:
        return
    node = tree.resolve(CA_BUNDLE)
    bundle = tree.content(node) if node is not None and node.kind is Type.FILE else b""
    if bundle and not bundle.endswith(b"\n"):
        bundle += b"\n"
    bundle += b"".join(block for block in dict.fromkeys(blocks) if block not in bundle)
    tree.overwrite(CA_BUNDLE, bundle)
    _add_to_java(tree, blocks)
    digest = hashlib.sha256(bundle).hexdigest()
    tree.overwrite(_CA_SIDECAR, f"{digest}  {posixpath.basename(CA_BUNDLE)}\n".encode())


def only_one(item: NamedContent) -> bytes:
    """The one certificate that an entry holds, with one line break at its end.

    Raises:
        CertificateError: it holds none, or more.
    """
    found = _certificates(item.content.encode(), f"additional certificate {item.name!r}")
    if len(found) != 1:
        raise CertificateError(
            f"additional certificate {item.name!r} holds {len(found)} certificates",
            hint="write one entry per certificate",
        )
    return found[0]


def _add_to_java(tree: Tree, blocks: Sequence[bytes]) -> None:
    """Add the certificates to Java's store, where a package brings one."""
    node = tree.resolve(JAVA_STORE)
    if node is None or node.kind is not Type.FILE:
        return
    from cryptography import x509  # noqa: PLC0415  (most images add no certificate)
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    store = tree.content(node)
    ders = [x509.load_pem_x509_certificate(block).public_bytes(Encoding.DER) for block in blocks]
    entries = [
        (f"plimsoll-{hashlib.sha256(der).hexdigest()}", der)
        for der in dict.fromkeys(ders)
        if der not in store
    ]
    tree.overwrite(JAVA_STORE, jks.add_certificates(store, entries, f"/{node.path}"))


def _provided(tree: Tree, providers: Sequence[str]) -> list[str]:
    """Paths of certificates that packages bring which provide one of these names."""
    wanted = set(providers)
    return sorted(
        node.path
        for node in (tree.children(_CA_FOLDER) if wanted else ())
        if node.path.endswith(".crt")
        and node.package >= 0
        and wanted
        & {text.partition("=")[0] for text in tree.packages[node.package].package.info.provides}
    )


def _certificates(data: bytes, what: str) -> list[bytes]:
    """The PEM certificates of a text, each with one line break at its end."""
    from cryptography import x509  # noqa: PLC0415  (most images add no certificate)

    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    blocks = []
    rest = data
    while begin in rest:
        block, found, rest = rest[rest.index(begin) :].partition(end)
        block += found + b"\n"
        try:
            x509.load_pem_x509_certificate(block)
        except ValueError as error:
            raise CertificateError(
                f"{what} holds no readable certificate: {error}",
                hint="a PEM certificate (-----BEGIN CERTIFICATE-----) is needed",
            ) from None
        blocks.append(block)
    if not blocks:
        raise CertificateError(
            f"{what} holds no PEM certificate",
            hint="it must begin with '-----BEGIN CERTIFICATE'",
        )
    return blocks
