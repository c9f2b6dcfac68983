"""The pure parts: addresses, proxies, pauses, URLs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import Error
from plimsoll.http import HttpError, RetryPolicy, public_url, retrying
from plimsoll.http.address import Guard, Reach, reach
from plimsoll.http.proxy import proxy_for, proxy_hosts
from plimsoll.http.retry import retry_after_seconds
from plimsoll.http.transport import redirect_target, split_userinfo

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("1.1.1.1", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("10.1.2.3", Reach.PRIVATE),
        ("172.31.0.1", Reach.PRIVATE),
        ("192.168.0.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd12::1", Reach.PRIVATE),
        ("::ffff:10.0.0.1", Reach.PRIVATE),
        ("127.0.0.1", Reach.FORBIDDEN),
        ("127.1.2.3", Reach.FORBIDDEN),
        ("0.0.0.0", Reach.FORBIDDEN),
        ("169.254.169.254", Reach.FORBIDDEN),
        ("169.254.1.1", Reach.FORBIDDEN),
        ("168.63.129.16", Reach.FORBIDDEN),
        ("100.100.100.200", Reach.FORBIDDEN),
        ("224.0.0.1", Reach.FORBIDDEN),
        ("255.255.255.255", Reach.FORBIDDEN),
        ("198.18.0.1", Reach.FORBIDDEN),
        ("::", Reach.FORBIDDEN),
        ("::1", Reach.FORBIDDEN),
        ("fe80::1%eth0", Reach.FORBIDDEN),
        ("ff02::1", Reach.FORBIDDEN),
        ("fd00:ec2::254", Reach.FORBIDDEN),
        ("::ffff:127.0.0.1", Reach.FORBIDDEN),
        ("::ffff:169.254.169.254", Reach.FORBIDDEN),
        ("64:ff9b::a9fe:a9fe", Reach.FORBIDDEN),
        ("2002:7f00:1::", Reach.FORBIDDEN),
    ],
)
def test_addresses_are_classified(address, where):
    assert reach(address) is where


def test_a_guard_lets_through_what_the_user_configured():
    guard = Guard(frozenset({"Inner.Corp:5000", "[::1]:5000"}))
    guard.check("inner.corp", ["127.0.0.1"], Reach.PUBLIC)
    guard.check("::1", ["::1"], Reach.PUBLIC)
    guard.check("other", ["10.0.0.1"], Reach.PRIVATE)
    with pytest.raises(Error, match=r"10\.0\.0\.1"):
        guard.check("other", ["1.1.1.1", "10.0.0.1"], Reach.PUBLIC)
    with pytest.raises(Error):
        guard.check("evil.inner.corp", ["127.0.0.1"], Reach.PRIVATE)


PROXIES = {
    "http_proxy": "proxy:3128",
    "HTTPS_PROXY": "http://user:pw@secure:3129",
    "no_proxy": "corp, .internal,10.0.0.0/8 ,host.example:8443,192.0.2.7,*.star.example",
}


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://a.example/x", "http://proxy:3128"),
        ("https://a.example/x", "http://user:pw@secure:3129"),
        ("http://corp/", None),
        ("http://a.corp/", None),
        ("http://acorp/", "http://proxy:3128"),
        ("http://x.internal/", None),
        ("http://internal/", None),
        ("http://10.2.3.4:5000/", None),
        ("http://11.2.3.4/", "http://proxy:3128"),
        ("https://host.example:8443/", None),
        ("https://host.example/", "http://user:pw@secure:3129"),
        ("http://192.0.2.7/", None),
        ("http://a.star.example/", None),
        ("http://localhost:5000/", None),
        ("http://127.0.0.5/", None),
        ("http://[::1]:80/", None),
    ],
)
def test_the_environment_names_the_proxy(url, proxy):
    assert proxy_for(url, PROXIES) == proxy


def test_proxies_have_corner_cases():
    assert proxy_for("http://a/", {"HTTP_PROXY": "p", "REQUEST_METHOD": "GET"}) is None
    assert proxy_for("http://a/", {"HTTP_PROXY": "p", "http_proxy": ""}) is None
    assert proxy_for("https://a/", {"ALL_PROXY": "http://p:1"}) == "http://p:1"
    assert proxy_for("http://a/", {"http_proxy": "p", "NO_PROXY": "*"}) is None
    assert proxy_hosts(PROXIES) == {"proxy", "secure"}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("9" * 500, 9999999999.0),
        ("-1", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read(value, seconds):
    assert retry_after_seconds(value, NOW) == seconds


@given(st.text(max_size=60))
def test_any_retry_after_is_survived(value):
    retry_after_seconds(value, NOW)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@a.b:80/c/d?token=x#f", "https://a.b:80/c/d?…"),
        ("https://[::1]:80/", "https://[::1]:80/"),
        ("https://[::1", "an unreadable URL"),
        ("a.b/c", "a.b/c"),
    ],
)
def test_urls_are_shown_without_secrets(url, shown):
    assert public_url(url) == shown


def test_user_information_becomes_a_header():
    url, headers = split_userinfo("https://us%40er:p%3Aw@a.b/c d?x=%2F", None)
    assert url == "https://a.b/c%20d?x=%2F"
    assert headers == {"Authorization": "Basic dXNAZXI6cDp3"}
    _, headers = split_userinfo("https://user@a.b/", {"authorization": "mine"})
    assert headers == {"authorization": "mine"}
    with pytest.raises(HttpError, match="no valid URL"):
        split_userinfo("http://a:99999999/", None)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/x?y=%2F", "https://a.b/x?y=%2F"),
        ("x", "https://a.b/c/x"),
        ("//e.f/x", "https://e.f/x"),
        ("https://user:pw@e.f/x y", "https://e.f/x%20y"),
    ],
)
def test_redirects_are_resolved(location, target):
    assert redirect_target("https://a.b/c/d", location) == target


@pytest.mark.parametrize(
    "location", ["http://a.b/", "file:///etc/passwd", "ftp://a/", "https://[::1"]
)
def test_redirects_elsewhere_are_refused(location):
    with pytest.raises(HttpError):
        redirect_target("https://a.b/c", location)


class PassingError(Error):
    retryable = True


async def test_what_may_pass_is_tried_again_and_nothing_else():
    calls = []

    async def fail(error: Exception) -> None:
        calls.append(error)
        raise error

    policy = RetryPolicy(attempts=3, base=0.001)
    with pytest.raises(PassingError):
        await retrying(lambda: fail(PassingError("x")), policy)
    assert len(calls) == 3
    for error in (Error("x"), ValueError("x")):
        calls.clear()
        with pytest.raises(type(error)):
            await retrying(lambda error=error: fail(error), policy)
        assert len(calls) == 1


async def test_progress_starts_the_count_anew():
    calls = 0

    async def fail() -> None:
        nonlocal calls
        calls += 1
        raise PassingError("x")

    policy = RetryPolicy(attempts=2, base=0.001, longest=0.002)
    with pytest.raises(PassingError):
        await retrying(fail, policy, progressed=lambda: calls < 10)
    assert calls == 10
