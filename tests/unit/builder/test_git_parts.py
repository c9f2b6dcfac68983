"""Logins, rules about repositories, packs and protobuf: the small parts around Git."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.builder.git.credentials import GitCredentials
from plimsoll.builder.git.errors import GitBusyError, GitError
from plimsoll.builder.git.mirror import configuration, name_of
from plimsoll.builder.git.pack import PackReader, fetch_request
from plimsoll.builder.git.pktline import DELIMITER, FLUSH, Mark, decode, encode
from plimsoll.builder.git.policy import SourcePolicy

NETRC = """# a comment
machine example.org login ada password "s e\\"c"
machine example.com:8443
  login bob
  password two
default login nobody password none
macdef init
  machine not.this login x password y
"""


def read(tmp_path, text, name="file"):
    path = tmp_path / name
    path.write_text(text)
    return GitCredentials.read(path)


def test_netrc(tmp_path):
    found = read(tmp_path, NETRC)
    login = found.login("https://example.org/a.git")
    assert (login.username, login.password) == ("ada", 's e"c')
    assert found.login("https://example.com:8443/x").username == "bob"
    assert found.login("https://example.com/x") is None
    assert found.login("https://other.org/") is None
    assert found.login("https://not.this/") is None
    assert found.login("http://example.org/a.git") is None, "never unprotected"
    assert 's e"c' not in repr(found)
    assert 's e"c' not in repr(login)


def test_a_file_of_gits_store_helper(tmp_path):
    text = (
        "https://ada:p%40ss@example.org\n"
        "https://bot:deep@example.org/team/project.git\n"
        "http://ci:plain@intern.example:3000\n"
    )
    found = read(tmp_path, text)
    assert found.login("https://example.org/x").password == "p@ss"
    assert found.login("https://example.org/team/project").password == "deep"
    assert found.login("https://example.org/team/project2").password == "p@ss"
    assert found.login("http://intern.example:3000/x").password == "plain"
    assert found.login("https://intern.example:3000/x") is None
    assert found.headers("https://example.org/x")["Authorization"].startswith("Basic ")
    assert found.headers("ftp://example.org/x") == {}


@pytest.mark.parametrize(
    "text",
    ["machine", "machine x login", "nonsense here", "https://host-only\n", "https://a:b@h:port/\n"],
)
def test_files_that_hold_no_logins(tmp_path, text):
    try:
        found = read(tmp_path, text)
    except GitError as error:
        assert "host-only" not in error.message  # noqa: PT017
    else:
        assert not found


def test_directories_of_secrets(tmp_path):
    basic = tmp_path / "basic"
    basic.mkdir()
    (basic / "username").write_text("ada\n")
    (basic / "password").write_text("secret\n")
    found = GitCredentials.read(basic, "example.org")
    assert found.login("https://example.org/x").password == "secret"
    assert found.login("https://example.com/x") is None
    with pytest.raises(GitError, match="not for which host"):
        GitCredentials.read(basic)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(GitError, match="holds no credentials"):
        GitCredentials.read(empty, "example.org")
    (empty / ".git-credentials").write_text("https://a:b@example.org\n")
    assert GitCredentials.read(empty).login("https://example.org/")
    with pytest.raises(GitError, match="cannot be read"):
        GitCredentials.read(tmp_path / "none")


def test_where_they_come_from(tmp_path):
    (tmp_path / ".netrc").write_text("machine a.example login a password 1\n")
    (tmp_path / ".git-credentials").write_text("https://b:2@b.example\n")
    found = GitCredentials.default({"HOME": str(tmp_path)})
    assert found.login("https://a.example/")
    assert found.login("https://b.example/")
    given_ = {"HOME": str(tmp_path), "PLIMSOLL_GIT_CREDENTIALS": str(tmp_path / ".netrc")}
    assert not GitCredentials.default(given_).login("https://b.example/")
    assert not GitCredentials.default({"HOME": str(tmp_path / "none")})


@given(st.text(max_size=120))
def test_any_text(text):
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(GitError):
        read(Path(folder), text).login("https://example.org/")


RULES = """sources:
  - repository: https://example.org/*/kept
    requireSigned: {allowedSigners: "a ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzQ6FrdT7xU7wX6MkeCXbGwDPHLkyHN3r2zHW1VEsPW"}
  - repository: https://example.com/**
    requireSigned: {object: tag, allowedSigners: "b ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGzQ6FrdT7xU7wX6MkeCXbGwDPHLkyHN3r2zHW1VEsPW"}
"""  # noqa: E501


def test_rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    policy = SourcePolicy.read(path)
    assert policy.signers("https://example.org/team/kept.git")
    assert not policy.signers("https://example.org/team/deep/kept")
    assert not policy.signers("https://example.org.evil/team/kept")
    assert policy.signers("https://example.com/a/b/c").what == "tag"
    assert not policy.signers("http://example.com/a/b/c")
    path.write_text("sources: []\n")
    with pytest.raises(GitError, match=r"rules\.yaml:1"):
        SourcePolicy.read(path)
    with pytest.raises(GitError, match="cannot be read"):
        SourcePolicy.read(tmp_path / "none.yaml")


ID = "a" * 40


def answer(*parts):
    return b"".join(part if isinstance(part, bytes) else encode(part) for part in parts)


def band(number, data):
    return b"%04x" % (len(data) + 5) + bytes([number]) + data


GOOD = answer(
    "shallow-info\n", f"shallow {ID}\n", DELIMITER, "packfile\n", band(2, b"hello\n"),
    band(1, b"PACK"), band(1, b"data"), FLUSH,
)  # fmt: skip


@given(st.integers(min_value=1, max_value=20))
def test_a_pack_in_pieces(size):
    file = io.BytesIO()
    reader = PackReader(file, 100)
    for start in range(0, len(GOOD), size):
        reader.feed(GOOD[start : start + size])
    assert reader.finish() == (ID,)
    assert file.getvalue() == b"PACKdata"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (answer("ERR no such thing\n"), "no such thing"),
        (answer("packfile\n", band(3, b"out of memory")), "out of memory"),
        (answer("packfile\n", band(9, b"x")), "malformed"),
        (answer("packfile\n", band(1, b"x" * 200)), "more than 100 bytes"),
        (b"zzzz", "malformed"),
        (b"0003", "malformed"),
        (answer("shallow-info\n", "shallow x\n"), "malformed"),
        (GOOD + b"0000", "malformed"),
    ],
)
def test_packs_that_are_refused(data, reason):
    with pytest.raises(GitError, match=reason):
        PackReader(io.BytesIO(), 100).feed(data)


@pytest.mark.parametrize("data", [b"", GOOD[:-4], GOOD[:40], FLUSH])
def test_packs_that_are_cut_off(data):
    reader = PackReader(io.BytesIO(), 100)
    reader.feed(data)
    with pytest.raises(GitBusyError, match="cut off"):
        reader.finish()


@given(st.binary(max_size=200))
def test_any_answer(data):
    reader = PackReader(io.BytesIO(), 100)
    with contextlib.suppress(GitError):
        reader.feed(data)
        reader.finish()


def test_the_question():
    asked = [item for item in decode(fetch_request([ID], 1, "tree:0")) if item is not Mark.FLUSH]
    assert asked[0] == b"command=fetch"
    assert {f"want {ID}".encode(), b"deepen 1", b"filter tree:0", b"done"} <= set(asked)
    assert b"deepen" not in fetch_request([ID], 0, "")


def test_the_configuration_of_copies():
    text = configuration(['https://example.org/a"b'], "/cache")
    assert f'[url "file:///cache/{name_of("https://example.org/a" + chr(34) + "b")}"]' in text
    assert 'insteadOf = "https://example.org/a\\"b"' in text
