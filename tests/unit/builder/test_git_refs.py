"""Git's protocol and the lists of references: what is read, and what is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.builder.git.errors import GitError
from plimsoll.builder.git.pktline import FLUSH, Mark, decode, encode
from plimsoll.builder.git.refs import (
    Ref,
    ls_refs_request,
    read_advertisement,
    read_ls_refs,
    read_plain,
    with_prefix,
)

A, B, C = "a" * 40, "b" * 40, "c" * 40


def test_lines():
    data = encode("hello\n") + FLUSH + b"0001" + b"0002" + encode("x")
    assert list(decode(data)) == [b"hello", Mark.FLUSH, Mark.DELIMITER, Mark.END, b"x"]


@pytest.mark.parametrize("data", [b"00", b"zzzz", b"0003", b"0008abc", b"fff1" + b"x" * 70000])
def test_malformed_lines(data):
    with pytest.raises(GitError):
        list(decode(data))


def test_too_long():
    with pytest.raises(GitError):
        encode("x" * 65530)


@given(st.binary(max_size=300))
def test_anything_is_read_or_refused(data):
    for read in (read_advertisement, read_ls_refs, read_plain):
        with contextlib.suppress(GitError):
            read(data)


def test_version_two():
    head = encode("# service=git-upload-pack\n") + FLUSH
    data = head + encode("version 2\n") + encode("agent=git/2\n") + encode("ls-refs=unborn\n")
    found = read_advertisement(data + FLUSH)
    assert (found.version, found.capabilities["ls-refs"], found.refs) == (2, "unborn", ())


def test_version_zero():
    lines = [f"{A} HEAD\0multi_ack symref=HEAD:refs/heads/main\n", f"{A} refs/heads/main\n"]
    lines += [f"{B} refs/tags/v1\n", f"{C} refs/tags/v1^{{}}\n"]
    found = read_advertisement(b"".join(map(encode, lines)) + FLUSH)
    assert found.version == 0
    assert found.refs[-1] == Ref("refs/tags/v1", B, C)
    assert found.refs[-1].commit == C
    assert with_prefix(found.refs, ["refs/tags/"]) == (found.refs[-1],)


def test_an_empty_repository():
    line = f"{'0' * 40} capabilities^{{}}\0agent=git\n"
    assert read_advertisement(encode(line) + FLUSH).refs == ()


def test_other_numbers_are_refused():
    data = encode("version 2\n") + encode("object-format=sha256\n") + FLUSH
    with pytest.raises(GitError, match="SHA-256"):
        read_advertisement(data)


def test_ls_refs():
    asked = list(decode(ls_refs_request(["refs/tags/v"])))
    assert asked[0] == b"command=ls-refs"
    assert asked[-2:] == [b"ref-prefix refs/tags/v", Mark.FLUSH]
    lines = [f"{B} refs/tags/v1 peeled:{C}\n", f"{A} refs/heads/x symref-target:refs/heads/y\n"]
    lines.append("unborn HEAD symref-target:refs/heads/main\n")
    found = read_ls_refs(b"".join(map(encode, lines)) + FLUSH)
    assert found == (Ref("refs/tags/v1", B, C), Ref("refs/heads/x", A))


@pytest.mark.parametrize(
    "line",
    [
        "x refs/tags/v1",
        f"{A}",
        f"{A} refs/tags/v^1",
        f"{A} refs/tags/v1 peeled:zz",
        "ERR no such thing",
        f"{A} refs/tags/\x01",
    ],
)
def test_bad_references(line):
    with pytest.raises(GitError):
        read_ls_refs(encode(line) + FLUSH)


def test_cut_off():
    with pytest.raises(GitError, match="cut off"):
        read_ls_refs(encode(f"{A} refs/tags/v1"))


def test_plain_files():
    data = f"{B}\trefs/tags/v1\n{C}\trefs/tags/v1^{{}}\n".encode()
    assert read_plain(data) == (Ref("refs/tags/v1", B, C),)
