"""Logins: where they are found, whom they are sent to, and that they are taken out of URLs."""

from __future__ import annotations

import base64
import re

import hypothesis.strategies as st
import pytest
from hypothesis import assume, example, given

from plimsoll.builder.logins import LoginFileError, Logins, LoginVariableError

SECRET = "s3cr3t-w0rd"


def sent(logins: Logins, url: str) -> str | None:
    header = logins.headers(url).get("Authorization")
    return None if header is None else base64.b64decode(header.removeprefix("Basic ")).decode()


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        (f"https://me:{SECRET}@h.example/os", "https://h.example/os"),
        (f"@edge https://me:{SECRET}@h.example/os", "@edge https://h.example/os"),
        (f"@edge\thttps://me:{SECRET}@h.example/os/", "@edge\thttps://h.example/os/"),
        (f" https://{SECRET}@h.example:8443/k.rsa.pub ", "https://h.example:8443/k.rsa.pub"),
        (f"HTTPS://me:{SECRET}@H.example/os", "https://H.example/os"),
        ("./packages", "./packages"),
        ("@local ./my packages", "@local ./my packages"),
        ("https://h.example/keys/a@b.rsa.pub", "https://h.example/keys/a@b.rsa.pub"),
    ],
)
def test_urls_are_stripped(text, bare):
    logins = Logins({})
    assert logins.strip(text) == bare
    assert SECRET not in repr(logins)
    assert (sent(logins, bare.rpartition("\t")[2].rpartition(" ")[2]) is None) == (
        SECRET not in text
    )


TEXT = st.characters(codec="utf-8")


@given(st.text(TEXT.filter(lambda c: c not in "/?#")), st.text(TEXT))
@example("", "@0?")
@example("", "@0/")
def test_any_login_comes_out_of_its_url_or_is_refused(user, password):
    # HOST:NUMBER/ and [ADDRESS]/ cannot be told from a server.
    assume(not re.match(r"[0-9]*[/?#]", password) and not user.startswith("["))
    try:
        bare = Logins({}).strip(f"https://{user}:{password}mark@h.example/os")
    except LoginVariableError as error:
        assert "mark" not in str(error)  # noqa: PT017  (only where it is refused)
    else:
        assert bare.partition("://")[2].lstrip("/") == "h.example/os"


def test_a_server_may_have_several_logins():
    logins = Logins({"HTTP_AUTH": "basic:h.example:env:e basic:h.example:8443:port:p"})
    assert sent(logins, "https://h.example/c") == "env:e"
    for team in ("a", "b", "a/deep"):
        logins.strip(f"https://{team.replace('/', '-')}:p%40@h.example/{team}")
    assert sent(logins, "https://h.example/a/x86_64/APKINDEX.tar.gz") == "a:p@"
    assert sent(logins, "https://h.example/b/x86_64/x.apk") == "b:p@"
    assert sent(logins, "https://h.example/a/deep/x") == "a-deep:p@"
    assert sent(logins, "https://h.example/ab/x") == "a:p@"
    assert sent(logins, "https://H.EXAMPLE:8443/c") == "port:p"
    assert sent(logins, "https://h.example.evil/a") is None
    # What was written for TLS goes nowhere without it.
    assert sent(logins, "http://h.example/a") == "env:e"


@pytest.mark.parametrize(
    ("value", "url", "login"),
    [
        ("basic:h.example:me:a:b:c", "https://h.example/", "me:a:b:c"),
        ("basic:h.example:8080:me:pw", "http://h.example:8080/", "me:pw"),
        ("basic:h.example:12345:pw", "https://h.example/", "12345:pw"),
        ("basic:[::1]:8080:me:pw", "http://[::1]:8080/", "me:pw"),
        ("basic:[::1]:me:pw", "http://[::1]:9/", "me:pw"),
        ("basic:H.Example:me:", "https://h.example/", "me:"),
    ],
)
def test_logins_of_the_environment(value, url, login):
    assert sent(Logins({"HTTP_AUTH": value}), url) == login


@pytest.mark.parametrize("value", ["h.example:me:PW", "basic:h.example:PW", "bearer:h:PW:x", "PW"])
def test_a_variable_of_another_form_is_named_without_its_words(value):
    with pytest.raises(LoginVariableError) as refused:
        Logins({"HTTP_AUTH": value})
    assert "PW" not in str(refused.value)


def test_bad_netrc_is_named_without_its_words(tmp_path):
    (tmp_path / ".netrc").write_text(f"machine x login me pass {SECRET}\n")
    with pytest.raises(LoginFileError) as refused:
        Logins({"HOME": str(tmp_path)})
    assert SECRET not in str(refused.value)
    assert sent(Logins({"HOME": str(tmp_path / "none")}), "https://x/") is None
    (tmp_path / ".netrc").write_text("default login me password x\n")
    assert sent(Logins({"HOME": str(tmp_path)}), "https://x/") is None
