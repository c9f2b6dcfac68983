"""Certificates, keys and the loader's cache, as the reference leaves them."""

from __future__ import annotations

import datetime as dt
import hashlib
import struct

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from elf_files import elf
from plimsoll.apk.writer import PackageFile
from plimsoll.builder import jks
from plimsoll.builder.certificates import CertificateError
from plimsoll.builder.node import FileConflictError

BUNDLE = "etc/ssl/certs/ca-certificates.crt"
DATE = 1_700_000_000
STORE = "etc/ssl/certs/java/cacerts"
KEY = rsa.generate_private_key(65537, 2048)


def certificate(name):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    day = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(KEY.public_key())
        .serial_number(7).not_valid_before(day).not_valid_after(day.replace(year=2040))
        .sign(KEY, hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(serialization.Encoding.PEM)
    der = made.public_bytes(serialization.Encoding.DER)
    return pem, der, hashlib.sha256(der).hexdigest()


ONE, OTHER = certificate("one"), certificate("other")


def store(*entries):
    """An empty Java store, with these entries."""
    head = struct.pack(">III", 0xFEEDFEED, 2, 0)
    salt = jks.PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite"
    empty = head + hashlib.sha1(salt + head, usedforsecurity=False).digest()
    return jks.add_certificates(empty, entries, "store")


def test_certificates_are_appended_to_what_is_there(make):
    files = {
        BUNDLE: PackageFile(BUNDLE, content=b"before\n", mode=0o600, mtime=5),
        "usr/share/ca-certificates/x/p.crt": OTHER[0] + b"trailing",
        "usr/share/two.pem": ONE[0] + OTHER[0],
        "etc/ca-certificates.conf": "a.crt\n",
    }
    image = make(
        ("certs", files, {"provides": ("custom-ca-certificates",)}),
        certificates={
            "additional": [{"name": "mine", "content": "text\n" + ONE[0].decode()}],
            "providers": ["custom-ca-certificates"],
        },
    )
    found = image.members
    bundle = image.read(BUNDLE)
    assert bundle.encode() == b"before\n" + ONE[0] + b"\n" + OTHER[0] + b"\n"
    assert (found[BUNDLE].mode, found[BUNDLE].mtime) == (0o600, DATE)
    # Named by the fingerprint of the certificate, not by the text that held it.
    copy = f"usr/local/share/ca-certificates/mine-{ONE[2]}.crt"
    assert image.read(copy).encode() == ONE[0]
    assert found[copy].mtime == DATE
    assert image.read("etc/ca-certificates.conf") == "a.crt\nx/p.crt\n"
    digest = hashlib.sha256(bundle.encode()).hexdigest()
    assert image.read("etc/ssl/certs/.ca-certificates.crt.sha256") == (
        f"{digest}  ca-certificates.crt\n"
    )
    assert found["etc/ssl/certs/.ca-certificates.crt.sha256"].mode == 0o444


@pytest.mark.parametrize("compat", [False, True])
def test_links_to_certificates_are_followed(make, compat):
    folder = "usr/local/share/ca-certificates"
    files = {BUNDLE: "", "usr/one": ONE[0], f"{folder}/one.crt": "-> /usr/one"}
    certificates = {"providers": ["custom"]}
    packages = ("certs", files, {"provides": ("custom",)})
    image = make(packages, certificates=certificates, compat=compat)
    assert ONE[0].decode() in image.read(BUNDLE)


def test_no_bundle_is_made_and_every_bundle_has_a_checksum(make):
    additional = {"additional": [{"name": "mine", "content": ONE[0].decode()}]}
    assert BUNDLE not in make(certificates=additional).members
    image = make(("certs", {BUNDLE: "x", STORE: store()}))
    assert {f"etc/ssl/certs/.{n}.sha256" for n in ("ca-certificates.crt",)} <= image.members.keys()
    assert "etc/ssl/certs/java/.cacerts.sha256" in image.members


def test_java_stores_are_sorted(make):
    before = store(("zeta", OTHER[1]), ("alpha", OTHER[1]))
    additional = [{"name": "Mine", "content": ONE[0].decode()}]
    image = make(("java", {STORE: before}), certificates={"additional": additional})
    data = image.layers[0][1][STORE]
    assert struct.unpack_from(">III", data) == (0xFEEDFEED, 2, 3)
    places = [data.index(name) for name in (b"alpha", b"mine-" + ONE[2].encode(), b"zeta")]
    assert places == sorted(places)
    assert struct.pack(">Q", DATE * 1000) in data
    assert jks.add_certificates(data, [], "again") == data


@pytest.mark.parametrize("cut", [20, 60, -30])
def test_a_damaged_java_store(cut):
    sound = store(("a", ONE[1]))[:-20]
    head = struct.pack(">III", 0xFEEDFEED, 2, 9) if cut == 60 else sound[:12]
    body = head + sound[12 : cut if cut != 60 else None]
    salt = jks.PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite"
    sealed = body + hashlib.sha1(salt + body, usedforsecurity=False).digest()
    with pytest.raises(jks.KeyStoreError, match="in the middle of an entry"):
        jks.add_certificates(sealed, [], "store", in_order=True)


def test_a_text_that_is_no_certificate(make):
    for text in ("nothing", (ONE[0] + OTHER[0]).decode()):
        with pytest.raises(CertificateError, match="not exactly one PEM certificate"):
            make(certificates={"additional": [{"name": "x", "content": text}]})


def test_runtime_keys(make):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def contents(text):
        return {"runtime_keyring": [{"name": "k.rsa.pub", "content": text}]}

    image = make(("a", {"x": "1"}), contents=contents(f"{pem}\n\n"))
    assert image.read("etc/apk/keys/k.rsa.pub") == pem
    assert image.members["etc/apk/keys/k.rsa.pub"].mtime == DATE
    with pytest.raises(FileConflictError, match="already in the image"):
        make(contents=contents(pem), keys=[("k.rsa.pub", "other")])
    with pytest.raises(CertificateError, match="no public key"):
        make(contents=contents("x"))


def test_loader_cache(make):
    files = {
        "etc/ld.so.conf": "/opt/lib # ours\ninclude /etc/more/*.conf\n/never\n",
        "etc/more/a.conf": "/srv/lib\n",
        "usr/lib/libc.so.6": elf(soname="libc.so.6"),
        "usr/lib/libc-2.so": elf(soname="libc.so.6"),
        "lib": "-> usr/lib",
        "opt/lib/libz.so.1": elf(soname="libz.so.1"),
        "opt/lib/libz.so": "-> libz.so.1",
        "opt/lib/libnone.so": elf(),
        "srv/lib/libc.so.6": elf(soname="libc.so.6"),
        "never/libn.so.1": elf(soname="libn.so.1"),
        "usr/lib/libtext.so.1": "no library",
    }
    image = make(("glibc", files))
    data = image.layers[0][1]["etc/ld.so.cache"]
    magic, count, strings = struct.unpack_from("<20sII", data)
    assert (magic, count) == (b"glibc-ld.so.cache1.1", 5)
    assert data[28:48] == bytes(20)
    rows = [struct.unpack_from("<IIIIQ", data, 48 + 24 * number) for number in range(count)]

    def text(at):
        return data[at : data.index(b"\0", at)].decode()

    assert [(flags, text(key), text(value)) for flags, key, value, _, _ in rows] == [
        (0x303, "libz.so.1", "/opt/lib/libz.so.1"),
        (0x303, "libz.so", "/opt/lib/libz.so"),
        (0x303, "libnone.so", "/opt/lib/libnone.so"),
        (0x303, "libc.so.6", "/lib/libc.so.6"),
        (0x303, "libc.so.6", "/srv/lib/libc.so.6"),
    ]
    end = 48 + 24 * count + strings
    assert len(data) == end + 16 - end % 16
    assert image.members["etc/ld.so.cache"].mode == 0o644
