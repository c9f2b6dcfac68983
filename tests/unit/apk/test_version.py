import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.apk.version import (
    Constraint,
    InvalidConstraintError,
    InvalidVersionError,
    Operator,
    Version,
    try_version,
)

versions = st.from_regex(
    r"(0|[1-9][0-9]{0,3})(\.[0-9]{1,4}){0,3}[a-z]?(_(alpha|beta|pre|rc)[0-9]{0,2})?"
    r"(_(cvs|svn|git|hg|p)[0-9]{0,2})?(-r[0-9]{1,3})?",
    fullmatch=True,
)


@given(versions, versions, versions)
def test_order_is_total(a, b, c):
    x, y, z = Version(a), Version(b), Version(c)
    assert (x < y) + (x == y) + (x > y) == 1
    if x <= y <= z:
        assert x <= z
    if x == y:
        assert hash(x) == hash(y)


@given(versions)
def test_text_survives(text):
    assert str(Version(text)) == text
    assert Version.parse(text) == Version(text)
    assert Version(text).has_prefix(Version(text))


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused_with_an_error_of_ours(text):
    for parse in (Version, Constraint.parse, Constraint.read):
        with contextlib.suppress(InvalidVersionError, InvalidConstraintError):
            parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "1.", ".1", "1..2", "1-r", "1_foo", "1.2-r1-r2", "1 ", " 1", "1\n", "٣",
        "1_p1_rc1", "1" * 600, "-1", "1A",
    ],
)  # fmt: skip
def test_refused(text):
    assert try_version(text) is None
    with pytest.raises(InvalidVersionError, match="not an APK version"):
        Version(text)


@pytest.mark.parametrize(
    ("version", "prefix", "expected"),
    [
        ("1.7.1-r1", "1.7", True),
        ("1.7.1-r1", "1.7.1", True),
        ("1.7.1-r1", "1.7.1-r1", True),
        ("1.7.1-r1", "1.7.1-r2", False),
        ("1.7.1", "1.7.1-r0", True),
        ("1.70", "1.7", False),
        ("1.7", "1.7.1", False),
        ("1.7a-r0", "1.7", True),
        ("1.7a-r0", "1.7a", True),
        ("1.7b-r0", "1.7a", False),
        ("1.7.1", "1.7a", False),
        ("1.7_rc1", "1.7_rc1", True),
        ("1.7_rc2", "1.7_rc1", False),
        ("1.7_rc2", "1.7", True),
        ("1.7_p2", "1.7_git2", False),
        ("1.7.1-r3", "1.7-r3", False),
    ],
)
def test_prefix(version, prefix, expected):
    assert Version(version).has_prefix(Version(prefix)) is expected
    assert Constraint.parse(f"x~{prefix}").matches(Version(version)) is expected
    assert Constraint.parse(f"x=~{prefix}").accepts(version) is expected


@pytest.mark.parametrize("operator", ["==", "><", "~=", "=>", "=<", "<>", "~~", "<<", ">="])
def test_operators(operator):
    text = f"x{operator}1"
    if operator == ">=":
        assert Constraint.parse(text).operator is Operator.GREATER_EQUAL
    else:
        with pytest.raises(InvalidConstraintError, match=f"unknown operator {operator!r}"):
            Constraint.parse(text)


@pytest.mark.parametrize("text", ["", "!", "@tag", "a b", "a=", "a@b@c", "a@tag=1", "a\n", "!!a"])
def test_refused_constraints(text):
    with pytest.raises(InvalidConstraintError, match="is not a package name"):
        Constraint.parse(text)


def test_negation_and_text():
    constraint = Constraint.parse("!openssl<3@edge")
    assert constraint.negated
    assert constraint.name == "openssl"
    assert constraint.matches(Version("1.1"))
    assert not constraint.matches(Version("3"))
    assert str(constraint) == "!openssl<3@edge"
    assert str(Constraint.parse("x=~1.2")) == "x~1.2"


def test_odd_versions_of_real_indexes_match_only_themselves():
    odd = Constraint.read("opensmtpd=6.8.0p2-r4")
    assert odd.version is None
    assert odd.accepts("6.8.0p2-r4")
    assert not odd.accepts("6.8.0-r4")
    assert not odd.matches(Version("6.8.0-r4"))
    assert not Constraint.read("x>6.8.0p2").accepts("6.8.0p2")
    assert not Constraint.read("x>1").accepts("6.8.0p2")
    with pytest.raises(InvalidVersionError, match=re.escape("'6.8.0p2-r4'")):
        Constraint.parse("opensmtpd=6.8.0p2-r4")


def test_bare_library_versions_sort_below_packages():
    assert Constraint.parse("so:libx.so.1=1.2").version == Version("0.1.2")
    assert Constraint.parse("so:libx.so.1=1.2-r0").version == Version("1.2-r0")
    assert Constraint.read("so:libx.so.1=1.2").version_text == "0.1.2"
