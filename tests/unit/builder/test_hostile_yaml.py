"""YAML that is made to exhaust its reader is refused, and the reader lives on."""

from __future__ import annotations

import time

import pytest

from plimsoll import yaml12

_DOUBLING = "\n".join(
    ["a0: &a0 {}"] + [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[" * 200_000, "levels", id="deep-list"),
        pytest.param("{a: " * 200_000, "levels", id="deep-mapping"),
        pytest.param("- " * 20_000 + "x", "levels", id="deep-block"),
        pytest.param("&a [*a]", "levels", id="itself"),
        pytest.param("&a\n<<: *a\nx: 1\n", "levels", id="merged-with-itself"),
        pytest.param("a: &a\n  <<: [*a]\n", "levels", id="merged-with-a-list-of-itself"),
        pytest.param(_DOUBLING, "values", id="merges-of-merges"),
        pytest.param(f"a: {'9' * 100_000}", "is no int", id="long-number"),
        pytest.param(f"a: 0x{'f' * 100_000}", "is no int", id="long-hexadecimal"),
        pytest.param(f"a: 1.{'0' * 100_000}", "is no float", id="long-float"),
        pytest.param("a: !!binary aGVsbG8=", "is no binary", id="binary"),
        pytest.param("a: !x b", "is no !x", id="tag"),
        pytest.param("a: 1\na: 2", "already at f:1:1", id="twice"),
    ],
)
def test_what_exhausts_its_reader_is_refused(text, message):
    started = time.monotonic()
    with pytest.raises(yaml12.YamlError, match=message) as error:
        yaml12.load(text, "f")
    assert len(error.value.message) < 300
    assert time.monotonic() - started < 5
