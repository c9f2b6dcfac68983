import json
from datetime import UTC, datetime

import pytest

from plimsoll.signing.errors import InvalidSigningConfigError
from plimsoll.signing.signingconfig import MEDIA_TYPE, SigningConfig
from shared_data import shared

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def service(url, version=1, operator="a", start="2020-01-01T00:00:00Z", end=None):
    period = {"start": start} | ({"end": end} if end else {})
    return {"url": url, "majorApiVersion": version, "operator": operator, "validFor": period}


def config(**other):
    return {
        "mediaType": MEDIA_TYPE,
        "caUrls": [service("https://ca")],
        "rekorTlogUrls": [service("https://log", 2)],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [service("https://tsa/api/v1/timestamp")],
        "tsaConfig": {"selector": "ANY"},
    } | other


def parse(obj):
    return SigningConfig.parse(json.dumps(obj).encode(), now=NOW)


def urls(choice):
    return [one.url for one in choice.services]


@pytest.mark.parametrize("name", ["staging", "public-good"])
def test_published_configs(name):
    data = (shared("sigstore") / "trust" / f"{name}.signing_config.v0.2.json").read_bytes()
    found = SigningConfig.parse(data, now=NOW)
    assert found.fulcio.count == found.rekor.count == found.tsa.count == 1
    assert len(found.rekor.services) == 1, "one of each operator"


def test_the_newest_log_that_is_valid_now_is_taken():
    logs = [
        service("https://v1", 1),
        service("https://old", 2, start="2025-01-01T00:00:00Z", end="2026-01-01T00:00:00Z"),
        service("https://early", 2, start="2026-01-01T00:00:00Z"),
        service("https://late/", 2, start="2026-05-01T00:00:00Z"),
        service("https://soon", 2, start="2027-01-01T00:00:00Z"),
        service("https://v3", 3),
        service("https://other", 1, operator="b"),
    ]
    found = parse(config(rekorTlogUrls=logs)).rekor
    assert urls(found) == ["https://late", "https://other"]
    assert found.count == 1


@pytest.mark.parametrize(
    ("selector", "count"),
    [({"selector": "ALL"}, 2), ({"selector": "EXACT", "count": 2}, 2), ({"selector": "ANY"}, 1)],
)
def test_selectors(selector, count):
    two = [service("https://x"), service("https://y", operator="b")]
    found = parse(config(tsaUrls=two, tsaConfig=selector)).tsa
    assert found.count == count
    assert len(found.services) == 2


def test_an_instance_without_logs_or_with_v1_alone():
    assert parse(config(rekorTlogUrls=[])).rekor.count == 0
    found = parse(config(rekorTlogUrls=[service("https://log", 1)], tsaUrls=[], tsaConfig=None))
    assert found.tsa.count == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"mediaType": "x"}, "no signing config that is known"),
        ({"caUrls": []}, "caUrls of the signing config has 0 servers"),
        ({"caUrls": [service("https://ca", end="2021-01-01T00:00:00Z")]}, "not 1"),
        ({"caUrls": [service("ftp://ca")]}, "no http or https URL"),
        ({"caUrls": [{**service("https://ca"), "majorApiVersion": True}]}, "majorApiVersion"),
        ({"caUrls": ["https://ca"]}, "no object"),
        ({"caUrls": [{**service("https://ca"), "validFor": {"start": 1}}]}, "validFor.start"),
        ({"tsaConfig": {"selector": "EXACT", "count": 2}}, "not 2"),
        ({"tsaConfig": {"selector": "EXACT"}}, "needs a count"),
        ({"tsaConfig": {"selector": "SOME"}}, "is unknown"),
        ({"tsaConfig": None}, "but no tsaConfig"),
        ({"tsaUrls": []}, "nothing in the signing config proves when"),
        ({"tsaUrls": [service("https://tsa", 9)]}, "tsaUrls of the signing config has 0"),
    ],
)
def test_what_is_refused(change, text):
    with pytest.raises(InvalidSigningConfigError, match=text):
        parse(config(**change))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"mediaType":1}', b"\xff", b"{" * 10000])
def test_nonsense(data):
    with pytest.raises(InvalidSigningConfigError):
        SigningConfig.parse(data)
