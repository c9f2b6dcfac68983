from __future__ import annotations

import pytest

from plimsoll.builder.package.errors import PackageConfigError
from plimsoll.builder.package.regex import replace


@pytest.mark.parametrize(
    ("pattern", "template", "text", "result"),
    [
        (r"(\d+)", "<$1>", "a1b22", "a<1>b<22>"),
        (r"(\d+)", "${1}x", "1", "1x"),
        # As in Go, the longest name counts: there is no group "1x".
        (r"(\d+)", "$1x", "1", ""),
        (r"(?P<n>a)", "$n-${n}-$$", "a", "a-a-$"),
        (r"a", "$9", "a", ""),
        (r"x*", "-", "ab", "-a-b-"),
        (r"^(\d+)\.(\d+)$", r"\1$2", "1.2", r"\12"),
    ],
)
def test_replace(pattern, template, text, result):
    assert replace(pattern, template, text) == result


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "[", "a{2000}"])
def test_what_is_no_pattern(pattern):
    with pytest.raises(PackageConfigError, match="is no regular expression"):
        replace(pattern, "", "a")


def test_time_is_linear():
    assert replace(r"(a*)*b", "", "a" * 50_000) == "a" * 50_000
