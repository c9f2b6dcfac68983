"""From upstream's names to versions, and which of many is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.apk.version import Version
from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.regex import compile_pattern
from plimsoll.builder.package.update import Update
from plimsoll.builder.updates.model import Candidate
from plimsoll.builder.updates.versions import Rules, choose, normalise, rules_of


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("1.2.3", "1.2.3"),
        ("v1.2.3", "1.2.3"),
        ("V2", "2"),
        (" 1.0\n", "1.0"),
        ("1.1.1w", "1.1.1w"),
        ("1.2-rc.1", "1.2_rc1"),
        ("1.2rc1", "1.2_rc1"),
        ("1.2.0-RC2", "1.2.0_rc2"),
        ("1.2a1", "1.2_alpha1"),
        ("1.2.b2", "1.2_beta2"),
        ("1.2-beta", "1.2_beta"),
        ("1.2-preview3", "1.2_pre3"),
        ("9.9p1", "9.9_p1"),
        ("1.2.post4", "1.2_p4"),
        ("1.2_git20240101", "1.2_git20240101"),
        ("0.11_alpha", "0.11_alpha"),
        ("20240131", "20240131"),
        ("1.2a", "1.2a"),
        ("1.2-3", None),
        ("1.2+build7", None),
        ("1.2-SNAPSHOT", None),
        ("1.2.dev4", None),
        ("nightly-2024", None),
        ("latest", None),
        ("1.2-r3", None),
        ("", None),
        ("release-1.2", None),
        ("1" * 300, None),
    ],
)
def test_names(name, version):
    found = normalise(name)
    assert (found and found.text) == version


@given(st.text(max_size=40))
def test_any_name(name):
    found = normalise(name)
    assert found is None or Version.parse(f"{found}-r0")


@given(st.text(max_size=20), st.text(max_size=8), st.text(max_size=8))
def test_any_rules(name, prefix, suffix):
    Rules(strip_prefix=prefix, strip_suffix=suffix, separator=suffix).version(name)


def version(name, **rules):
    found = Rules(**rules).version(name)
    return found and found.text


def test_rules():
    assert version("curl-8_5_0", strip_prefix="curl-", separator="_") == "8.5.0"
    assert version("FIREFOX_1_2_RELEASE", filter_prefix="FIREFOX_", filter_contains="_RELEASE",
                   strip_prefix="FIREFOX_", strip_suffix="_RELEASE",
                   transforms=(("_", "."),)) == "1.2"  # fmt: skip
    assert version("ESR_1_2", filter_prefix="FIREFOX_") is None
    ignore = (compile_pattern(r"^\d+\.\d*[13579]\."),)
    assert version("4.3.1", ignore=ignore) is None
    assert version("4.4.1", ignore=ignore) == "4.4.1"
    dated = ((r"^R\.(\d{4})-(\d{2})T(\d+)Z$", "0.${1}${2}.${3}"),)
    assert version("R.2024-01T5Z", transforms=dated) == "0.202401.5"
    assert version("1.2rc1") is None
    assert version("1.2rc1", prerelease=True) == "1.2_rc1"


def test_a_section():
    update = Update.model_validate(
        {
            "enabled": True,
            "ignore-regex-patterns": ["x"],
            "version-transform": [{"match": "a", "replace": "b"}],
            "git": {"strip-prefix": "v", "tag-filter": "v1"},
        },
        by_alias=True,
    )
    rules = rules_of(update)
    assert (rules.strip_prefix, rules.filter_prefix, rules.transforms) == ("v", "v1", (("a", "b"),))


@pytest.mark.parametrize("field", ["ignore-regex-patterns", "version-transform"])
def test_a_pattern_that_is_none(field):
    value = ["(?=x)"] if field.startswith("ignore") else [{"match": "(?=x)"}]
    update = Update.model_validate({field: value, "git": {}}, by_alias=True)
    with pytest.raises(PackageConfigError, match="no regular expression"):
        rules_of(update)


def test_the_next_and_the_newest():
    names = ["1.9", "1.10", "1.8", "2.0rc1", "1.10.0", "junk"]
    candidates = [Candidate(name) for name in names] + [Candidate("3.0", prerelease=True)]
    following, newest = choose(candidates, Rules(), Version.parse("1.8"))
    assert (following.version.text, newest.version.text) == ("1.9", "1.10.0")
    assert choose(candidates, Rules(), Version.parse("2.0")) is None
    following, newest = choose(candidates, Rules(prerelease=True), None)
    assert (following.version.text, newest.version.text) == ("1.8", "3.0")
