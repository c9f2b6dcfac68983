from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.oci.challenge import Challenge, check_realm, choose, parse
from plimsoll.oci.errors import RegistryError


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Basic", [Challenge("basic")]),
        ('Basic realm="a b"', [Challenge("basic", "a b")]),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"',
            [Challenge("bearer", "https://a/t", "s", "repository:a/b:pull,push")],
        ),
        ("bearer REALM=https://a/t , Service = s", [Challenge("bearer", "https://a/t", "s")]),
        (
            'Basic realm="x", Bearer realm="https://a/t"',
            [Challenge("basic", "x"), Challenge("bearer", "https://a/t")],
        ),
        ('Bearer realm="a\\"b"', [Challenge("bearer", 'a"b')]),
        ('Bearer realm="a",realm="b"', [Challenge("bearer", "a")]),
        ("", []),
        ('="x"', []),
    ],
)
def test_challenges_are_read(header, found):
    assert parse(header) == found


def test_the_best_challenge_is_chosen():
    assert choose(["Basic realm=x", 'Bearer realm="https://t"']) == Challenge("bearer", "https://t")
    assert choose(["Negotiate", "Basic"]) == Challenge("basic")
    assert choose(["Bearer", "Basic"]) == Challenge("basic")
    assert choose(["Bearer"]) is None
    assert choose([]) is None


@given(st.text(max_size=300))
def test_any_header_is_survived(header):
    parse(header)


def test_a_hostile_header_takes_no_time():
    start = time.monotonic()
    for text in ('a="' + "\\" * 100_000, "a" * 100_000, " ," * 50_000, "Bearer " + "a=b," * 50_000):
        parse(text)
    assert time.monotonic() - start < 1.0


def test_realms_on_plain_http_only_where_the_registry_is():
    insecure = frozenset({"token.corp:8080"})
    for realm in (
        "https://any/t",
        "http://reg.corp:5001/t",
        "http://localhost/t",
        "http://[::1]/t",
    ):
        check_realm(realm, "http://reg.corp:5000", frozenset())
    check_realm("http://token.corp:8080/t", "http://reg.corp:5000", insecure)
    for realm, base in (
        ("http://token.corp:8080/t", "https://reg.corp:5000"),
        ("http://other/t", "http://reg.corp:5000"),
        ("file:///etc/passwd", "http://reg.corp"),
        ("https:///t", "https://reg.corp"),
    ):
        with pytest.raises(RegistryError):
            check_realm(realm, base, insecure)
