import contextlib
import gzip
import io
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apk_files import file, member, tar
from plimsoll.apk.gz import GzipError
from plimsoll.apk.index import (
    Index,
    IndexEntry,
    IndexFormatError,
    IndexSignatureError,
    parse_record,
    read_index,
)
from plimsoll.apk.keys import Keyring, SigningKey
from plimsoll.apk.tarfmt import TarError
from plimsoll.apk.writer import sign_section, write_index
from plimsoll.errors import Error

ENTRY = IndexEntry(
    name="a-pkg",
    version="1.2.3-r1",
    arch="x86_64",
    checksum=bytes(range(20)),
    size=12,
    installed_size=34,
    description="what it is",
    url="https://example.test",
    license="MIT",
    origin="a",
    maintainer="someone <a@example.test>",
    build_time=1600096848,
    commit="af13bd16",
    depends=("so:libc.so.6", "b>=1"),
    provides=("cmd:a=1.2.3-r1", "virtual"),
    install_if=("b", "c=1"),
    replaces=("old",),
    provider_priority=10,
    replaces_priority=5,
)


@pytest.fixture(scope="module")
def key():
    return SigningKey.generate("k", 2048)


@pytest.fixture(scope="module")
def ring(key):
    return Keyring({"k": key.public_pem()})


def test_canonical_order():
    letters = [line[0] for line in ENTRY.to_text().splitlines() if line]
    assert letters == list("CPVASITULomtcDiprkq")
    assert ENTRY.file_name == "a-pkg-1.2.3-r1.apk"


words = st.from_regex(r"[a-z0-9][a-z0-9:._=<>~-]{0,12}", fullmatch=True)
lines = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20)
entries = st.builds(
    IndexEntry,
    name=st.from_regex(r"[a-z0-9][a-z0-9+._-]{0,20}", fullmatch=True),
    version=st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}-r[0-9]", fullmatch=True),
    arch=st.sampled_from(["x86_64", "noarch", ""]),
    checksum=st.binary(min_size=20, max_size=20),
    size=st.integers(0, 2**60),
    installed_size=st.integers(0, 2**60),
    description=lines,
    url=lines,
    license=lines,
    origin=lines,
    maintainer=lines,
    build_time=st.integers(0, 2**40),
    commit=st.text("0123456789abcdef", max_size=40),
    depends=st.lists(words, max_size=4).map(tuple),
    provides=st.lists(words, max_size=4).map(tuple),
    install_if=st.lists(words, max_size=4).map(tuple),
    replaces=st.lists(words, max_size=4).map(tuple),
    provider_priority=st.integers(0, 2**31),
    replaces_priority=st.integers(0, 2**31),
)


@given(st.lists(entries, max_size=8))
def test_round_trip(given_entries):
    index = Index.from_entries(given_entries)
    assert len(index) == len(given_entries)
    assert list(index.entries()) == given_entries
    for entry in given_entries:
        assert entry in index.named(entry.name)
        assert entry.name in index


@settings(max_examples=300)
@given(st.binary(max_size=300) | lines.map(str.encode))
def test_any_text_is_read_or_refused_with_an_error_of_ours(text):
    with contextlib.suppress(Error):
        list(Index(text, source="fuzz").entries())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"P:a\nV:1\nP\n", "the line 'P'"),
        (b"P:a\nV:1\nlong:x\n", "the line 'long:x'"),
        (b"P:a\nV:1\nT:x\nT:y\n", "two T: lines"),
        (b"P:a\nP:b\nV:1\nV:2\n", "two P: lines"),
        (b"P:../a\nV:1\n", "the package name '../a'"),
        (b"P:a/b\nV:1\n", "the package name 'a/b'"),
        (b"P:\nV:1\n", "the package name ''"),
        (b"P:a\nV:../1\n", "the version '../1'"),
        (b"P:a\nV:1/2\n", "the version '1/2'"),
        (b"P:a\nV:1\nS:-1\n", "S:-1, which is no number"),
        (b"P:a\nV:1\nS:1e3\n", "S:1e3, which is no number"),
        ("P:a\nV:1\nS:٣\n".encode(), "which is no number"),
        (b"P:a\nV:1\nC:Q1AAAA\n", "the checksum 'Q1AAAA'"),
        (b"P:a\nV:1\nC:Q2" + b"A" * 28 + b"\n", "the checksum 'Q2"),
        (b"P:a\nV:1\nC:Q1!!!!\n", "the checksum 'Q1!!!!'"),
        (b"P:a\nV:1\nT:\xff\n", "text that is not UTF-8"),
        (b"P:a\n", "1 package names and 0 versions"),
        (b"T:a\n\n", "0 package names"),
        (b"<html>", "0 package names"),
        (b"P:a\nV:1\nT:" + b"x" * (1 << 21) + b"\n", "a line of more than"),
    ],
)
def test_bad_text(text, message):
    with pytest.raises(IndexFormatError) as error:
        list(Index(text, source="https://r/APKINDEX").entries())
    assert message in error.value.message
    assert "https://r/APKINDEX" in error.value.message


def test_one_bad_record_leaves_the_others_usable():
    index = Index(b"P:good\nV:1\n\nP:bad\nV:1\nS:x\n\nP:fine\nV:2\np:v=1\n", source="s")
    assert [e.version for e in index.named("good")] == ["1"]
    assert [e.name for e in index.providers("v")] == ["fine"]
    with pytest.raises(IndexFormatError, match=r"package bad"):
        index.named("bad")


def test_look_up():
    a = IndexEntry("a", "1-r0", provides=("v=1", "w", "v=2"), install_if=("b=1",))
    b = IndexEntry("b", "1-r0", provides=("v>1",))
    a2 = IndexEntry("a", "2-r0")
    index = Index.from_entries([a, b, a2])
    assert index.named("a") == [a, a2]
    assert index.named("v") == []
    assert index.providers("v") == [a, b]
    assert index.providers("a") == []
    assert index.conditional_on("b") == [a]
    assert index.names() == ["a", "b"]
    assert list(Index(b"", source="empty").entries()) == []


def test_long_provides_lines_are_read():
    entry = IndexEntry("a", "1-r0", provides=tuple(f"so:lib{n}.so=1" for n in range(5000)))
    assert len(Index.from_entries([entry]).providers("so:lib4999.so")) == 1


def test_a_line_break_in_a_field_is_not_written():
    with pytest.raises(IndexFormatError, match="line break"):
        write_index([IndexEntry("a", "1-r0", description="x\nP:evil")])


def test_signed_round_trip(key, ring):
    data = write_index([ENTRY, IndexEntry("a-pkg", "1.10-r0")], "words", key)
    index = read_index(data, ring, source="s")
    assert [e.version for e in index.entries()] == ["1.2.3-r1", "1.10-r0"]
    assert index.named("a-pkg")[0] == ENTRY
    assert index.description == "words"
    assert write_index([IndexEntry("a-pkg", "1.10-r0"), ENTRY], "words", key) == data


def test_unsigned_is_read_only_when_told_so(ring):
    data = write_index([ENTRY])
    with pytest.raises(IndexSignatureError, match="is not signed"):
        read_index(data, ring, source="s")
    assert len(read_index(data, None, source="s")) == 1


def test_every_changed_byte_is_noticed(key, ring):
    data = write_index([ENTRY], "", key)
    unsigned = write_index([ENTRY], "")
    assert len(read_index(data, ring, source="s")) == 1
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        try:
            index = read_index(bytes(changed), ring, source="s")
        except Error:
            continue
        # Bits that mean nothing, in the section that carries the signature.
        assert list(index.entries()) == [ENTRY]
        assert position < len(data) - len(unsigned)


def test_bytes_behind_the_index(key, ring):
    data = write_index([ENTRY], "", key)
    for tail in (b"x", data, member(b"x" * 512)):
        with pytest.raises(IndexSignatureError):
            read_index(data + tail, ring, source="s")


def test_a_signature_of_something_else_is_refused(key, ring):
    other = write_index([IndexEntry("evil", "1-r0")], "")
    signature = sign_section(write_index([ENTRY], ""), key)
    with pytest.raises(IndexSignatureError, match=r"wrong signature by key k\.rsa\.pub"):
        read_index(signature + other, ring, source="s")


def test_unknown_algorithms_do_not_count(ring):
    body = write_index([ENTRY], "")
    signature = member(tar(file(".SIGN.RSA512.k.rsa.pub", b"x" * 256), end=b""))
    with pytest.raises(IndexSignatureError, match="no usable algorithm"):
        read_index(signature + body, ring, source="s")


@pytest.mark.parametrize("data", [b"", b"<html>error</html>", b"\x1f\x8b", bytes(600)])
def test_what_is_no_index(data, ring):
    with pytest.raises(IndexFormatError, match="it is not gzip data"):
        read_index(data, ring, source="s")


def test_truncated(key, ring):
    data = write_index([ENTRY] * 1, "", key)
    for size in range(30, len(data) - 1, 97):
        with pytest.raises(Error):
            read_index(data[:size], ring, source="s")
        with pytest.raises((GzipError, TarError, IndexFormatError)):
            read_index(data[:size], None, source="s")


def test_bomb(ring):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as stream:
        stream.write(tar(file("APKINDEX", b"\n" * (4 << 20))))
    with pytest.raises(GzipError, match="more than 1048576 bytes"):
        read_index(out.getvalue(), None, source="s", max_size=1 << 20)
    bomb = member(tar(file(".SIGN.RSA256.k.rsa.pub", bytes(4 << 20)), end=b""))
    with pytest.raises(GzipError, match="the signature of s inflates to more"):
        read_index(bomb + write_index([ENTRY]), ring, source="s")


def test_contents_of_the_archive():
    with pytest.raises(IndexFormatError, match="holds no APKINDEX"):
        read_index(member(tar(file("DESCRIPTION", b"x"))), None, source="s")
    twice = tar(file("APKINDEX", b"P:a\nV:1\n"), file("APKINDEX", b"P:b\nV:1\n"))
    with pytest.raises(IndexFormatError, match="two indexes"):
        read_index(member(twice), None, source="s")


def test_corrupt_gzip():
    data = bytearray(write_index([ENTRY]))
    data[-6] ^= 1  # the CRC
    with pytest.raises(GzipError, match="not sound gzip"):
        read_index(bytes(data), None, source="s")
    assert zlib.decompress(write_index([ENTRY]), 31)


def test_record_alone():
    assert parse_record(b"P:a\nV:1\nX:unknown\n", "s") == IndexEntry("a", "1")
