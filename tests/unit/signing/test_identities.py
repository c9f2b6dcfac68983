from __future__ import annotations

import time

import pytest

from plimsoll.signing.errors import InvalidIdentityError
from plimsoll.signing.identities import AnyIdentity, IdentityRule
from plimsoll.signing.results import Identity

ME = Identity(kind="certificate", id="i#me@x.example", subject="me@x.example", issuer="https://i")


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({"subject": "me@x.example", "issuer": "https://i"}, True),
        ({"subject": "me@x.example", "issuer": "https://j"}, False),
        ({"subject": "me@x.examplee", "issuer": "https://i"}, False),
        ({"subject": "me@x.example", "issuer_pattern": "^https://[ij]$"}, True),
        ({"subject_pattern": "@x", "issuer_pattern": "https"}, True),
        ({"subject_pattern": "^x", "issuer_pattern": ".*"}, False),
        ({"subject_pattern": "^.*@y\\.example$", "issuer": "https://i"}, False),
    ],
)
def test_rules(rule, matches):
    assert IdentityRule.of(**rule)(ME) is matches
    assert AnyIdentity.of([IdentityRule.of(**rule)])(ME) is matches


def test_any_of_several():
    other = IdentityRule.of(subject="other", issuer="https://i")
    me = IdentityRule.of(subject=ME.subject, issuer=ME.issuer)
    assert AnyIdentity.of([other, me])(ME)
    assert not AnyIdentity.of([other])(ME)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"subject": "x"},
        {"issuer": "x"},
        {"subject": "", "issuer": ""},
        {"subject": "x", "subject_pattern": "x", "issuer": "y"},
        {"subject_pattern": "(", "issuer": "y"},
        {"subject_pattern": "(?=x)", "issuer": "y"},
        {"subject_pattern": "x" * 5000, "issuer": "y"},
        {"subject_pattern": "((a{100}){100}){100}", "issuer": "y"},
    ],
)
def test_what_is_no_rule(rule):
    with pytest.raises(InvalidIdentityError):
        IdentityRule.of(**rule)


def test_no_rules_match_nobody():
    with pytest.raises(InvalidIdentityError, match="anybody can get a certificate"):
        AnyIdentity.of([])


def test_keys_and_empty_texts_never_match_a_pattern():
    rule = IdentityRule.of(subject_pattern=".*", issuer_pattern=".*")
    assert not rule(Identity(kind="key", id="x", subject="x", issuer="x"))
    assert not rule(Identity(kind="certificate", id="#x", subject="x"))
    assert not rule(Identity(kind="certificate", id="x#", issuer="x"))


def test_patterns_take_linear_time():
    rule = IdentityRule.of(subject_pattern="(a+)+$", issuer_pattern=".*")
    start = time.perf_counter()
    assert not rule(
        Identity(kind="certificate", id="x", subject="a" * 20_000 + "!", issuer="https://i")
    )
    assert time.perf_counter() - start < 1
