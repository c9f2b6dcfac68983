from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.oci.errors import InvalidReferenceError
from plimsoll.oci.reference import Reference, is_loopback

A = "a" * 64
HUB = "index.docker.io"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", f"{HUB}/library/nginx:latest"),
        ("nginx:1.27", f"{HUB}/library/nginx:1.27"),
        ("docker.io/nginx", f"{HUB}/library/nginx:latest"),
        ("registry-1.docker.io/nginx", f"{HUB}/library/nginx:latest"),
        (f"{HUB}/library/nginx", f"{HUB}/library/nginx:latest"),
        ("bitnami/redis", f"{HUB}/bitnami/redis:latest"),
        ("docker.io/bitnami/redis:7", f"{HUB}/bitnami/redis:7"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("ghcr.io/a/b/c:t", "ghcr.io/a/b/c:t"),
        ("Registry/app", "Registry/app:latest"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        (f"a/b@sha256:{A}", f"{HUB}/a/b@sha256:{A}"),
        (f"a.b/c:t@sha256:{A}", f"a.b/c:t@sha256:{A}"),
        (f"a.b/c@sha512:{A}{A}", f"a.b/c@sha512:{A}{A}"),
        ("a.b/c-d_e__f.g--h/i", "a.b/c-d_e__f.g--h/i:latest"),
        (f"a.b/c:{'t' * 128}", f"a.b/c:{'t' * 128}"),
        ("a.b/c:_x.-", "a.b/c:_x.-"),
    ],
)
def test_references_are_normalised(text, full):
    reference = Reference.parse(text)
    assert str(reference) == full
    assert Reference.parse(full) == reference


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" nginx", "spaces"),
        ("nginx\n", "spaces"),
        ("Nginx", "capital letters"),
        ("a.b/Nginx", "'Nginx' has capital letters"),
        ("https://a.b/c", "address"),
        ("a.b/", "empty"),
        ("a.b//c", "empty"),
        ("/a", "empty"),
        ("a/b/", "empty"),
        ("a.b/c:", "no tag"),
        ("a.b/c:-x", "no tag"),
        (f"a.b/c:{'t' * 129}", "no tag"),
        ("a.b/c:é", "no tag"),
        ("a.b/ç", "no part of a repository"),
        ("a.b/c___d", "no part"),
        ("a.b/-c", "no part"),
        ("a.b/c-", "no part"),
        ("a b/c", "no part"),
        ("a_b.c/d", "no registry host"),
        ("a.b:x/c", "no registry host"),
        ("-a.b/c", "no registry host"),
        ("a.b/c@", "no algorithm"),
        ("a.b/c@sha256:abc", "64 hex digits, here are 3"),
        (f"a.b/c@sha256:{A[:-1]}A", "only the digits"),
        (f"a.b/c@md5:{A}", "neither sha256 nor sha512"),
        (f"a.b/c@sha256:{A}@sha256:{A}", "hex digits"),
        (f"a.b/{'c/' * 200}d", "over 255"),
        ("a.b/c:t:u", "no part"),
        ("a.b/\u0430", "no part"),
    ],
)
def test_what_is_wrong_is_said(text, says):
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse(text)
    assert says in caught.value.message
    assert len(caught.value.message) < 400


def test_tag_and_digest_replace_each_other():
    reference = Reference.parse(f"a.b/c:t@sha256:{A}")
    assert reference.identifier == f"sha256:{A}"
    assert str(reference.with_tag("u")) == "a.b/c:u"
    assert str(reference.with_digest(f"sha256:{A}")) == f"a.b/c@sha256:{A}"
    with pytest.raises(InvalidReferenceError):
        reference.with_tag("a/b")
    with pytest.raises(InvalidReferenceError):
        reference.with_digest("sha256:zz")


def test_a_repository_has_no_tag():
    assert Reference.repository_of("a.b/c").tag is None
    for text in ("a.b/c:t", f"a.b/c@sha256:{A}"):
        with pytest.raises(InvalidReferenceError, match=r"write a\.b/c"):
            Reference.repository_of(text)


@given(st.text(max_size=60))
def test_any_text_is_either_read_or_refused(text):
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError:
        return
    assert Reference.parse(str(reference)) == reference


COMPONENT = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True).filter(
    lambda text: len(text) < 30
)


@given(
    st.lists(COMPONENT, min_size=1, max_size=4),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
)
def test_what_is_valid_comes_back_as_it_was(components, tag):
    text = "registry.example:5000/" + "/".join(components) + (f":{tag}" if tag else "")
    reference = Reference.parse(text, default_tag=None)
    assert str(reference) == text


def test_this_machine_is_recognised():
    for host in (
        "localhost",
        "localhost:5000",
        "127.0.0.1:1",
        "127.9.9.9",
        "[::1]:5",
        "a.localhost",
    ):
        assert is_loopback(host)
    for host in ("localhost.example", "127.0.0.1.example", "10.0.0.1", "[::2]", "x127.0.0.1"):
        assert not is_loopback(host)
