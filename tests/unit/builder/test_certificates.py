from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from plimsoll.api.imagecontents import Certificates, NamedContent
from plimsoll.builder import jks
from plimsoll.builder.certificates import CA_BUNDLE, JAVA_STORE, CertificateError, add_certificates
from plimsoll.builder.tree import Tree
from trusted_files import certificate, empty_store, pem


def test_bundle_copy_and_java_store():
    one, two = certificate("one"), certificate("two")
    tree = Tree([])
    tree.write(CA_BUNDLE, pem(one).encode().rstrip())
    tree.write(JAVA_STORE, empty_store())
    wanted = [NamedContent(name=n, content=pem(c)) for n, c in (("a", one), ("b.pem", two))]
    add_certificates(tree, Certificates(additional=wanted))
    bundle = tree.content(tree.nodes[CA_BUNDLE]).decode()
    assert bundle == pem(one) + pem(two)
    assert len([p for p in tree.nodes if p.startswith("usr/local/share/ca-certificates/")]) == 2
    store = tree.content(tree.nodes[JAVA_STORE])
    assert struct.unpack(">III", store[:12]) == (0xFEEDFEED, 2, 2)
    for item in (one, two):
        assert item.public_bytes(serialization.Encoding.DER) in store
    assert jks.add_certificates(store, [], "x") == store


def test_an_image_without_a_bundle_gets_one():
    tree = Tree([])
    one = certificate("one")
    add_certificates(tree, Certificates(additional=[NamedContent(name="a", content=pem(one))]))
    assert tree.content(tree.nodes[CA_BUNDLE]).decode() == pem(one)


@pytest.mark.parametrize("text", ["nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate(text):
    with pytest.raises(CertificateError, match="additional certificate 'a'"):
        add_certificates(Tree([]), Certificates(additional=[NamedContent(name="a", content=text)]))


def test_two_certificates_in_one_entry():
    both = pem(certificate("one")) + pem(certificate("two"))
    with pytest.raises(CertificateError, match="holds 2 certificates"):
        add_certificates(Tree([]), Certificates(additional=[NamedContent(name="a", content=both)]))


@pytest.mark.parametrize(
    ("store", "words"),
    [(b"", "no JKS"), (b"0" * 100, "no JKS"), (empty_store()[:-1] + b"x", "damaged")],
)
def test_stores_that_cannot_be_extended(store, words):
    with pytest.raises(jks.KeyStoreError, match=words):
        jks.add_certificates(store, [], "the store")


def test_a_certificate_is_added_once():
    """However often it is named, and also where a base image brought it."""
    tree = Tree([])
    tree.write(JAVA_STORE, empty_store())
    one = pem(certificate("one"))
    items = [NamedContent(name="a", content=one), NamedContent(name="b", content=f"\n{one}")]
    add_certificates(tree, Certificates(additional=items))
    store = tree.content(tree.nodes[JAVA_STORE])
    bundle = tree.content(tree.nodes[CA_BUNDLE])
    assert struct.unpack(">III", store[:12]) == (0xFEEDFEED, 2, 1)
    assert bundle.count(b"BEGIN") == 1
    add_certificates(tree, Certificates(additional=items))
    assert tree.content(tree.nodes[JAVA_STORE]) == store
    assert tree.content(tree.nodes[CA_BUNDLE]) == bundle


def test_the_same_entry_as_keytool():
    """The file is what ``keytool -importcert -alias Plimsoll-One`` made; only the time differs."""
    made = (Path(__file__).parent / "keytool.jks").read_bytes()
    assert jks.add_certificates(made, [], "keytool's") == made
    alias = b"plimsoll-one"
    der = made[made.index(b"X.509") + 9 : -20]
    ours = jks.add_certificates(empty_store(), [("Plimsoll-One", der)], "store")
    time = slice(12 + 4 + 2 + len(alias), 12 + 4 + 2 + len(alias) + 8)
    assert made[time] != ours[time] == bytes(8)
    assert made[: time.start] == ours[: time.start]
    assert made[time.stop : -20] == ours[time.stop : -20]


@pytest.mark.skipif(shutil.which("keytool") is None, reason="needs Java's keytool")
def test_java_reads_it(tmp_path):
    path = tmp_path / "cacerts"
    der = certificate("one").public_bytes(serialization.Encoding.DER)
    path.write_bytes(jks.add_certificates(empty_store(), [("Plimsoll-One", der)], "store"))
    done = subprocess.run(
        ["keytool", "-list", "-keystore", path, "-storepass", jks.PASSWORD],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "plimsoll-one" in done.stdout
